"""Calls that were promised: when they may be, and that they are made."""
