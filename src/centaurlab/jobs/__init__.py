"""The frame that every command shares: parse, score what is missing, lock, track, compute, write."""
