"""What now? The catalogue of actions, the gates, and the choice of the one next best action."""
