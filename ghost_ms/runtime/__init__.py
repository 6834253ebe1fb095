"""An exported file as a function."""
