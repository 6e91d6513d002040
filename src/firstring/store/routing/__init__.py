"""What routing learns, and whether it helps: outcomes by agent, models of who fits, trials."""
