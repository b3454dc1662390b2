"""A session as it was published, and with its trials in other orders: has a model seen the published one?

Where whoever transcribed a study drew the order of its trials at random, whatever a person answered, a model that has
not seen the transcript has no reason to expect the published order more than others of the same trials, answers
included. So, among the published session and R others in orders drawn in the same way, the rank of the published one's
likelihood is uniform (Oren et al. 2024, arXiv:2310.17623, who exchange the rows of a data set).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from centaurlab.catalog.studies import Study
from centaurlab.data.transcripts import CLOSE, OPEN, SessionKey, Transcript
from centaurlab.prompts.prompt import Prompt, PromptResponse
from centaurlab.prompts.shortcuts import InapplicableError, Told, ToldTrial, take_apart
from centaurlab.stats.bootstrap import generator


def find_drawn_orders(
    transcripts: Iterable[Transcript], protocol: str = "full", own: Mapping[str, Study] | None = None
) -> tuple[dict[SessionKey, tuple[int, int]], Counter[tuple[str, str]]]:
    """The sessions whose trials were put in an order by chance, and how many others a study has, by the reason.

    Of each its number of responses, from which on the trials of all texts are numbered, and its number of trials.
    """
    found: dict[SessionKey, tuple[int, int]] = {}
    refused: Counter[tuple[str, str]] = Counter()
    for one in transcripts:
        told = take_apart(one, (), protocol, own)
        try:
            if told.study is not None and not told.study.drawn_order:
                raise InapplicableError("its module does not say that the order of its trials was drawn")
            trials = told.separate()
            if all(len(of) < 2 for of in _blocks(trials).values()):
                raise InapplicableError("no block has two trials")
            if len({trial.tail for trial in trials[:-1]}) > 1:
                raise InapplicableError("what follows an answer differs from trial to trial")
        except InapplicableError as error:
            refused[one.study, str(error)] += 1
            continue
        found[one.key] = len(told.answers), len(trials)
    return found, refused


@dataclass(frozen=True)
class ReorderedContext:
    """Every session as published and in ``n`` other orders, drawn within its blocks; what is scored are all trials.

    ``drawn``: as ``find_drawn_orders`` has them. A trial is its stimulus and its answers; what stands before the first
    one is read and not scored, and neither is what stands after the last.
    """

    drawn: Mapping[SessionKey, tuple[int, int]] = field(repr=False)
    n: int
    seed: int = 0
    own_studies: Mapping[str, Study] = field(default_factory=dict, repr=False)

    @property
    def sessions(self) -> frozenset[SessionKey]:
        """Those in an order that was drawn."""
        return frozenset(self.drawn)

    @property
    def identity(self) -> Mapping[str, Any]:
        """How often an order is drawn, and by which seed."""
        return {"reordered": self.n, "seed": self.seed}

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The published text and the others, each read from its beginning."""
        told = take_apart(transcript, (), protocol, self.own_studies)
        first, n_trials = self.drawn[transcript.key]
        rng = generator(self.seed, "order", *astuple(transcript.key))
        text, responses, starts = "", [], []
        for version in range(self.n + 1):
            starts.append(len(text))
            text += told.opening
            for place, trial in enumerate(_in_order(told, rng if version else None)):
                end = len(text) + len(trial)
                responses.append(PromptResponse(first + version * n_trials + place, len(text), end))
                text += trial
        return Prompt(text, tuple(responses), len(responses), starts=tuple(starts[1:]))


def _in_order(told: Told, rng: np.random.Generator | None) -> list[str]:
    """The text of each place: its label, a trial of its block, and a line's end; ``rng``: None, as published."""
    trials = told.separate()
    order = np.arange(len(trials))
    if rng is not None:
        for places in _blocks(trials).values():
            order[places] = rng.permutation(places)
    ends = [trials[0].tail] * (len(trials) - 1) + [""]
    return [trials[place].label + _said(trials[i]) + ends[place] for place, i in enumerate(order)]


def _said(trial: ToldTrial) -> str:
    return "".join(part if isinstance(part, str) else f"{OPEN}{part[1]}{CLOSE}" for part in trial.parts)


def _blocks(trials: Iterable[ToldTrial]) -> dict[int | None, list[int]]:
    """The places of each block."""
    found: dict[int | None, list[int]] = {}
    for place, trial in enumerate(trials):
        found.setdefault(trial.block, []).append(place)
    return found
