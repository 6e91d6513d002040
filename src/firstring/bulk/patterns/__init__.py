"""Patterns tried on files of events."""
