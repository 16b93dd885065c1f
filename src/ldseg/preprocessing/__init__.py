"""From a volume to the network's grid and exactly back, and patches of that grid."""
