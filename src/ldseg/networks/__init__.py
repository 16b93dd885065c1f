"""The four modules and their composition, for 2 and 3 dimensions in one code. Knows nothing of files."""
