"""One label, or several, for an image."""
