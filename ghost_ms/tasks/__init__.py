"""What networks are for, a folder for each task."""
