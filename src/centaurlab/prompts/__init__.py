"""A session in a context into tokens and response spans."""
