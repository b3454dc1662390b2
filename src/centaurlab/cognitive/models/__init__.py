"""Cognitive models, a small file each: a likelihood, weak priors, a source."""
