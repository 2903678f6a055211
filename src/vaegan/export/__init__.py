"""A model in other forms: graphs that run without this package, and what is said before one is shared."""
