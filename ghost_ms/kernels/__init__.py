"""Operators in C++ for the CPU, which take the place of MindSpore's where these are slow."""
