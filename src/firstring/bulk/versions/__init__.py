"""Model versions of a store: trained, rolled in, settled, watched."""
