"""Sessions into the battery's conditions, shown before anything is scored, and these scored by every model."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.shortcuts import ANALYSIS, WORDS, ShortcutArguments, find_shortcuts
from centaurlab.catalog.studies import Study
from centaurlab.catalog.studies.find import load_studies
from centaurlab.data.letters import shuffled
from centaurlab.data.options import session_options, shared_labels
from centaurlab.data.source import open_source
from centaurlab.data.transcripts import SessionKey, Transcript
from centaurlab.display.tables import table_of
from centaurlab.display.terminal import show
from centaurlab.jobs.job import Asked, Plan, Round, Scored, everywhere, job
from centaurlab.prompts.prompt import Prompt
from centaurlab.prompts.shortcuts import (
    CONDITIONS,
    InapplicableError,
    ShortcutContext,
    Told,
    can_lend,
    instructed,
    take_apart,
    write,
)
from centaurlab.runtime.errors import UserError

_SHOWN_SESSIONS = 3
_SHOWN_CHARACTERS = 400


@dataclass
class Battery:
    """The conditions of a data set: which sessions can be told so, what three of them read like, why others cannot.

    ``as_named``: the responses, by session and number, that are what the misleading instruction asks for.
    """

    contexts: dict[str, ShortcutContext] = field(default_factory=dict)
    audit: list[dict[str, str]] = field(default_factory=list)
    refused: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    as_named: set[tuple[str, str, str, int]] = field(default_factory=set)

    def audit_table(self) -> pd.DataFrame:
        """Three sessions of each condition, as the model reads them."""
        return pd.DataFrame(self.audit, columns=["condition", "study", "participant", "reads"])

    def refused_table(self) -> pd.DataFrame:
        """How many sessions of each study a condition cannot be applied to, and why."""
        rows = [(*about, n) for about, n in sorted(self.refused.items())]
        return pd.DataFrame(rows, columns=["condition", "study", "why", "sessions"])


def battery(
    transcripts: Sequence[Transcript], conditions: Sequence[str], protocol: str, own: Mapping[str, Study] | None = None
) -> Battery:
    """Tell every session in every condition; what cannot be told so is counted."""
    own = own or {}
    labels = shared_labels(transcripts, own)
    options = {one.key: _options(one, labels, own) for one in transcripts}
    told = {one.key: take_apart(one, options[one.key], protocol, own) for one in transcripts}
    by_key = {one.key: one for one in transcripts}
    others = _lenders(told, by_key) if "foreign_history" in conditions else {}
    found = Battery()
    for name in conditions:
        sessions = set()
        seen: set[str] = set()
        examples: list[tuple[SessionKey, Prompt]] = []
        for key, one in told.items():
            lender = others.get(key)
            try:
                prompt = write(CONDITIONS[name](one, told[lender.key] if lender else None))
            except InapplicableError as error:
                found.refused[WORDS[name], key.study, str(error)] += 1
                continue
            sessions.add(key)
            if name == "misleading":
                asked_for = instructed(one)
                numbers = (k for k, answer in enumerate(one.answers) if answer.strip() == asked_for)
                found.as_named.update((key.study, key.experiment, key.participant, k) for k in numbers)
            if len(examples) < _SHOWN_SESSIONS and key.study not in seen:
                examples.append((key, prompt))
                seen.add(key.study)
            elif len(examples) < _SHOWN_SESSIONS and len(seen) == len({k.study for k in told}):
                examples.append((key, prompt))
        if sessions:
            found.contexts[name] = ShortcutContext(name, options, others, frozenset(sessions), own)
        found.audit += [
            {"condition": WORDS[name], "study": key.study, "participant": key.participant, "reads": _excerpt(prompt)}
            for key, prompt in examples
        ]
    return found


def _options(one: Transcript, labels: Mapping[str, tuple[str, ...]], own: Mapping[str, Study]) -> tuple[str, ...]:
    """All options of a session in the order of first use; none where an answer is open."""
    found = session_options(one, labels, own)
    if not found.sets or (found.set_R < 0).any():
        return ()
    return tuple(dict.fromkeys(option for offered in found.sets for option in offered))


def _lenders(told: Mapping[SessionKey, Told], by_key: Mapping[SessionKey, Transcript]) -> dict[SessionKey, Transcript]:
    """Who lends each session a history: in a seeded order of the study's people, the first whose options allow it."""
    of_study: dict[str, list[SessionKey]] = defaultdict(list)
    for key in told:
        of_study[key.study].append(key)
    found = {}
    for keys in of_study.values():
        by_name = {f"{key.experiment}\0{key.participant}": key for key in keys}
        order = [by_name[name] for name in shuffled(list(by_name), keys[0].study, "lenders")]
        for i, key in enumerate(order):
            lender = next((one for one in order[i + 1 :] + order[:i] if can_lend(told[one], told[key])), None)
            if lender is not None:
                found[key] = by_key[lender]
    return found


def _excerpt(prompt: Prompt) -> str:
    """The beginning of what the model reads; where it begins anew, of the second piece, which tells the condition."""
    pieces = prompt.pieces()
    text = pieces[min(1, len(pieces) - 1)].text
    half = _SHOWN_CHARACTERS // 2
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:half]} […] {text[-half:]}"


def plan(asked: Asked[ShortcutArguments]) -> Plan:
    """Every model on the sessions as told, then in each condition."""
    # Here and not above: it imports torch, and --help answers without it.
    from accelerate import PartialState

    own_studies = load_studies(Path(asked.data.study_module)) if asked.data.study_module else {}
    told = battery(list(open_source(asked.data)), asked.own.chosen, asked.scoring.protocol, own_studies)
    if not told.contexts:
        named = "; ".join(f"{condition}, {study}: {why}" for condition, study, why in told.refused)
        raise UserError(f"{asked.data.data}: no session can be told in any of the conditions ({named})")
    if PartialState().is_main_process:
        show(table_of("What each condition makes of three sessions", told.audit_table()))
        if told.refused:
            show(table_of("What a condition cannot be applied to", told.refused_table()))
    models = {name: asked.load.of(name) for name in asked.own.model_name_or_path}
    scores = asked.folder / "scores"
    as_told = Round(models, asked.data, scores / "as_told", tolerant=len(models) > 1, condition="as told")
    rounds = {"as_told": as_told} | {
        name: replace(as_told, folder=scores / name, context_of=everywhere(context), condition=WORDS[name])
        for name, context in told.contexts.items()
    }

    def compute(scored: Scored) -> Finding:
        runs = scored.rounds
        if not runs["as_told"]:
            raise UserError(f"no model is left to compare; {scored.missing}")
        conditions = {name: runs[name] for name in told.contexts}
        found = find_shortcuts(runs["as_told"], conditions, asked.estimates, told.as_named)
        tables = {"audit.csv": told.audit_table(), "inapplicable.csv": told.refused_table()}
        took = {name: [run.record.speed for run in of.values() if run.record.speed] for name, of in runs.items()}
        cost = {
            name: {
                "seconds": sum(one.scoring_seconds for one in of),
                "tokens_computed": sum(one.tokens - one.tokens_reused for one in of),
            }
            for name, of in took.items()
        }
        return replace(found, tables=dict(found.tables) | tables, record=dict(found.record) | {"took": cost})

    return Plan(rounds, compute)


COMMAND = job(ANALYSIS, plan)
