"""Models to measure against, trained by the same loop on the same data with the same augmentation."""
