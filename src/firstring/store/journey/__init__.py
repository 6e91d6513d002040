"""Events: what arrives, what was refused, other names of users."""
