"""Probabilities whose logarithms are taken."""

FLOOR = 1e-7
"""Least probability of which a logarithm is taken: the resolution of float32 next to 1."""
