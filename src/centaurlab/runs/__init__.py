"""A command into a folder with its settings, provenance and metrics; the folder into MLflow and W&B."""
