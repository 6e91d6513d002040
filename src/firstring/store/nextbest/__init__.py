"""The next best action in the store: what is in force, what was decided and why, what came of it, offers."""
