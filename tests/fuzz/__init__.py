"""Inputs made by a fuzzer, and what must hold for all of them."""
