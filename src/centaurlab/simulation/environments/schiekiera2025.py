"""schiekiera2025metascience: who asks to re-read an abstract is shown it again before the considered answers."""

import re
from collections.abc import Mapping, Sequence

from centaurlab.catalog.studies import Ask, Trial, find_study
from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.environments.environment import Environment, retold
from centaurlab.simulation.play import Chance, Play

_SHOWN_AGAIN = re.compile(r'^\. Abstract: ".*" (?=Considered [Aa]nswer: )')


def _retell(asked: Ask, answer: str, past: Sequence[Trial], told: str) -> str:
    if asked.kind != "go on":
        return told
    rest = _SHOWN_AGAIN.sub("", told, count=1).removeprefix(". ")
    again = f'Abstract: "{asked.stimuli["abstract"]}" ' if answer == "Re-read the abstract" else ""
    return f". {again}{rest}"


def _play(session: Transcript, chance: Chance) -> Play:
    study = find_study("schiekiera2025metascience")
    assert study is not None
    return retold(study, session, _retell)


def _happened(text: str) -> Mapping[str, Sequence[object]]:
    return {}


ENVIRONMENTS = (Environment("schiekiera2025metascience", _play, _happened),)
