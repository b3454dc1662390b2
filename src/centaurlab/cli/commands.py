"""Every command: its name, where it is, and what it does in a line.

A command is imported when it is given, so that ``centaurlab --help`` needs none of them.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from centaurlab.analyses import ANALYSES

if TYPE_CHECKING:
    from centaurlab.jobs.command import Command

_JOBS = "centaurlab.jobs"
_CLI = "centaurlab.cli"
_PLANNED = (
    "effects",
    "fidelity",
    "misalignment",
    "generations",
    "generalisation",
    "trajectory",
    "frontier",
    "realignment",
    "baselines",
    "ceiling",
    "shortcuts",
    "contamination",
    "personas",
    "templates",
)
"""Analyses whose models are scored by a plan of their own, in ``jobs/``."""

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "See it": {
        "demo": (f"{_CLI}.demo:COMMAND", "the whole story on a small model, in ten minutes"),
        "report": (f"{_CLI}.report:COMMAND", "finished runs as one page"),
        "compare": (f"{_CLI}.compare:COMMAND", "runs side by side on the terminal"),
        "view": (f"{_JOBS}.view:COMMAND", "scored sessions as a page, every response coloured by its NLL"),
    },
    "Measure": {
        "score": (f"{_JOBS}.score:COMMAND", "one NLL per human response"),
        **{name: (f"{_JOBS}.{name}:COMMAND" if name in _PLANNED else "", line) for name, line in ANALYSES.items()},
        "simulate": (f"{_JOBS}.simulate:COMMAND", "a model acts: people's sessions answered anew"),
        "precision": (f"{_JOBS}.replay:COMMAND", "what --precision would have saved on finished scores"),
        "benchmark": (f"{_JOBS}.benchmark:COMMAND", "speed and memory against a plain loop"),
    },
    "Train": {
        "train": (f"{_JOBS}.train:COMMAND", "a LoRA or QLoRA adapter on human responses: a Centaur"),
        "posttrain": (f"{_JOBS}.posttrain:COMMAND", "a base model into an assistant, by SFT or DPO"),
        "interpolate": (f"{_JOBS}.interpolate:COMMAND", "models between a base and its post-trained version"),
        "merge": (f"{_JOBS}.merge:COMMAND", "an adapter and its base into one model"),
        "sweep": (f"{_JOBS}.sweep:COMMAND", "a W&B sweep file on this machine, without a server"),
    },
    "Look and prepare": {
        "data stats": (f"{_CLI}.data:STATS", "studies, people, responses, tokens, metadata, problems"),
        "data validate": (f"{_CLI}.data:VALIDATE", "every malformed session, by line"),
        "data lint": (f"{_CLI}.lint:COMMAND", "what a reviewer would ask, by line"),
        "data convert": (f"{_CLI}.convert:COMMAND", "a table of trials into sessions, by a template"),
        "data options": (f"{_CLI}.options:COMMAND", "what could have been answered, per study"),
        "models": (f"{_CLI}.models:COMMAND", "models that can be named, and which are on this machine"),
        "plan": (f"{_CLI}.plan:COMMAND", "what scoring will take: tokens, memory, hours"),
        "track": (f"{_CLI}.track:COMMAND", "a run's folder into MLflow or W&B, afterwards"),
        "export": (f"{_CLI}.export:COMMAND", "scores as a log of inspect_ai"),
        "push": (f"{_CLI}.push:COMMAND", "an adapter or scores to the Hugging Face Hub"),
        "recipes copy": (f"{_CLI}.recipes:COPY", "the YAML and SLURM files that come with the package"),
        "completion": (f"{_CLI}.completion:COMMAND", "lines that make a shell complete commands and options"),
    },
}
"""Headings of ``centaurlab --help``, and under each the commands: place and line. A command may be of two words."""

COMMANDS = {name: about for group in GROUPS.values() for name, about in group.items()}


def find_command(name: str) -> "Command":
    """The command ``name``; an analysis without a plan of its own is put into the frame of jobs."""
    place, _ = COMMANDS[name]
    if place:
        found: Command = resolve_name(place)
        return found
    # Here and not above: they import what --help does without.
    from centaurlab.analyses import find_analysis
    from centaurlab.jobs.job import job

    return job(find_analysis(name))
