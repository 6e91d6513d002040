"""What the chance of an action is, out of what came of it before."""
