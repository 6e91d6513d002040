"""Who fits? Success, handle time and repeat contact of a contact with each agent, shrunk to what all have in common."""
