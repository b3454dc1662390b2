"""Encoded sessions and a model into a row per response."""
