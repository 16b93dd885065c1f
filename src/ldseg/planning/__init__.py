"""Plan the grid, patch and architecture of a model from a fingerprint of its data set."""
