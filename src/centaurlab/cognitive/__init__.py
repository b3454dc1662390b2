"""Trials into the NLL of cognitive models, of histories and of chance; needs no torch."""
