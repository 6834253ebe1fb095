"""The commands `ghost-ms train|eval|export|infer|models|info|...`; train.py and its sisters lead here."""
from ghost_ms.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
