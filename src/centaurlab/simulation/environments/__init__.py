"""Studies whose feedback answers what was done: what would have followed from the answers of a model."""
