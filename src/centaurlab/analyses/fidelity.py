"""Simulated sessions beside people's: how far apart they are, against two halves of the people; what effects are lost.

Whoever simulated, here or elsewhere, sessions are read as people's are. Where every simulated participant is a person's
name with ``#r`` and a number, it is compared with that person's session, which was asked the same questions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.behaviour import Behaviour, Cells, behaviours
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, read_table
from centaurlab.catalog.studies.find import load_studies
from centaurlab.data.options import shared_labels
from centaurlab.data.source import DataArguments, open_source
from centaurlab.display.figures.style import GREY, SERIES, model_label, new_figure, short, styled
from centaurlab.display.section import Section
from centaurlab.display.tables import table_of
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.fidelity import (
    Sessions,
    effect_fidelity,
    fidelity,
    holm,
    individual_distance,
    sd_ratio,
    total_variation,
)

DESCRIPTION = """How far is simulated behaviour from people's, and which effects are reproduced, attenuated or lost?

examples:
  centaurlab fidelity --people starter --simulated runs/sim-base runs/sim-post --output_dir runs/fidelity
  centaurlab fidelity --people my_people.jsonl --simulated somebody_elses.jsonl --output_dir runs/fidelity-theirs

People and simulated sessions are files, folders or data sets, or folders of 'centaurlab simulate'. Every distance
stands beside its floor, what two halves of the people are apart. Output: fidelity.csv, effects_behaviour.csv, figures,
run.json.
"""
_REPLICATE = re.compile(r"(.*)#r(\d+)", re.DOTALL)
_ALPHA = 0.05
_FEATURES = 20


@dataclass
class FidelityArguments:
    """Whose behaviour is held against whose."""

    people: str = field(metadata={"help": "sessions of people: what --data takes elsewhere"})
    simulated: list[str] = field(metadata={"help": "folders of 'centaurlab simulate', or sessions that others made"})
    output_dir: str = field(metadata={"help": "folder for the tables, figures and run.json"})
    permutations: int = field(default=999, metadata={"help": "how often people and model are exchanged for a p value"})
    study_module: str | None = field(
        default=None, metadata={"help": "a Python file of your own with STUDIES (it is run)"}
    )

    def __post_init__(self) -> None:
        if self.permutations < 19:
            raise UserError(f"--permutations is {self.permutations}; with fewer than 19 no p value is below .05")
        names = [model_label(name) for name in self.simulated]
        if len(set(names)) < len(names):
            raise UserError("two of --simulated have the same last name; name folders that differ there")
        if not 1 <= len(names) <= len(SERIES):
            raise UserError(f"--simulated takes 1 to {len(SERIES)} folders or files, not {len(names)}")


def find_fidelity(asked: FidelityArguments, estimates: EstimateArguments) -> Finding:
    """Distances, effects and verdicts of every system and study."""
    own_studies = load_studies(Path(asked.study_module)) if asked.study_module else None
    people = list(open_source(DataArguments(asked.people)))
    labels = shared_labels(people, own_studies)
    of_people = behaviours(people, labels, own_studies)
    distances: list[dict[str, Any]] = []
    effects: list[dict[str, Any]] = []
    for name in asked.simulated:
        path = Path(name) / "simulated.jsonl.gz"
        of_model = behaviours(open_source(DataArguments(str(path) if path.exists() else name)), labels, own_studies)
        if unknown := sorted(of_model.keys() - of_people.keys()):
            raise UserError(
                f"{name} simulates {', '.join(unknown)}, of which {asked.people} has no people; leave it out"
            )
        for study, sessions in sorted(of_model.items()):
            system = {"system": model_label(name), "study": study}
            found = _compare_study(of_people[study], sessions, asked.permutations, estimates)
            distances += [system | row for row in found[0]]
            effects += [system | row for row in found[1]]
    tables = {
        "fidelity.csv": pd.DataFrame(distances),
        "effects_behaviour.csv": pd.DataFrame(effects, columns=[*("system", "study"), *_EFFECT_COLUMNS]),
    }
    verdict = _verdict(tables["fidelity.csv"], tables["effects_behaviour.csv"])
    shown = [_shown_distances(tables["fidelity.csv"]), _shown_effects(tables["effects_behaviour.csv"]), verdict]
    return Finding(tables, {"verdict": verdict}, {"fidelity": fidelity_figure(tables["fidelity.csv"])}, shown=shown)


def _compare_study(
    people: Sequence[Behaviour], model: Sequence[Behaviour], permutations: int, estimates: EstimateArguments
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    groups, is_paired = _matched(people, model)
    everybody = [people_of for people_of, _ in groups] if is_paired else list(people)
    simulated = [replicates for _, replicates in groups] if is_paired else [[session] for session in model]
    about = {"people": len(everybody), "sessions": len(model), "paired": is_paired}
    rows: list[dict[str, Any]] = []
    features = _feature_names(everybody)
    features_of = [[_features(session, features) for session in replicates] for replicates in simulated]
    behaviour = Sessions(
        np.array([_features(session, features) for session in everybody]).reshape(len(everybody), -1),
        np.array(features_of).reshape(len(simulated), -1, len(features)),
        is_paired,
    )
    scale_F = np.nan_to_num(np.nanstd(behaviour.people_NK, 0)) if len(features) else np.zeros(0)
    for axis in ("marginal", "dynamics"):
        cells = sorted({cell for s in (*everybody, *model) for cell in getattr(s, axis)})
        items = {item: number for number, item in enumerate(dict.fromkeys(item for item, _ in cells))}
        item_C = np.array([items[item] for item, _ in cells], np.int64)
        counts = Sessions(
            np.array([_counts(getattr(s, axis), cells) for s in everybody]).reshape(len(everybody), -1),
            np.array([[_counts(getattr(s, axis), cells) for s in of] for of in simulated]).reshape(
                len(simulated), -1, len(cells)
            ),
            is_paired,
        )
        found = fidelity(counts, total_variation(item_C), permutations, estimates.resamples, estimates.seed)
        rows.append({"axis": axis} | _distance_row(found) | about)
    found = fidelity(behaviour, individual_distance(scale_F), permutations, estimates.resamples, estimates.seed)
    ratio = sd_ratio(behaviour, estimates.resamples, estimates.seed)
    spread = {"sd_ratio": ratio.value, "sd_ratio_low": ratio.low, "sd_ratio_high": ratio.high}
    rows.append({"axis": "individuals"} | _distance_row(found) | spread | about)
    compared = {
        name: effect_fidelity(
            np.array([session.effects[name] for session in everybody]),
            np.array([[session.effects.get(name, np.nan) for session in of] for of in simulated]),
            is_paired,
        )
        for name in (everybody[0].effects if everybody else ())
        if all(name in session.effects for session in everybody)
    }
    adjusted = holm([*(row["p"] for row in rows), *(one.difference.p for one in compared.values())])
    for row, p in zip(rows, adjusted, strict=False):
        row["p_holm"] = p
        row["verdict"] = "differs" if p < _ALPHA else "cannot be told" if np.isnan(p) else "no more than people"
    effects = [
        {"effect": name, "ratio": one.ratio, "margin": one.margin, "p": one.difference.p, "p_holm": p}
        | {
            f"{side}{end}": value
            for side, estimate in (("people", one.people), ("model", one.model), ("difference", one.difference))
            for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
        }
        | {"verdict": one.verdict(p < _ALPHA)}
        for (name, one), p in zip(compared.items(), adjusted[len(rows) :], strict=True)
    ]
    return rows, effects


_EFFECT_COLUMNS = (
    "effect",
    *(f"{side}{end}" for side in ("people", "model", "difference") for end in ("", "_low", "_high")),
    *("ratio", "margin", "p", "p_holm", "verdict"),
)


def _matched(
    people: Sequence[Behaviour], model: Sequence[Behaviour]
) -> tuple[list[tuple[Behaviour, list[Behaviour]]], bool]:
    """Each person with the sessions that stand in for it, and whether all simulated ones do, equally often."""
    known = {(session.key.experiment, session.key.participant): session for session in people}
    groups: dict[tuple[str, str], list[Behaviour]] = {}
    for session in model:
        name = _REPLICATE.fullmatch(session.key.participant)
        person = (session.key.experiment, name[1]) if name else None
        if person not in known:
            return [], False
        groups.setdefault(person, []).append(session)
    found = [(known[person], replicates) for person, replicates in groups.items()]
    return found, len({len(replicates) for _, replicates in found}) == 1


def _counts(counted: Cells, cells: Sequence[tuple[str, str]]) -> list[float]:
    return [float(counted[cell]) for cell in cells]


def _feature_names(people: Sequence[Behaviour]) -> list[str]:
    """What people may differ in: of many, the commonest."""
    sums: dict[str, float] = {}
    for session in people:
        for name, value in session.features.items():
            sums[name] = sums.get(name, 0) + value
    return sorted(sorted(sums), key=lambda name: -sums[name])[:_FEATURES]


def _features(session: Behaviour, names: Sequence[str]) -> list[float]:
    missing = 0.0 if session.features else float("nan")
    return [session.features.get(name, missing) for name in names]


def _distance_row(found: Any) -> dict[str, float]:
    value = found.distance.value
    bounds = {"distance": value, "distance_low": found.distance.low, "distance_high": found.distance.high}
    return bounds | {"floor": found.floor, "ratio": value / found.floor if found.floor else float("nan"), "p": found.p}


def _verdict(distances: pd.DataFrame, effects: pd.DataFrame) -> str:
    said = []
    for system, rows in distances.groupby("system", sort=False):
        known = rows[rows["verdict"] != "cannot be told"]
        differs = known[known["verdict"] == "differs"]
        words = f"{system} is farther from people than people from one another on {len(differs)} of {len(known)} axes"
        counts = effects[effects["system"] == system]["verdict"].value_counts()
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        said.append(words + (f"; effects: {told}" if told else ""))
    return "; ".join(said)


def _shown_distances(table: pd.DataFrame) -> Any:
    columns = {"system": "system", "study": "study", "axis": "axis", "distance": "distance", "floor": "floor"}
    columns |= {"sd_ratio": "SD ratio", "p_holm": "p (Holm)", "verdict": "verdict"}
    note = (
        "marginal, dynamics: total variation; individuals: Wasserstein-1 in SDs of the people; floor: what two halves "
        "of the people are apart; SD ratio below 1: simulated people are too alike"
    )
    return table_of("Distances", table, columns, note)


def _shown_effects(table: pd.DataFrame) -> Any:
    columns = {name: name.replace("_", " ") for name in ("system", "study", "effect", "people", "model", "difference")}
    return table_of(
        "Effects", table, columns | {"ratio": "model / people", "verdict": "verdict"}, signed=["difference"]
    )


@styled
def fidelity_figure(table: pd.DataFrame) -> Figure:
    """Distance over floor of each study and axis; filled where it is more than people are from one another."""
    places = {pair: n for n, pair in enumerate(dict.fromkeys(zip(table["study"], table["axis"], strict=True)))}
    labels = [f"{short(study, 22)}, {axis}" for study, axis in places]
    figure = new_figure(22 + 4.2 * len(labels))
    axes = figure.subplots()
    for (system, rows), (colour, marker) in zip(table.groupby("system", sort=False), SERIES, strict=False):
        for is_more in (True, False):
            part = rows[(rows["verdict"] == "differs") == is_more]
            where = [places[pair] for pair in zip(part["study"], part["axis"], strict=True)]
            face = colour if is_more else "white"
            label = model_label(str(system)) if is_more else None
            axes.plot(part["ratio"], where, marker, color=colour, markerfacecolor=face, markersize=4, label=label)
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("distance from people / distance of two halves of the people\n(filled: more than by chance)")
    axes.set_title("Simulated against human behaviour")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def section(run: Run) -> Section:
    """What is said of simulated behaviour."""
    distances, effects = read_table(run, "fidelity"), read_table(run, "effects_behaviour")
    return Section(
        title="Simulated behaviour",
        question="Does the model behave as people do when it acts?",
        answers=(f"{run.about['verdict']}.",),
        explanation=(
            "The model answered in people's place, its own answers in the history. Distances of few people are above "
            "zero by chance: the floor is what two random halves of the people are apart. p values come from "
            "exchanging people and model, and are adjusted for all that was asked of a study (Holm).",
        ),
        figures=folder_pictures([run]),
        tables=(_shown_distances(distances), _shown_effects(effects)),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("fidelity", DESCRIPTION, FidelityArguments, section)
