"""centaurlab: how human-like are language models, how post-training changes it, and how to improve it."""

__version__ = "0.1.0"
