"""What is known of a person: which value survives, how old it is, what contradicts it."""
