"""Tables of effects and NLLs into figures, without torch: intervals per row, and the figures of the paper."""
