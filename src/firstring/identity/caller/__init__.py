"""Who is ringing: evidence, holders of an identifier, the probability of each person, the question that would settle it."""
