"""Weights in PyTorch's names and shapes, into and out of the networks of this package."""
