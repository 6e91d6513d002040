"""What another policy would have brought, out of decisions that were logged with their propensities (firstring.proof)."""
