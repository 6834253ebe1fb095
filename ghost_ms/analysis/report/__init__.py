"""Runs, and the report of them as one page."""
