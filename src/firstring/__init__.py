"""Firstring knows who is calling before the first ring ends, says how sure it is, and hands them to the right agent."""

__version__ = "0.1.0"
