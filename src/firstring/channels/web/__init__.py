"""The web: a snippet of our own for pages, who is before a page, and what is there for them."""
