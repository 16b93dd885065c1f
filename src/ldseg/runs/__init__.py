"""A run's folder on disk: how it is set up, saved, read and locked."""
