"""From a look at the data set (fingerprint) to the grid, patch and pyramid of its model (plan)."""
