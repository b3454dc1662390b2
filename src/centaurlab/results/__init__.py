"""The contract of both wings: tables of scores, what a run says of itself, and which runs may be compared."""
