"""Files into the store: records, events, values of providers."""
