"""What every process needs and no science: errors, settings, secrets, threads; imports nothing of ours."""
