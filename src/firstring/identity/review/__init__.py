"""Why two records are one person, and which pairs are worth asking people about."""
