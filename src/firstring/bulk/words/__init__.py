"""Text models: trained on one's own labels, tried, kept."""
