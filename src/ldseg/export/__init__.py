"""A trained model for other programs: ONNX with its contract, and MONAI bundles."""
