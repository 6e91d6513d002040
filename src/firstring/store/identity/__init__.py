"""Records and persons: arrivals, linking, decisions, golden records, review."""
