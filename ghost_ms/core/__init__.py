"""What every other part stands on and what knows nothing of the rest: whole files, plain text for terminals."""
