"""Scores of segmentations against reference masks, one metric family a file.

A new family is one file with a function `(MaskPair) -> dict[str, float]` and one line in `metrics.FAMILIES`.
"""
