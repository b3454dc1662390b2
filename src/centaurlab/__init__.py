"""centaurlab: how human-like are language models, how post-training changes it, and how to improve it.

    import centaurlab as cl

    people = cl.load("starter", max_participants=4)
    base = cl.score("gemma-3-270m", people, "runs/base")
    post = cl.score("runs/posttrain", people, "runs/post")
    cl.compare(post, base)

Every name is imported when it is first used, so that ``import centaurlab`` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from centaurlab.library.comparing import Comparison as Comparison
    from centaurlab.library.comparing import Parts as Parts
    from centaurlab.library.comparing import compare as compare
    from centaurlab.library.comparing import diagnose as diagnose
    from centaurlab.library.comparing import estimate as estimate
    from centaurlab.library.people import People as People
    from centaurlab.library.people import load as load
    from centaurlab.library.scores import Scores as Scores
    from centaurlab.library.scores import read as read
    from centaurlab.library.scores import score as score
    from centaurlab.library.simulating import Fidelity as Fidelity
    from centaurlab.library.simulating import Simulation as Simulation
    from centaurlab.library.simulating import fidelity as fidelity
    from centaurlab.library.simulating import simulate as simulate
    from centaurlab.library.training import Trained as Trained
    from centaurlab.library.training import report as report
    from centaurlab.library.training import train as train
    from centaurlab.library.viewing import View as View
    from centaurlab.library.viewing import view as view
    from centaurlab.runtime.errors import IncompleteError as IncompleteError
    from centaurlab.runtime.errors import UserError as UserError

__version__ = "0.2.0"

_PLACES = {
    **dict.fromkeys(("People", "load"), "centaurlab.library.people"),
    **dict.fromkeys(("Scores", "read", "score"), "centaurlab.library.scores"),
    **dict.fromkeys(("Comparison", "Parts", "compare", "diagnose", "estimate"), "centaurlab.library.comparing"),
    **dict.fromkeys(("Fidelity", "Simulation", "fidelity", "simulate"), "centaurlab.library.simulating"),
    **dict.fromkeys(("Trained", "report", "train"), "centaurlab.library.training"),
    **dict.fromkeys(("View", "view"), "centaurlab.library.viewing"),
    **dict.fromkeys(("IncompleteError", "UserError"), "centaurlab.runtime.errors"),
}
__all__ = ["__version__", *sorted(_PLACES)]


def __getattr__(name: str) -> object:
    """The front door's names, each from its module (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'centaurlab' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
