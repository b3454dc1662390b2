"""One question a file: compute, say, draw, show."""
