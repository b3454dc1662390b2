"""One question a file: compute, say, draw, show."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from centaurlab.analyses.analysis import Analysis

ANALYSES = {
    "misalignment": "Cohen's d of two models, or of many pairs, with intervals",
    "diagnosis": "a difference of two models split into format, calibration and preference",
    "generations": "NLL and misalignment by size and generation of whole families",
    "generalisation": "an adapter on held-out people and on studies that it never saw",
    "trajectory": "human-likeness and assistant accuracy at every checkpoint of a training run",
    "frontier": "models side by side by human-likeness and assistant accuracy",
    "realignment": "how many people it takes to realign a model: NLL by number of people, four methods",
    "learning": "whether people are predicted better as a session goes on: NLL by trial number",
    "baselines": "chance, other people's answers, a person's own history: what a model has to clear",
    "ceiling": "how predictable people are: the NLL that no model can go below that does not know them",
    "fidelity": "simulated behaviour against people's: distances, effects that are lost",
    "effects": "published effects of a study, as programs, where models took part in it",
    "shortcuts": "whether it is the task that a model makes use of: instructions, history, stimuli taken away",
    "contamination": "whether a model has seen the transcripts: published letters against letters drawn anew",
    "personas": "whether a person is predicted better when the model knows who it is",
    "templates": "sessions in a model's chat template against plain text",
}
"""Every analysis, which is a module of this package with an ``ANALYSIS``: a command and a section of reports."""


def find_analysis(name: str) -> "Analysis[object]":
    """The analysis ``name``; imported here, since most commands need one of them or none."""
    found: Analysis[object] = import_module(f"{__name__}.{name}").ANALYSIS
    return found
