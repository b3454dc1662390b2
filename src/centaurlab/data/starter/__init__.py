"""Real people's sessions from data that come as Python packages."""
