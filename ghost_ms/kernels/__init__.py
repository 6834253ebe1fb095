"""Operators in C++ for the CPU, which take the place of MindSpore's where these are slow."""
from ghost_ms.kernels.swap import accelerate, accelerated, refuse_accelerated

__all__ = ["accelerate", "accelerated", "refuse_accelerated"]
