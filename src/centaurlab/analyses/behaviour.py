"""Sessions as behaviour: what was answered to which item, what follows on what, in what people differ, and effects."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from centaurlab.catalog.studies import Study, Trial, find_study
from centaurlab.data.options import cut_at_responses, session_items, session_options, session_trials
from centaurlab.data.persons import Persons, Unit
from centaurlab.data.transcripts import SessionKey, Transcript, is_blank

BINS = 8
"""A session's answers, in order, are cut into so many parts for its learning curve."""

STAYS = "the same again"

Cells = Counter[tuple[str, str]]
"""How often each answer was given to each item."""
NO_OPTION = "(no option)"
"""What is none of the labels that people answer with, such as words: all of it counts as one answer."""


@dataclass(frozen=True)
class Behaviour:
    """One session, or all of one person, answers by what they mean.

    ``marginal``: counts per item. ``dynamics``: counts per eighth of the session, after each answer, and of repeated
    choices after rewards. ``features``: what people may differ in, shares of answers and of repetitions; ``kinds``: of
    which kind of question those that are shares of answers are. ``effects``: the study's named effects.
    ``offered``: what could have been answered to the items, where that is known. ``person``: whose the session is.
    ``problem``: why the study's module could not read it, where it could not.
    """

    key: SessionKey
    marginal: Cells
    dynamics: Cells
    features: Mapping[str, float]
    effects: Mapping[str, float]
    transcripts: tuple[Transcript, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    offered: frozenset[tuple[str, str]] = frozenset()
    person: Unit | None = None
    problem: str | None = None


def behaviours(
    transcripts: Iterable[Transcript],
    labels: Mapping[str, tuple[str, ...]],
    own_studies: Mapping[str, Study] | None = None,
    persons: Persons | None = None,
) -> dict[str, list[Behaviour]]:
    """Every session as behaviour, by study; ``labels`` and ``own_studies`` as in ``data.options``."""
    found: dict[str, list[Behaviour]] = defaultdict(list)
    for transcript in transcripts:
        one = _behaviour(transcript, labels, own_studies)
        found[transcript.study].append(replace(one, person=persons.unit(one.key)) if persons is not None else one)
    return found


def readable(found: Mapping[str, list[Behaviour]], whose: str) -> tuple[dict[str, list[Behaviour]], list[str]]:
    """Of each study the sessions that its module could read, where it could some; notes on what says nothing."""
    kept, notes = {}, []
    for study, sessions in found.items():
        kept[study] = [one for one in sessions if one.problem is None] or sessions
        if unread := [one for one in sessions if one.problem is not None]:
            notes.append(
                f"{len(unread)} of {len(sessions)} sessions of {whose} cannot be read by the module of {study} and "
                f"say nothing here, such as {unread[0].key}: {unread[0].problem}"
            )
        elif not any(one.marginal for one in sessions):
            notes.append(
                f"nothing of {study} is compared in {whose}: what could have been answered is not known of all people "
                "alike ('centaurlab data options' says what is); a --study_module says it"
            )
    return kept, notes


def joined(sessions: Sequence[Behaviour]) -> Behaviour:
    """Sessions of one person as one: counts are summed, features and effects are means over those that have them."""
    if len(sessions) == 1:
        return sessions[0]
    names = list(dict.fromkeys(name for session in sessions for name in session.features))
    effects = {name: [of.effects[name] for of in sessions if name in of.effects] for name in sessions[0].effects}
    return replace(
        sessions[0],
        marginal=_added(session.marginal for session in sessions),
        dynamics=_added(session.dynamics for session in sessions),
        features=dict(zip(names, map(_mean, zip(*features_of(sessions, names), strict=True)), strict=True)),
        effects={name: _mean(values) for name, values in effects.items()},
        transcripts=tuple(transcript for session in sessions for transcript in session.transcripts),
        kinds={name: kind for session in sessions for name, kind in session.kinds.items()},
        offered=frozenset[tuple[str, str]]().union(*(session.offered for session in sessions)),
    )


def features_of(sessions: Sequence[Behaviour], names: Sequence[str]) -> list[list[float]]:
    """What each session is in each; 0 for an answer that it never gave to questions that it had, NaN of others."""
    kinds = {name: kind for session in sessions for name, kind in session.kinds.items()}
    found = []
    for session in sessions:
        had = {*session.kinds.values()}
        missing = [0.0 if kinds.get(name) in had else math.nan for name in names]
        found.append([session.features.get(name, of) for name, of in zip(names, missing, strict=True)])
    return found


def _added(counts: Iterable[Cells]) -> Cells:
    added = Cells()
    for of in counts:
        added.update(of)  # a sum by + would lose situations in which a choice was never made again
    return added


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _behaviour(
    transcript: Transcript, labels: Mapping[str, tuple[str, ...]], own_studies: Mapping[str, Study] | None
) -> Behaviour:
    options = session_options(transcript, labels, own_studies)
    study = find_study(transcript.study, own_studies)
    effects: dict[str, float] = {}
    stays: list[tuple[str, bool]] = []
    if options.rule == "module" and study is not None:
        trials = session_trials(transcript, study)
        answers = [None if is_blank(one.answer) else (one.kind, one.role or one.answer) for one in trials]
        offers = [trial.roles or trial.options for trial in trials]
        effects = {name: compute(trials) for name, compute in study.effects.items()}
        stays = list(_stays(trials))
    elif options.rule == "labels of the study":
        offers = [options.of(response) for response in range(len(options.role_R))]
        answers = [
            None if is_blank(answer) else ("answer", role or NO_OPTION)
            for answer, role in zip(cut_at_responses(transcript.text)[1], options.role_R, strict=True)
        ]
    else:  # labels that may be another's other option say nothing together
        answers, offers = [], []
    items = session_items(transcript, options, study) if answers else []
    marginal, dynamics = Cells(), Cells()
    offered: set[tuple[str, str]] = set()
    said = [answer for answer in answers if answer is not None]
    for place, (answer, item, offer) in enumerate(zip(answers, items, offers, strict=True)):
        if answer is not None:
            part = f"part {place * BINS // len(answers)}"
            asked = f"{answer[0]}: {item or part}"
            marginal[asked, answer[1]] += 1
            if offer and answer[1] in offer:  # not where a module classes answers anew
                offered |= {(asked, meaning) for meaning in offer}
            dynamics[f"{answer[0]}, {part}", answer[1]] += 1
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, meaning in said:
        by_kind[kind].append(meaning)
    features: dict[str, float] = {}
    kinds: dict[str, str] = {}
    for kind, meanings in by_kind.items():
        for before, after in pairwise(meanings):
            dynamics[f"{kind}, after {before}", after] += 1
        for meaning, count in Counter(meanings).items():
            features[f"{kind} {meaning}"] = count / len(meanings)
            kinds[f"{kind} {meaning}"] = kind
        if len(meanings) > 1:
            features[f"{kind} repeated"] = sum(a == b for a, b in pairwise(meanings)) / (len(meanings) - 1)
    by_situation: dict[str, list[bool]] = defaultdict(list)
    for situation, is_repeated in stays:
        dynamics[situation, STAYS] += is_repeated  # also where it is none: the share is then known to be 0
        dynamics[situation, "another"] += not is_repeated
        by_situation[situation].append(is_repeated)
    features |= {f"{situation}: {STAYS}": share(repeated) for situation, repeated in by_situation.items()}
    return Behaviour(
        *(transcript.key, marginal, dynamics, features, effects, (transcript,), kinds, frozenset(offered)),
        problem=options.problem,
    )


def _stays(trials: Sequence[Trial]) -> Iterator[tuple[str, bool]]:
    """After each trial with a reward or none: what it was, and whether its first choice was made again in the next."""
    by_trial: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_trial[trial.trial].append(trial)
    for now, following in pairwise(by_trial.values()):
        rewards = [paid for of in now if isinstance(paid := of.outcome.get("reward"), int | float)]
        is_answered = not is_blank(now[0].answer) and not is_blank(following[0].answer)
        if rewards and is_answered and now[0].kind == following[0].kind:
            transitions = [str(of.stimuli["transition"]) for of in now if "transition" in of.stimuli]
            reward = "a" if rewards[-1] > 0 else "no"  # a loss is none
            situation = ", ".join([f"{now[0].kind} after {reward} reward", *transitions])
            yield situation, (now[0].role or now[0].answer) == (following[0].role or following[0].answer)


def share(flags: Iterable[bool]) -> float:
    """Of what is true; NaN of nothing."""
    known = list(flags)
    return sum(known) / len(known) if known else math.nan
