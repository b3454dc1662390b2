"""Sessions in other orders: what is drawn and scored, who is left out, and that the rank says who has seen them."""

import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from centaurlab.catalog.studies import find_study
from centaurlab.data.transcripts import Transcript
from centaurlab.prompts.reordered import ReorderedContext, find_drawn_orders
from centaurlab.stats.permutation import permutation_p
from helpers.shortcut_readers import statements, trips

N_DRAWN = 19


def by_version(context: ReorderedContext, one: Transcript) -> list[list[str]]:
    """The trials of each text."""
    return [[p.text[r.start : r.end] for r in p.responses] for p in context.prompt(one, "full").pieces()]


def test_every_text_has_the_published_trials_in_another_order() -> None:
    one = statements(3, 8)
    drawn, refused = find_drawn_orders([one])
    assert drawn == {one.key: (8, 8)}
    assert not refused
    context = ReorderedContext(drawn, N_DRAWN, seed=1)
    prompt, versions = context.prompt(one, "full"), by_version(context, one)
    published = re.findall(r"Statement.*", one.text)
    assert [trial.strip() for trial in versions[0]] == [*published[:-1], published[-1].removesuffix(".")]
    assert one.text.startswith(prompt.pieces()[0].text)
    assert [r.number for r in prompt.responses] == [*range(8, 8 * (N_DRAWN + 2))]
    ends = {piece.text[: piece.responses[0].start] for piece in prompt.pieces()}
    assert ends == {one.text[: one.text.index("Statement")]}
    same = [sorted(trial.strip().removesuffix(".") for trial in trials) for trials in versions]
    assert all(trials == same[0] for trials in same)
    assert len({tuple(trials) for trials in versions}) == N_DRAWN + 1


def test_trials_stay_in_their_blocks() -> None:
    study = find_study("revelle2010personality")
    assert study

    def in_blocks(segment: str, past: list[Any], opening: str) -> object:
        return replace(study.ask(segment, past, opening), block=1 + len(past) // 4)

    own = {"revelle2010personality": replace(study, ask=in_blocks)}
    one = statements(5, 8)
    drawn, _ = find_drawn_orders([one], own=own)
    versions = [
        [re.findall('"(.*)"', t)[0] for t in trials] for trials in by_version(ReorderedContext(drawn, 9, 0, own), one)
    ]
    assert {(frozenset(trials[:4]), frozenset(trials[4:])) for trials in versions} == {
        (frozenset(versions[0][:4]), frozenset(versions[0][4:]))
    }
    assert len({tuple(trials) for trials in versions}) == 10


def test_studies_whose_order_was_not_drawn_are_left_out_by_name() -> None:
    other = Transcript("You press <<J>>. You press <<F>>.", "b2020keys", "e", "1")
    drawn, refused = find_drawn_orders([trips(0), other, statements(1, 1)])
    assert not drawn
    assert dict(refused) == {
        ("benakiva1993trains", "its module does not say that the order of its trials was drawn"): 1,
        ("b2020keys", "no module of the study says where its trials begin and what they depend on"): 1,
        ("revelle2010personality", "there is one trial alone"): 1,
    }


def test_p_is_uniform_for_who_reads_and_least_for_who_knows_the_order() -> None:
    people = [statements(person, 6) for person in range(120)]
    context = ReorderedContext(find_drawn_orders(people)[0], N_DRAWN)

    def reads(trials: list[str]) -> float:
        """How alike neighbours' answers are, and what the first statement is: no exchangeable reader."""
        said = [int(re.findall("<<(.)>>", trial)[0]) for trial in trials]
        return float(np.abs(np.diff(said)).sum() + len(trials[0]) / 7 + random.Random(trials[0] + trials[-1]).random())

    unseen, seen = [], []
    for one in people:
        versions = by_version(context, one)
        unseen.append(permutation_p(reads(versions[0]), np.array([reads(trials) for trials in versions[1:]])))
        known = [float("".join(trials) not in one.text) for trials in versions]
        seen.append(permutation_p(known[0], np.array(known[1:])))
    jitter = np.random.default_rng(0).uniform(0, 1 / (N_DRAWN + 1), len(unseen))
    assert stats.kstest(np.array(unseen) - jitter, "uniform").pvalue > 0.01
    assert np.mean(seen) < 2 / (N_DRAWN + 1)
