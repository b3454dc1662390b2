"""Simulated sessions beside people's: how far apart they are, against two halves of the people; what effects are lost.

Whoever simulated, here or elsewhere, sessions are read as people's are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.behaviour import behaviours, readable
from centaurlab.analyses.fidelity_study import ALPHA, CELL_COLUMNS, EFFECT_COLUMNS, compare_study
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, read_table
from centaurlab.analyses.parameters import parameters
from centaurlab.catalog.studies.find import load_studies
from centaurlab.data.files import SIMULATED
from centaurlab.data.options import shared_labels
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey
from centaurlab.display.figures.behaviour import (
    curves_figure,
    distance_figure,
    effects_figure,
    gap_figure,
    marginals_figure,
    spread_figure,
    stay_figure,
)
from centaurlab.display.figures.style import SERIES, model_label
from centaurlab.display.section import Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun, check_same, read_run
from centaurlab.results.table import NLL, STUDY
from centaurlab.runs.integrity import RECORD, read_sound_json
from centaurlab.runtime.errors import UserError
from centaurlab.stats.agreement import concordance, rank_agreement
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.standing import joined
from centaurlab.stats.words import number, p_value

DESCRIPTION = """How far is simulated behaviour from people's, and which effects are reproduced, attenuated or lost?

examples:
  centaurlab fidelity --people starter --simulated runs/sim-base runs/sim-post --output_dir runs/fidelity
  centaurlab fidelity --people starter --simulated runs/sim-base runs/sim-post runs/sim-centaur \\
      --scores runs/base runs/post runs/centaur --output_dir runs/fidelity
  centaurlab fidelity --people my_people.jsonl --simulated somebody_elses.jsonl --output_dir runs/fidelity-theirs

People and simulated sessions are files, folders or data sets, or folders of 'centaurlab simulate'. Every distance
stands beside its floor, what two halves of the people are apart. With --scores, is the model that predicts people
better also the one that behaves more like them? Output: fidelity.csv, effects_behaviour.csv, behaviour.csv (shares of
answers), agreement.csv (what other work sums up by), gap.csv, figures, run.json.
"""


@dataclass
class FidelityArguments:
    """Whose behaviour is held against whose."""

    people: str = field(metadata={"help": "sessions of people: what --data takes elsewhere"})
    simulated: list[str] = field(metadata={"help": "folders of 'centaurlab simulate', or sessions that others made"})
    output_dir: str = field(metadata={"help": "folder for the tables, figures and run.json"})
    scores: list[str] | None = field(
        default=None, metadata={"help": "folders of scores of the same models on people's sessions, in the same order"}
    )
    permutations: int = field(default=999, metadata={"help": "how often people and model are exchanged for a p value"})
    study_module: str | None = field(
        default=None, metadata={"help": "a Python file of your own with STUDIES (it is run)"}
    )
    markers: str = field(
        default="angles", metadata={"help": "of people's responses: angles, or human_response, as for --data elsewhere"}
    )

    on_malformed: str = field(
        default="error", metadata={"help": "of people's sessions: error, or skip, as for --data elsewhere"}
    )

    def __post_init__(self) -> None:
        if self.permutations < 19:
            raise UserError(f"--permutations is {self.permutations}; with fewer than 19 no p value is below .05")
        names = [model_label(name) for name in self.simulated]
        if len(set(names)) < len(names):
            raise UserError("two of --simulated have the same last name; name folders that differ there")
        if not 1 <= len(names) <= len(SERIES):
            raise UserError(f"--simulated takes 1 to {len(SERIES)} folders or files, not {len(names)}")
        if self.scores is not None and len(self.scores) != len(names):
            raise UserError(
                f"--scores names {len(self.scores)} folders for {len(names)} of --simulated; name one for each"
            )


def find_fidelity(
    asked: FidelityArguments,
    estimates: EstimateArguments,
    people_data: DataArguments | None = None,
    sessions: frozenset[SessionKey] | None = None,
) -> Finding:
    """Distances, effects and verdicts of every system and study.

    ``people_data`` and ``sessions``: which of the people, if not all.
    """
    scored = [read_run(Path(folder)) for folder in asked.scores or ()]
    if scored:
        check_same(scored)
        _check_models(asked.simulated, scored)
    own_studies = load_studies(Path(asked.study_module)) if asked.study_module else None
    data = people_data or DataArguments(asked.people, markers=asked.markers, on_malformed=asked.on_malformed)
    source = open_source(data, sessions)
    people = list(source)
    labels = shared_labels(people, own_studies)
    of_people, notes = readable(behaviours(people, labels, own_studies, source.persons), asked.people)
    fit = partial(parameters, labels=labels, own_studies=own_studies)
    rows: dict[str, list[dict[str, Any]]] = {"distances": [], "effects": [], "cells": []}
    systems = []
    for name in asked.simulated:  # all of them are read before minutes of permutations
        path = Path(name) / SIMULATED
        acted = open_source(DataArguments(str(path) if path.exists() else name))
        of_model, unread = readable(behaviours(acted, labels, own_studies, acted.persons), model_label(name))
        notes += unread
        if unknown := sorted(of_model.keys() - of_people.keys()):
            raise UserError(
                f"{name} simulates {', '.join(unknown)}, of which {asked.people} has no people; leave it out"
            )
        systems.append((name, of_model))
    for name, of_model in systems:
        for study, of_study in sorted(of_model.items()):
            found = compare_study(of_people[study], of_study, asked.permutations, estimates, fit)
            for table, of_table in rows.items():
                of_table += [{"system": model_label(name), "study": study} | row for row in getattr(found, table)]
    distances = pd.DataFrame(rows["distances"])
    cells = pd.DataFrame(rows["cells"], columns=["system", "study", *CELL_COLUMNS])
    effects = pd.DataFrame(rows["effects"], columns=["system", "study", *EFFECT_COLUMNS])
    sums = _agreement(distances, effects)
    tables = {
        "fidelity.csv": distances,
        "effects_behaviour.csv": effects,
        "agreement.csv": sums,
        "behaviour.csv": cells,
    }
    figures = {
        "fidelity": distance_figure(distances),
        "curves": curves_figure(cells),
        "stay": stay_figure(cells),
        "marginals": marginals_figure(cells),
        "spread": spread_figure(distances),
        "effects": effects_figure(effects),
    }
    record: dict[str, Any] = {"verdict": _verdict(distances, effects)}
    shown: list[Table | str] = [*_shown(distances, effects, sums)]
    if asked.scores:
        gap, agreement = _gap(asked.simulated, scored, distances, estimates)
        tables["gap.csv"], figures["gap"] = gap, gap_figure(gap, agreement)
        record["nll_and_distance"] = vars(agreement)
        record["verdict"] += f"; {_said_of_gap(agreement)}"
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    notes += _left_out(distances)
    record["notes"] = notes
    return Finding(tables, record, drawn, shown=[*shown, *(f"note: {note}" for note in notes), record["verdict"]])


def _left_out(distances: pd.DataFrame) -> Iterator[str]:
    """Which sessions are in no comparison."""
    reasons = {
        "left_out": "simulated sessions are left out: they stand in for nobody in --people, or not all have as many",
        "people_left_out": "sessions of people are left out: they are of experiments that were not simulated",
    }
    once = distances.drop_duplicates(["system", "study"])
    for column, reason in reasons.items():
        some = once[once[column] > 0]
        for system, study, n in zip(some["system"], some["study"], some[column], strict=True):
            yield f"{system}, {study}: {n} {reason}"


def _check_models(simulated: Sequence[str], scored: Sequence[ScoreRun]) -> None:
    """Raise ``UserError`` where a folder of ``centaurlab simulate`` is of another model than its scores."""
    for name, run in zip(simulated, scored, strict=True):
        model = read_sound_json(Path(name) / RECORD).get("model") or {}
        acted = model.get("fingerprint") if isinstance(model, dict) else None
        if acted and run.fingerprint and acted != run.fingerprint:
            as_loaded = f"{model.get('name')} ({model.get('dtype')}, quantization {model.get('quantization')})"
            raise UserError(
                f"{name} was simulated by {as_loaded}, and {run.folder} are scores of {run.model} "
                f"({run.record.model.dtype}, quantization {run.record.model.quantization}); give --scores of the same "
                "models, loaded alike, in the order of --simulated"
            )


def _agreement(distances: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """What other work sums a system up by: SimBench's score, PAS, CCC, and effects that are significant in both."""
    found = []
    for system, rows in distances.groupby("system", sort=False):
        of_system = effects[effects["system"] == system]
        there = of_system[(of_system["people_low"] > 0) | (of_system["people_high"] < 0)]
        alike = (there["model_p"] < ALPHA) & (np.sign(there["model"]) == np.sign(there["people"]))
        g = (of_system[side].to_numpy(float) for side in ("people_g", "model_g"))
        found.append(
            {"system": system, "simbench": rows["simbench"].mean(), "pas": of_system["pas"].mean()}
            | {"ccc": concordance(*g), "effects": len(there), "significant_in_both": int(alike.sum())}
        )
    return pd.DataFrame(found)


def _gap(
    simulated: Sequence[str], scored: Sequence[ScoreRun], distances: pd.DataFrame, estimates: EstimateArguments
) -> tuple[pd.DataFrame, Estimate]:
    """NLL of people's answers beside the distance of simulated ones over its floor, by system and study.

    NLLs are over the responses that every model scored.
    """
    of_answers = distances[distances["axis"].isin(("marginal", "dynamics"))]
    ratio = of_answers.groupby(["system", "study"], sort=False)["ratio"].mean()
    systems = list(map(model_label, simulated))
    tables = {str(i): [run.table([NLL])] for i, run in enumerate(scored)}
    by_study = list(joined(tables).groupby(STUDY))
    rows = [
        {"system": system, "study": study, "nll": of[str(i)].mean(), "responses": len(of)}
        for i, system in enumerate(systems)
        for study, of in by_study
        if (system, study) in ratio.index
    ]
    if not rows:
        raise UserError("--scores and --simulated have no response in common; score the sessions that were simulated")
    gap = pd.DataFrame(rows)
    gap["ratio"] = [ratio[key] for key in zip(gap["system"], gap["study"], strict=True)]
    nll, distance = (gap.pivot(index="study", columns="system", values=of).to_numpy(float) for of in ("nll", "ratio"))
    return gap, rank_agreement(nll, distance, estimates.resamples, estimates.seed)


def _said_of_gap(agreement: Estimate) -> str:
    if not agreement.has_interval:
        return "NLL and distance cannot be compared over so few models and studies"
    value, low, high = (number(one, decimals=2) for one in (agreement.value, agreement.low, agreement.high))
    bounds = f"rank correlation {value} [{low}, {high}] within studies"
    bounds += f", p = {p_value(agreement.p)} of models exchanged in each"
    if agreement.excludes_zero and agreement.p < ALPHA:
        more = "more" if agreement.value > 0 else "less"
        return f"those of these models that predict people better behave {more} like them ({bounds})"
    return f"whether models that predict people better behave more like them cannot be told ({bounds})"


def _verdict(distances: pd.DataFrame, effects: pd.DataFrame) -> str:
    said = []
    for system, rows in distances.groupby("system", sort=False):
        known = rows[rows["floor"].notna()]
        differs = known[known["verdict"] == "differs"]
        words = f"{system} differs from people on {len(differs)} of {len(known)} axes"
        if len(differs):
            words += f", on {int((differs['ratio'] > 1).sum())} of these by more than two halves of the people do"
        counts = effects[effects["system"] == system]["verdict"].value_counts()
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        said.append(words + (f"; effects: {told}" if told else ""))
    return "; ".join(said)


def _shown(distances: pd.DataFrame, effects: pd.DataFrame, sums: pd.DataFrame) -> tuple[Table, ...]:
    tables = [_shown_distances(distances), *([] if effects.empty else [_shown_effects(effects)])]
    return (*tables, _shown_agreement(sums))


def _shown_distances(table: pd.DataFrame) -> Table:
    columns = {"system": "system", "study": "study", "axis": "axis", "distance": "distance", "floor": "floor"}
    columns |= {"sd_ratio": "SD ratio", "p_holm": "p (Holm)", "verdict": "verdict"}
    note = (
        "marginal, dynamics: total variation; individuals, parameters (of a cognitive model of the study): "
        "Wasserstein-1 in SDs of the people; floor: what two halves "
        "of the people are apart; SD ratio below 1: simulated people are too alike"
    )
    return table_of("Distances", table, columns, note)


def _shown_effects(table: pd.DataFrame) -> Table:
    columns = {name: name.replace("_", " ") for name in ("system", "study", "effect", "people", "model", "difference")}
    return table_of(
        "Effects", table, columns | {"ratio": "model / people", "verdict": "verdict"}, signed=["difference"]
    )


def _shown_agreement(table: pd.DataFrame) -> Table:
    columns = {
        "system": "system",
        "simbench": "SimBench score",
        "pas": "PAS",
        "ccc": "CCC",
        "effects": "effects in people",
    }
    note = (
        "as other work sums up, for comparison; none has a floor: two halves of the people do not reach 100 or 1 either"
    )
    return table_of("In others' terms", table, columns | {"significant_in_both": "same sign, p < .05"}, note)


def section(run: Run) -> Section:
    """What is said of simulated behaviour."""
    distances, effects = read_table(run, "fidelity"), read_table(run, "effects_behaviour")
    sums = read_table(run, "agreement")
    return Section(
        title="Simulated behaviour",
        question="Does the model behave as people do when it acts?",
        answers=(f"{run.about['verdict']}.", *(f"{note}." for note in run.about.get("notes", ()))),
        explanation=(
            "The model answered in people's place, its own answers in the history. Distances of few people are above "
            "zero by chance: the floor is what two random halves of the people are apart. p values come from "
            "exchanging people and model, and are adjusted for all that was asked of a study (Holm).",
        ),
        figures=folder_pictures([run]),
        tables=_shown(distances, effects, sums),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("fidelity", DESCRIPTION, FidelityArguments, section)
