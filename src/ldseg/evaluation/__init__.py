"""Evaluation of predictions and models against reference masks, over whole folders and data sets.

A new metric is one file in `ldseg.metrics` with a function `(MaskPair) -> dict[str, float]` and one line in
`case_metrics.METRICS`.
"""
