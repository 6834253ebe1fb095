"""MINDIR to ONNX."""
