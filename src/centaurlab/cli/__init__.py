"""The command ``centaurlab``."""
