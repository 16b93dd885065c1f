"""What computes a tile: PyTorch or ONNX Runtime."""
