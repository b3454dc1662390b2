"""A name into a model, its tokenizer and its identity: the only place that loads weights."""
