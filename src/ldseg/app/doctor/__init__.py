"""Report of the environment and speed of a machine, for bug reports."""
