"""The command that runs a study's published effects on simulated experiments; it needs no model."""

from centaurlab.analyses.effects import ANALYSIS, find_effects
from centaurlab.jobs.fidelity import of_simulated

COMMAND = of_simulated(ANALYSIS, find_effects)
