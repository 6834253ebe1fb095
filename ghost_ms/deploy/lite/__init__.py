"""ONNX to MindSpore Lite."""
