"""Estimates into figures and tables."""
