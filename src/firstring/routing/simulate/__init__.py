"""Routing in a world of its own: seeded, the very steps that run live, policies side by side, staffing."""
