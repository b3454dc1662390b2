"""A model and a session's questions into answers of the model's own, in the format that people's sessions have."""
