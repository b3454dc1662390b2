"""Effects that a study published, as programs: what becomes of them where models took part.

The form is that of the collection Psych-301: an ``analysis.py`` with a list ``EFFECTS`` of functions of tables of
trials, ``{"exp0": table}``, each of which says how large an effect is and whether it was reproduced. The tables are
those that simulators returned (``centaurlab simulate --simulators``) and those of people.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.effect_lists import LIST, EffectList, Key, Tables, load_lists
from centaurlab.analyses.fidelity_study import ALPHA
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, read_table
from centaurlab.display.figures.behaviour import effects_figure
from centaurlab.display.figures.style import SERIES, model_label
from centaurlab.display.section import Section
from centaurlab.display.tables import Table, table_of
from centaurlab.runs.integrity import check_file, file_digest
from centaurlab.runtime.errors import UserError, one_line
from centaurlab.runtime.limits import OutOfTimeError, time_limit
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import CONFIDENCE, NAN
from centaurlab.stats.fidelity import EffectFidelity, Mean, effect_of_groups, holm

DESCRIPTION = """What becomes of a study's published effects where models took part in it?

examples:
  centaurlab effects --effects kool_2016_when/analysis.py --simulated runs/sim-base runs/sim-post --allow_simulators \\
      --output_dir runs/effects
  centaurlab effects --effects studies/ --simulated runs/sim-base --people studies/ --resamples 200 \\
      --allow_simulators --output_dir runs/effects

--effects are lists of the form of Psych-301 (an analysis.py with EFFECTS), which are run on the tables of 'centaurlab
simulate --simulators' and on those of people (exp0.csv and so on), by default beside the list. Intervals are over
participants, who are drawn anew --resamples times. Output: effects.csv, a figure, run.json.
"""
PERSON = "participant_id"
SECONDS = 120.0
_ROUNDING = 1e-9
COLUMNS = (
    *("system", "study", "experiment", "effect", "original"),
    *(f"{side}{end}" for side in ("people", "model", "difference") for end in ("", "_low", "_high")),
    *("margin", "p", "p_holm", "verdict", "reproduced", "replicates", "own_p", "reproduced_in_people", "note"),
)


@dataclass
class EffectsArguments:
    """Which lists of effects, and on whose trials."""

    effects: list[str] = field(metadata={"help": f"files {LIST} of studies, or folders with such (they are run)"})
    simulated: list[str] = field(metadata={"help": "folders of 'centaurlab simulate --simulators'"})
    output_dir: str = field(metadata={"help": "folder for effects.csv, the figure and run.json"})
    people: str | None = field(
        default=None, metadata={"help": "folder with exp0.csv, or one such folder per study (default: beside the list)"}
    )
    allow_simulators: bool = field(default=False, metadata={"help": "run --effects, which are programs of others"})

    def __post_init__(self) -> None:
        if not self.allow_simulators:
            raise UserError(
                "--effects are programs of others, which would be run; read them, and give --allow_simulators"
            )
        names = [model_label(name) for name in self.simulated]
        if len(set(names)) < len(names):
            raise UserError("two of --simulated have the same last name; name folders that differ there")
        if not 1 <= len(names) <= len(SERIES):
            raise UserError(f"--simulated takes 1 to {len(SERIES)} folders, not {len(names)}")


def find_effects(asked: EffectsArguments, estimates: EstimateArguments) -> Finding:
    """Every effect in people and in each system."""
    lists = load_lists(asked.effects)
    sources = {name: _of_run(Path(name), lists) for name in asked.simulated}
    people = {one.study: _of_people(one, asked.people, len(lists) == 1) for one in lists}
    total = sum(len(one.module.EFFECTS) * len(replicates) for of in sources.values() for one, replicates in of)
    named = {one.study: _experiments(one, sources.values(), people[one.study]) for one in lists}
    rows = []
    of_people: dict[tuple[Any, ...], _InPeople] = {}
    with tqdm(desc="effects", total=total * (estimates.resamples + 1), unit="effect") as bar:
        for name, of_run in sources.items():
            for one, replicates in of_run:
                there = named[one.study], replicates, people[one.study]
                for row in _of_list(one, *there, of_people, estimates, bar.update):
                    rows.append({"system": model_label(name), "study": one.study} | row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = pd.concat([_judged(of) for _, of in table.groupby("system", sort=False)], ignore_index=True)
    figure = effects_figure(table.assign(effect=table["effect"] + " " + table["experiment"]), has_zero=False)
    verdict = _verdict(table)
    drawn = {"effects": figure} if figure else {}
    record = {"verdict": verdict, "data": asked.people or "beside the lists of effects"}
    read = {str(path): file_digest(path) for one in lists for path in (one.path, *people[one.study].values())}
    return Finding({"effects.csv": table}, record | {"read": read}, drawn, shown=[_shown(table), verdict])


def _of_run(folder: Path, lists: Sequence[EffectList]) -> list[tuple[EffectList, list[dict[str, Path]]]]:
    """The tables of each replicate of the experiments that a run simulated, and the list of their effects."""
    found = []
    for one in lists:
        folders = sorted((folder / "experiments" / one.study).glob("r*"), key=lambda path: (len(path.name), path.name))
        replicates = [{path.stem: path for path in sorted(of.glob("*.csv"))} for of in folders]
        for path in (path for of in replicates for path in of.values()):
            check_file(path)
        if replicates:
            found.append((one, replicates))
    if not found:
        there = sorted(path.name for path in (folder / "experiments").glob("*"))
        said = f"it has those of {', '.join(there)}" if there else "'centaurlab simulate --simulators' makes such"
        raise UserError(f"{folder} has no experiments of {', '.join(one.study for one in lists)}; {said}")
    return found


def _of_people(one: EffectList, folder: str | None, is_only: bool) -> dict[str, Path]:
    """People's tables of a study; those in ``folder`` itself are of the study where it ``is_only``."""
    places = [Path(folder) / one.study, *([Path(folder)] if is_only else [])] if folder else [one.path.parent]
    files = next((found for place in places if (found := sorted(place.glob("exp*.csv")))), [])
    if folder and not files:
        raise UserError(f"{folder} has no exp0.csv of {one.study}; put people's tables into {folder}/{one.study}")
    return {path.stem: path for path in files}


def _experiments(
    one: EffectList,
    sources: Iterable[Sequence[tuple[EffectList, Sequence[Mapping[str, Path]]]]],
    people: Mapping[str, Path],
) -> list[str]:
    """Those that a list speaks of; of one that does not say, all of which there are tables."""
    replicates = [of for source in sources for other, found in source if other is one for of in found]
    return one.experiments() or sorted({name for of in (*replicates, people) for name in of})


@dataclass(frozen=True)
class _Group:
    """The tables of some participants, one or several replicates of the same; ``note``: why there are none."""

    replicates: Sequence[Tables]
    note: str = ""

    @classmethod
    def read(cls, one: EffectList, files: Sequence[Mapping[str, Path]]) -> "_Group":
        try:
            replicates = [one.load(of) for of in files]
            lacks = any(PERSON not in table for of in replicates for table in of.values())
        except Exception as error:  # noqa: BLE001, a program of others
            return cls((), f"{one.path.name} cannot load them: {_said(error)}")
        return cls((), f"a table has no {PERSON}") if lacks else cls(replicates)

    def n(self, experiment: str) -> int:
        """How many participants an effect of the experiment is over, at least."""
        tables = self.replicates[0]
        of = [tables[experiment]] if experiment in tables else tables.values()
        return min(table[PERSON].nunique() for table in of)

    @cached_property
    def _rows(self) -> list[dict[str, list[np.ndarray[Any, Any]]]]:
        """The rows of each participant, in the order of their names, by replicate and experiment."""
        found = []
        for of in self.replicates:
            indices = {name: table.groupby(PERSON).indices for name, table in of.items()}
            found.append({name: [np.asarray(at[who]) for who in sorted(at, key=str)] for name, at in indices.items()})
        return found

    def redrawn(self, rng: np.random.Generator) -> list[Tables]:
        """Participants drawn with replacement, the same of all replicates, each a participant of its own."""
        drawn: dict[tuple[str, int], np.ndarray[Any, Any]] = {}
        found: list[Tables] = []
        for tables, of_tables in zip(self.replicates, self._rows, strict=True):
            of_replicate = {}
            for name, rows in of_tables.items():
                if (name, len(rows)) not in drawn:
                    drawn[name, len(rows)] = rng.integers(len(rows), size=len(rows))
                chosen = [rows[i] for i in drawn[name, len(rows)]]
                again = tables[name].iloc[np.concatenate(chosen)].reset_index(drop=True)
                own = np.repeat(np.arange(len(rows)), list(map(len, chosen)))
                again[PERSON] = own if pd.api.types.is_numeric_dtype(again[PERSON]) else own.astype(str)
                of_replicate[name] = again
            found.append(of_replicate)
        return found


@dataclass(frozen=True)
class _Measured:
    """An effect in a group: its mean over replicates, in how many it was reproduced, and what the list says else.

    ``reproduced``: NaN of a list without a rule. ``p``: the list's own, the median over replicates.
    """

    mean: Mean
    reproduced: float
    replicates: int
    original: float
    p: float


def _of_list(
    one: EffectList,
    named: Sequence[str],
    files: Sequence[Mapping[str, Path]],
    people_files: Mapping[str, Path],
    known: dict[tuple[Any, ...], "_InPeople"],
    estimates: EstimateArguments,
    tick: Callable[[int], object],
) -> list[dict[str, Any]]:
    """A row for each effect of a list: over the experiments that both have, and in those of the model alone."""
    simulated = [name for name in named if all(name in of for of in files)]
    shared = [name for name in simulated if name in people_files] or simulated
    model, people = (_Group.read(one, _only(shared, of)) for of in (files, [people_files]))
    alone = sorted(set(simulated) - set(shared))
    whole = _Group.read(one, _only(simulated, files)) if alone else None
    said = {"was not simulated": sorted(set(named) - set(simulated)), "has no people": alone}
    without = [f"without {', '.join(names)}, which {why}" for why, names in said.items() if names]
    rows = []
    for n, effect in enumerate(one.module.EFFECTS):
        in_model, why = _measured(one, effect, model, estimates, tick)
        which = (one.path, n, *shared)  # the same beside every system that is compared over the same experiments
        if which not in known:
            known[which] = _measured(one, effect, people, estimates, lambda _: None)
        in_people, of_people = known[which]
        failed = {"model": why, "people": of_people if people_files else ""}
        note = "; ".join([*without, *(f"{whose}: {words}" for whose, words in failed.items() if words)])
        for key in dict.fromkeys([*in_model, *in_people]) or [(effect.__name__, "")]:
            rows.append(_row(key, in_model.get(key), in_people.get(key)) | {"note": note})
        if whole:
            measured, _ = _measured(one, effect, whole, estimates, lambda _: None)
            rows += [_row(key, of, None) | {"note": "no people"} for key, of in measured.items() if key[1] in alone]
    return rows


def _only(names: Sequence[str], files: Sequence[Mapping[str, Path]]) -> list[dict[str, Path]]:
    return [{name: of[name] for name in names if name in of} for of in files]


_InPeople: TypeAlias = tuple[dict[Key, _Measured], str]


def _measured(
    one: EffectList,
    effect: Callable[[Tables], Any],
    group: _Group,
    estimates: EstimateArguments,
    tick: Callable[[int], object],
) -> tuple[dict[Key, _Measured], str]:
    """An effect in a group, by experiment; and why there is none."""
    if not group.replicates or not group.replicates[0]:
        return {}, group.note or "no tables"
    try:
        with time_limit(SECONDS):
            found = [one.found(effect, tables) for tables in group.replicates]
    except (Exception, OutOfTimeError) as error:  # noqa: BLE001, a program of others
        tick(len(group.replicates) * (estimates.resamples + 1))
        return {}, _said(error)
    tick(len(group.replicates))
    keys = [key for key in found[0] if all(key in of for of in found)]
    drawn: dict[Key, list[float]] = {key: [] for key in keys}
    rng = np.random.default_rng(estimates.seed)
    for _ in range(estimates.resamples):
        try:
            with time_limit(SECONDS):
                again = [one.found(effect, tables) for tables in group.redrawn(rng)]
        except (Exception, OutOfTimeError):  # noqa: BLE001, where too few are left of a condition, say; they are counted below
            again = []
        tick(len(group.replicates))
        for key in keys:
            drawn[key].append(float(np.mean([_size(of.get(key)) for of in again])) if again else NAN)
    measured = {}
    for key in keys:
        rows = [of[key] for of in found]
        n = group.n(key[1])
        known = np.array(drawn[key])[np.isfinite(drawn[key])]
        has_interval = n > 1 and len(known) >= max(2, CONFIDENCE * estimates.resamples)
        spread = float(known.std()) * math.sqrt(n / (n - 1)) if has_interval else NAN
        if spread <= _ROUNDING * max(1.0, float(np.abs(known).max())):
            spread = 0.0
        measured[key] = _Measured(
            (float(np.mean([_size(row) for row in rows])), spread, n - 1.0),
            sum(_number(row["reproduced"]) == 1 for row in rows) if all("reproduced" in row for row in rows) else NAN,
            len(rows),
            _number(rows[0].get("original_effect_size")),
            float(np.median([_number(row.get("p_value")) for row in rows])),
        )
    return measured, ""


def _size(row: Mapping[str, Any] | None) -> float:
    return NAN if row is None else _number(row.get("effect_size"))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return NAN


def _said(error: BaseException) -> str:
    if isinstance(error, OutOfTimeError):
        return f"it takes longer than {SECONDS:g} seconds"
    if isinstance(error, KeyError) and error.args:
        what = str(error.args[0])
        return f"it needs {what}" if " " in what else f"it needs {what!r}, which there is not"
    return f"{type(error).__name__}: {one_line(error)}"


def _row(key: Key, model: _Measured | None, people: _Measured | None) -> dict[str, Any]:
    effect, experiment = key
    known = model or people
    row: dict[str, Any] = {"experiment": experiment, "effect": effect}
    row["original"] = known.original if known else NAN
    nothing: Mean = (NAN, NAN, NAN)
    one = effect_of_groups(people.mean if people else nothing, model.mean if model else nothing)
    for side, estimate in (("people", one.people), ("model", one.model), ("difference", one.difference)):
        row |= {side: estimate.value, f"{side}_low": estimate.low, f"{side}_high": estimate.high}
    row |= {"margin": one.margin, "p": one.difference.p, "verdict": _verdict_of(one)}
    row["reproduced"] = model.reproduced if model else NAN
    row["replicates"] = model.replicates if model else NAN
    row["own_p"] = model.p if model else NAN
    row["reproduced_in_people"] = people.reproduced == 1 if people and not math.isnan(people.reproduced) else None
    return row


def _verdict_of(one: EffectFidelity) -> str:
    if not math.isfinite(one.difference.value):
        return ""
    return "as in people" if one.is_within_margin else "cannot be told"


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    """The effects of a system with p values adjusted for all of them."""
    p_holm = np.array(holm(rows["p"].tolist()))
    differs = p_holm < ALPHA
    return rows.assign(p_holm=p_holm, verdict=np.where(differs, "differs", rows["verdict"]))


def _verdict(table: pd.DataFrame) -> str:
    said = []
    for system, rows in table.groupby("system", sort=False):
        ran = rows[rows["model"].notna()]
        ruled = ran[ran["reproduced"].notna()]
        whole = int((ruled["reproduced"] == ruled["replicates"]).sum())
        words = f"{system}: {whole} of {len(ruled)} effects reproduced by the lists' own rules"
        known = rows[rows["difference"].notna()]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in known["verdict"].value_counts().items())
        missing = len(rows) - len(ran)
        words += f"; against people: {counts}" if counts else ""
        said.append(words + (f"; {missing} could not be computed" if missing else ""))
    return "; ".join(said)


def _shown(table: pd.DataFrame) -> Table:
    columns = {name: name for name in ("system", "study", "experiment", "effect", "original", "people", "model")}
    columns |= {"difference": "difference", "p_holm": "p (Holm)", "verdict": "verdict"}
    columns |= {"rule": "reproduced", "note": "note"}
    counts = zip(table["reproduced"], table["replicates"], strict=True)
    table = table.assign(rule=["" if math.isnan(k) else f"{k:.0f} of {n:.0f}" for k, n in counts])
    note = (
        "sizes in the list's own unit, in which no effect need not be 0; intervals over participants; as in people: "
        "surely no farther than two halves of the people are; reproduced: replicates in which the list's own rule holds"
    )
    return table_of("Published effects", table, columns, note, signed=["difference"])


def section(run: Run) -> Section:
    """What is said of published effects."""
    return Section(
        title="Published effects",
        question="What becomes of a study's effects where models took part?",
        answers=(f"{run.about['verdict']}.",),
        explanation=(
            "The study's own list of effects was run on the trials of the model as all participants, and on people's. "
            "p values are of the difference from people, adjusted for all effects (Holm).",
        ),
        figures=folder_pictures([run]),
        tables=(_shown(read_table(run, "effects")),),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("effects", DESCRIPTION, EffectsArguments, section)
