"""Data: files to volumes, folders to data sets, checks and splits."""
