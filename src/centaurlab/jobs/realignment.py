"""A model, and n people, into scores of held-out people: by an adapter, in context, recalibrated, without a model.

Each method, number of people and order of people is a run folder of its own, finished or not: the same command makes
what is missing. Whoever is held out is the same for all of them.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import pandas as pd

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.fidelity import FidelityArguments, find_fidelity
from centaurlab.analyses.realigned import BASE, EVERYBODY, MODEL, Learned
from centaurlab.analyses.realignment import ANALYSIS, RealignmentArguments, find_realignment
from centaurlab.catalog.studies import Study, load_studies
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import person_order, select_people
from centaurlab.data.transcripts import SessionKey
from centaurlab.jobs.job import Asked, Plan, Round, Scored, everywhere, job
from centaurlab.jobs.people import People, find_people
from centaurlab.jobs.realigned import LearnedRows
from centaurlab.jobs.trajectory import base_model
from centaurlab.models.arguments import ModelArguments
from centaurlab.prompts.context import PlainContext
from centaurlab.prompts.others import OthersContext
from centaurlab.results.run import is_score_folder
from centaurlab.runs.folder import read_config
from centaurlab.runs.integrity import read_json
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.simulation.arguments import SimulateArguments

_AS_IS, _PEOPLE, _LORA = "as-is", "people", "lora"


@dataclass(frozen=True)
class Crowd:
    """The held-out people, and the others, of whom the first n are learned from, in every order."""

    people: People
    orders: tuple[int, ...]

    @property
    def held_out(self) -> frozenset[SessionKey]:
        """The sessions that are predicted."""
        return frozenset(key for keys in self.people.predicted.values() for key in keys)

    @cached_property
    def _ranked(self) -> Mapping[int, Mapping[str, Sequence[tuple[SessionKey, ...]]]]:
        everybody = [key for keys in self.people.training.values() for key in keys]
        return {order: person_order(everybody, self.people.persons, order) for order in self.orders}

    def first(self, n: int, order: int) -> dict[str, tuple[SessionKey, ...]]:
        """The sessions of the first ``n`` people of each study, person after person."""
        ranked = self._ranked[order]
        return {
            study: tuple(key for one in ranked.get(study, ())[:n] for key in one) for study in self.people.predicted
        }

    def check(self, n: int) -> None:
        """Raise ``UserError`` where somebody is on both sides, or a study has fewer than ``n`` people to learn from."""
        unit = self.people.persons.unit
        predicted = {unit(key) for key in self.held_out}
        both = [key for keys in self.people.training.values() for key in keys if unit(key) in predicted]
        if both:
            raise UserError(
                f"{both[0]} would be learned from and is predicted too, as are {len(both) - 1:,} more sessions; give "
                "data whose people can be held out"
            )
        for study in self.people.predicted:
            found = len(self._ranked[self.orders[0]].get(study, ()))
            if found < n:
                raise UserError(
                    f"--people {n}: {study} has {found} people beside those held out; give smaller numbers, or leave "
                    "it away by --studies"
                )


def plan(asked: Asked[RealignmentArguments]) -> Plan:
    """Held-out people by the model as it is, its base, every adapter and every context; people learned from, too."""
    own = asked.own
    check_data(asked.data)
    _check_engine(own.methods, asked.scoring.engine)
    own_studies = load_studies(Path(asked.data.study_module)) if asked.data.study_module else {}
    crowd = find_crowd(asked.data, own.orders, own_studies)
    crowd.check(max(own.sizes))
    held_out, as_told = replace(asked.data, participants="test"), everywhere(PlainContext(crowd.held_out))
    scores = asked.folder / "scores"
    base = own.base or _base_of(own.model_name_or_path)
    base = None if base == own.model_name_or_path else base
    as_is = {MODEL: asked.load.of(own.model_name_or_path)} | ({BASE: asked.load.of(base)} if base else {})
    _check_there(as_is.values())
    rounds = {_AS_IS: Round(as_is, held_out, scores / _AS_IS, as_told, condition="as it is")}
    model = {MODEL: as_is[MODEL]}
    notes = [f"note: {len(crowd.held_out):,} sessions of held-out people are predicted"]
    if "recalibration" in own.methods:
        known = frozenset(
            key for order in own.orders for keys in crowd.first(max(own.sizes), order).values() for key in keys
        )
        everybody = replace(asked.data, participants="train", max_participants=None)
        rounds[_PEOPLE] = Round(model, everybody, scores / _PEOPLE, everywhere(PlainContext(known)), condition="people")
    contexts: dict[tuple[int, int], OthersContext] = {}
    if "context" in own.methods:
        contexts, too_long = find_contexts(asked, crowd)
        notes += too_long
        for (n, order), context in contexts.items():
            name = f"context-n{n}-order{order}"
            condition = f"after {n} people, order {order}"
            rounds[name] = Round(model, held_out, scores / name, everywhere(context), condition=condition)
    lora = {name: (n, order) for n, order in product(own.sizes, own.orders) for name in [f"n{n}-order{order}"]}
    adapters = Path(own.adapters) if own.adapters else asked.folder / "adapters"
    if "lora" in own.methods:
        models = {name: asked.load.of(str(adapters / name)) for name in lora}
        rounds[_LORA] = Round(models, held_out, scores / _LORA, as_told, condition="adapter")

    weights = {(name, 0, own.orders[0]): model.model_name_or_path for name, model in as_is.items()}
    if "lora" in own.methods:
        weights |= {("lora", *lora[name]): str(adapters / name) for name in lora}

    if own.simulate:
        from centaurlab.simulation.run import check_simulated  # here: it imports torch, and --help answers without it

        for name in as_is:
            settings = _acting_settings(asked, _acting(asked, (name, 0, own.orders[0])))
            check_simulated(as_is[name], held_out, settings, crowd.held_out)

    def score(tracking: TrackingArguments) -> Scored:
        # Here and not above: they import torch, and --help answers without it.
        from centaurlab.jobs.adapters import train_adapter
        from centaurlab.jobs.scoring import score_rounds

        if "lora" in own.methods:
            for name, (n, order) in lora.items():
                first = crowd.first(n, order)
                n_sessions = sum(map(len, first.values()))
                texts = crowd.people.fingerprints(first)
                train_adapter(asked, texts, n, order, n_sessions, adapters / name, tracking)
                gc.collect()
        found = score_rounds(rounds, asked.scoring, tracking)
        missing = act(asked, weights, held_out, crowd.held_out, tracking) if own.simulate else []
        return replace(found, incomplete=missing)

    def compute(scored: Scored) -> Finding:
        runs = scored.rounds
        learned = [
            Learned(name, 0, own.orders[0], run, as_is[name].model_name_or_path) for name, run in runs[_AS_IS].items()
        ]
        for name, run in runs.get(_LORA, {}).items():
            learned.append(Learned("lora", *lora[name], run, str(adapters / name)))
        learned += [Learned("context", n, order, runs[f"context-n{n}-order{order}"][MODEL]) for n, order in contexts]
        rows = LearnedRows(crowd.people, asked.data, own_studies, asked.scoring.protocol, scores)
        if "recalibration" in own.methods:
            before, of_people = runs[_AS_IS][MODEL], runs[_PEOPLE][MODEL]
            for n, order in product(own.sizes, own.orders):
                run = rows.recalibrated(before, of_people, crowd.first(n, order), f"recalibration-n{n}-order{order}")
                learned.append(Learned("recalibration", n, order, run))
                notes.extend(f"recalibration, {n} people, order {order}: {fitted}" for fitted in run.record.notes)
        if "baseline" in own.methods:
            for n, order in [(0, own.orders[0]), *product(own.sizes, own.orders)]:
                run = rows.baseline(crowd.first(n, order), f"baseline-n{n}-order{order}")
                learned.append(Learned("baseline", n, order, run))
        everybody = rows.baseline(crowd.people.training, EVERYBODY)
        learned.append(Learned(EVERYBODY, 0, own.orders[0], everybody))
        acted = acted_table(asked, weights, held_out, crowd.held_out) if own.simulate else None
        return find_realignment(own, list(_asked_assistant(asked, learned)), asked.estimates, notes, acted)

    return Plan(rounds, compute, joins=own.model_name_or_path, score=score)


def find_crowd(data: DataArguments, orders: Sequence[int], own_studies: Mapping[str, Study]) -> Crowd:
    """The held-out tenth of each study's people, or the first of them, and all others.

    By a split of whatever people the data have, even where these are one half of a published split.
    """
    everybody = open_source(replace(data, participants="all", max_participants=None))
    keys = [key for key, _ in everybody.everybody()]
    held_out = frozenset(select_people(keys, everybody.persons, "test", data.max_participants, data.data_seed))
    sessions = held_out.intersection(everybody.ranked_keys())
    return Crowd(find_people(data, None, (), own_studies, sessions), tuple(orders))


def check_data(data: DataArguments) -> None:
    """Raise ``UserError`` for ``--participants``, since who is predicted are the held-out people."""
    if data.participants not in ("all", "test"):
        raise UserError(f"--participants {data.participants}: the held-out people are predicted; leave it away")


def _check_engine(methods: Sequence[str], engine: str) -> None:
    """Raise ``UserError`` for methods whose scores another engine than our own does not give."""
    if engine != "centaurlab" and (cannot := sorted({"lora", "recalibration"}.intersection(methods))):
        raise UserError(
            f"--engine {engine} scores no adapters and does not say NLLs at other temperatures, for {', '.join(cannot)}"
            "; leave it out, or name other --methods"
        )


def _check_there(models: Iterable[ModelArguments]) -> None:
    """Raise ``UserError`` for a model that is not to be had: the base is scored last, after hours of training."""
    from centaurlab.models.loading import load_config  # here: it imports torch, and --help answers without it

    for model in models:
        if not is_score_folder(Path(model.model_name_or_path)):
            load_config(model)


def find_contexts(
    asked: Asked[RealignmentArguments], crowd: Crowd
) -> tuple[dict[tuple[int, int], OthersContext], list[str]]:
    """The contexts of n people whose sessions fit the window before each held-out session; notes on the others."""
    # Here and not above: they import torch, and --help answers without it.
    from centaurlab.models.loading import load_config, load_tokenizer
    from centaurlab.models.shape import usable_window
    from centaurlab.prompts.others import BETWEEN

    model = asked.load.of(asked.own.model_name_or_path)
    tokenizer = load_tokenizer(model)
    window = usable_window(load_config(model), asked.scoring.max_length)

    def n_tokens(text: str) -> int:
        return len(tokenizer(text + BETWEEN)["input_ids"]) + 1  # cut at responses, a text has a few more

    wanted = {(n, order): crowd.first(n, order) for n, order in product(asked.own.sizes, asked.own.orders)}
    most = {order: max(asked.own.sizes) for order in asked.own.orders}
    texts: dict[tuple[int, int], dict[str, tuple[str, ...]]] = {key: {} for key in wanted}
    said: list[str] = []
    for study in crowd.people.studies():
        room = window - max(n_tokens(study.texts[key].text) for key in study.predicted)
        length: dict[SessionKey, int] = {}
        for (n, order), first in wanted.items():
            keys = first[study.name]
            length |= {key: n_tokens(study.texts[key].text) for key in keys if key not in length}
            if sum(length[key] + study.texts[key].text.count("<<") for key in keys) > room:
                most[order] = min(most[order], max((m for m in (0, *asked.own.sizes) if m < n), default=0))
                said.append(
                    f"context: {n} people of {study.name} (order {order}) and the person who is predicted do not fit a "
                    f"window of {window:,} tokens; there is no such point"
                )
            texts[n, order][study.name] = tuple(study.texts[key].text for key in keys)
    fitting = min(most.values())
    return {key: OthersContext(crowd.held_out, of) for key, of in texts.items() if key[0] <= fitting}, said


def _base_of(model: str) -> str | None:
    """The base model that the folder of a training names; None where there is none."""
    folder = Path(model)
    return base_model(folder) if folder.is_dir() and read_config(folder).get("model") else None


def _asked_assistant(asked: Asked[RealignmentArguments], learned: Sequence[Learned]) -> Iterator[Learned]:
    """The runs, those of weights of their own with how good an assistant they are."""
    # Here and not above: it imports torch, and --help answers without it.
    from centaurlab.scoring.assistant import assistant_quality, held_out_items

    items = held_out_items(asked.own.items) if asked.own.items else []
    template = Path(asked.own.model_name_or_path) / "chat_template.jinja"
    for one in learned:
        if items and one.model:
            quality = assistant_quality(asked.load.of(one.model), items, one.run.folder, template)
            yield replace(one, accuracy=quality.overall)
        else:
            yield one


Weights = Mapping[tuple[str, int, int], str]
"""Models with weights of their own, by method, number of people and order."""


def _acting(asked: Asked[RealignmentArguments], point: tuple[str, int, int]) -> Path:
    method, n, order = point
    return asked.folder / "simulated" / f"{method}-n{n}-order{order}"


def _acting_settings(asked: Asked[RealignmentArguments], folder: Path) -> SimulateArguments:
    own = asked.own
    return SimulateArguments(
        *(str(folder), own.simulate, asked.estimates.seed),
        yoked=own.yoked,
        environment=own.environment,
        max_new_tokens=own.max_new_tokens,
        max_length=asked.scoring.max_length,
        sessions_at_once=own.sessions_at_once,
    )


def act(
    asked: Asked[RealignmentArguments],
    weights: Weights,
    held_out: DataArguments,
    sessions: frozenset[SessionKey],
    tracking: TrackingArguments,
) -> list[str]:
    """Let every model answer held-out people's sessions anew; what is there already is not done again.

    Returns what is missing of whom, a sentence each.
    """
    # Here and not above: it imports torch, and --help answers without it.
    from centaurlab.simulation.run import simulate

    missing = []
    for point, model in weights.items():
        folder = _acting(asked, point)
        part = tracking.part(f"{folder.name} acts")
        try:
            simulate(asked.load.of(model), held_out, _acting_settings(asked, folder), part, sessions)
        except IncompleteError as error:
            missing.append(f"{folder}: {error}")
        gc.collect()
    return missing


def acted_table(
    asked: Asked[RealignmentArguments], weights: Weights, held_out: DataArguments, sessions: frozenset[SessionKey]
) -> pd.DataFrame | None:
    """How far each model's own answers are from people's, by study and axis; None where none has answered any."""
    tables = []
    for point in weights:
        folder = _acting(asked, point)
        if not any(of["sessions"] for of in read_json(folder / "run.json")["studies"].values()):
            continue
        own = FidelityArguments(held_out.data, [str(folder)], str(folder), study_module=held_out.study_module)
        table = find_fidelity(own, asked.estimates, held_out, sessions).tables["fidelity.csv"].drop(columns="system")
        named = pd.DataFrame([point] * len(table), columns=["method", "n", "order"], index=table.index)
        tables.append(pd.concat([named, table], axis=1))
    return pd.concat(tables, ignore_index=True) if tables else None


COMMAND = job(ANALYSIS, plan)
