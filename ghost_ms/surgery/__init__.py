"""Edits of a built network."""
