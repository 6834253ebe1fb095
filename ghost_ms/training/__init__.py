"""The compiled step and what steers it."""
