"""Contacts that wait, and agents who become free."""
