"""Language models held against the rows without one: differences, completeness, whom most people follow, and sentences.

The last model that is named is the one that the sentences are about. Everything is on the responses that all rows have.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from centaurlab.analyses.analysis import Finding
from centaurlab.cognitive.ceiling import Ceiling
from centaurlab.data.held_out import KINDS
from centaurlab.display.figures.completeness import Place, completeness_figure
from centaurlab.display.figures.intervals import Row, change_rows
from centaurlab.display.figures.style import SERIES
from centaurlab.display.tables import Table, table_of
from centaurlab.results.table import RESPONSE, SESSION, STUDY
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.estimate import UNKNOWN, Estimate
from centaurlab.stats.multiplicity import q_values
from centaurlab.stats.standing import completeness, differences, given_options, interval_columns, joined, selection
from centaurlab.stats.words import INTERVAL, NEW_PEOPLE, STUDIES_LIKE_THESE, Quantity, in_words, percent, verdict_over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ADAPTIVE, OWN_HISTORY, CHANCE = "adaptive", "own-history", "uniform"
HELD_AGAINST = ("item-marginal", OWN_HISTORY, ADAPTIVE)
_IN_HINDSIGHT = ("own",)
_BOUND, _ACHIEVED = "bound", "achieved"
_DIFFERENCE = Quantity("difference", "nats per response", is_difference=True)
_ALL = "all"
_INTERVALS = [
    f"{name}{end}"
    for name in ("distance", "completeness")
    for end in ("", "_low", "_high", "_low_these", "_high_these")
]
_SELECTION_NOTE = (
    "Each person counts once, by what a row predicted of all answers. Omnibus risk: the probability that all rows are "
    "followed alike (Rigoux et al. 2014); it draws the others towards one over the number of rows."
)
_COMPLETENESS_NOTE = (
    "achieved, bound: the two ends of what is predictable where many people meet the same items; adaptive: elsewhere, "
    "the cognitive model that adapts to the person. Above 1: further than that end."
)


@dataclass(frozen=True)
class Standings:
    """What is held against what.

    ``rows``, ``models``: tables of scores, those of a model together. ``with_model``: studies that have a cognitive
    model. ``ceilings``: of the item studies. ``novel``: studies that a Centaur never saw, None where nothing is known.
    """

    rows: Mapping[str, pa.Table]
    models: Mapping[str, Sequence[pa.Table]]
    with_model: Collection[str]
    ceilings: Sequence[Ceiling]
    novel: Collection[str] | None = None


def find_standing(asked: Standings, estimates: EstimateArguments) -> Finding:
    """Tables, figures and sentences; without models only whom most people follow among the rows."""
    rows = {name: [table] for name, table in asked.rows.items() if name not in _IN_HINDSIGHT}
    plain, given = (joined(rows | dict(asked.models), among) for among in (False, True))
    if not len(plain):
        raise UserError(
            f"no response is in all of {', '.join(asked.models)}; give folders of scores on the same sessions"
        )
    kinds = _kinds(plain, asked.novel)
    of_selection = selection_table(plain, [*rows, *asked.models], kinds)
    tables: dict[str, pd.DataFrame] = {"selection.csv": of_selection}
    figures: dict[str, Figure] = {}
    claims: list[str] = []
    n_responses = len(asked.rows[CHANCE])
    if len(plain) < n_responses:
        claims.append(f"compared on {len(plain):,} of {n_responses:,} responses, which every model and every row has")
    shown: list[Table | str] = [selection_shown(of_selection)]
    if asked.models:
        against = pd.DataFrame(
            row
            for kind, studies in kinds.items()
            for model in asked.models
            for baseline in HELD_AGAINST
            for row in _against(kind, model, baseline, *_within((plain, given), studies), estimates)
        )
        places = completeness_table(plain, list(asked.models), asked, kinds, estimates)
        tables |= {"against.csv": against} | ({"completeness.csv": places} if len(places) else {})
        figures |= _figures(against, places, list(asked.models))
        focus = list(asked.models)[-1]
        for kind, studies in kinds.items():
            claims += _claims(kind, focus, *_within((plain, given), studies), asked, places, estimates)
        shown += [against_shown(against), *([completeness_shown(places)] if len(places) else []), *claims]
    return Finding(tables, {"claims": claims}, figures, shown=shown)


def _kinds(frame: pd.DataFrame, novel: Collection[str] | None) -> dict[str, list[str]]:
    """Studies by what they are to the Centaur: held-out people of studies trained on, or novel studies."""
    studies = sorted(set(frame[STUDY]))
    if novel is None:
        return {_ALL: studies}
    sides = {"held_out": [s for s in studies if s not in novel], "novel": [s for s in studies if s in novel]}
    return {kind: of_kind for kind, of_kind in sides.items() if of_kind}


def _within(frames: tuple[pd.DataFrame, pd.DataFrame], studies: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    plain, given = (frame[frame[STUDY].isin(list(studies))] for frame in frames)
    return plain, given


def _kind_name(kind: str) -> str:
    return KINDS.get(kind, "all studies")


def _against(
    kind: str, model: str, baseline: str, plain: pd.DataFrame, given: pd.DataFrame, estimates: EstimateArguments
) -> list[dict[str, object]]:
    """The differences of a model and a row, over studies and in each, as rows of ``against.csv``."""
    effects = differences(plain, model, baseline, estimates)
    among = {(e.level, e.name): e.nll_difference.value for e in differences(given, model, baseline, estimates)}
    studies = [effect for effect in effects if effect.level == "study"]
    q = dict(zip((e.name for e in studies), q_values([e.nll_difference for e in studies]), strict=True))
    return [
        {
            "study": effect.name,
            "kind": kind,
            "model": model,
            "baseline": baseline,
            **interval_columns("difference", effect.nll_difference, effect.nll_difference_these),
            "q": q.get(effect.name, math.nan) if effect.level == "study" else math.nan,
            "difference_given_options": among.get((effect.level, effect.name), math.nan),
            "responses": effect.n_responses,
            "people": effect.n_participants,
            "level": effect.level,
        }
        for effect in effects
    ]


def selection_table(frame: pd.DataFrame, rows: Sequence[str], kinds: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """How many people follow each row, over all studies of a kind and in each study."""
    groups = [(_mean_name(kind), list(of)) for kind, of in kinds.items()]
    groups += [(study, [study]) for of in kinds.values() for study in of]
    found = []
    for name, studies in groups:
        of_group = selection(frame[frame[STUDY].isin(studies)], rows)
        found += [
            {
                "study": name,
                "row": row,
                "frequency": of_group.frequency_K[k],
                "exceedance": of_group.exceedance_K[k],
                "protected_exceedance": of_group.protected_K[k],
                "omnibus_risk": of_group.omnibus_risk,
                "people": len(of_group.share_NK),
            }
            for k, row in enumerate(rows)
        ]
    return pd.DataFrame(found)


def completeness_table(
    frame: pd.DataFrame,
    models: Sequence[str],
    asked: Standings,
    kinds: Mapping[str, Sequence[str]],
    estimates: EstimateArguments,
) -> pd.DataFrame:
    """Between chance and ceiling: in item studies either end of the bracket, elsewhere the adaptive cognitive model.

    In an item study the responses at items alone count, and chance and ends are those of everybody there. A mean over
    the studies of a kind comes before these.
    """
    narrow = {one.study: one for one in asked.ceilings if not one.is_wide}
    ends = pd.DataFrame(
        {**dict(zip(SESSION, (key.study, key.experiment, key.participant), strict=True)), RESPONSE: number}
        | {_BOUND: bound, _ACHIEVED: achieved}
        for one in narrow.values()
        for (key, number), bound, achieved in zip(one.responses, one.bound_R, one.achieved_R, strict=True)
    )
    at_items = frame.merge(ends, on=[*SESSION, RESPONSE]) if len(ends) else frame[:0]
    learning = frame[frame[STUDY].isin(set(asked.with_model) - set(at_items[STUDY]))]
    rows: list[dict[str, object]] = []
    for kind, studies in kinds.items():
        for whole, end in ((at_items, _ACHIEVED), (at_items, _BOUND), (learning, ADAPTIVE)):
            part = whole[whole[STUDY].isin(list(studies))]
            if not len(part):
                continue
            levels = {
                study: _ends_of(narrow[study], end) if end != ADAPTIVE else (of[CHANCE].mean(), of[ADAPTIVE].mean())
                for study, of in ((str(study), of) for study, of in part.groupby(STUDY))
            }
            for row in dict.fromkeys((OWN_HISTORY, ADAPTIVE, *models)):
                if row != end:
                    rows += _completeness_rows(kind, row, end, part, levels, estimates)
    columns = ["study", "kind", "row", "relative_to", "nll", "chance", "end", *_INTERVALS, "studies"]
    return pd.DataFrame(rows, columns=columns)


def _ends_of(one: Ceiling, end: str) -> tuple[float, float]:
    return one.chance, (one.bound if end == _BOUND else one.achieved).value


def _completeness_rows(
    kind: str,
    row: str,
    end: str,
    part: pd.DataFrame,
    levels: Mapping[str, tuple[float, float]],
    estimates: EstimateArguments,
) -> list[dict[str, object]]:
    found = []
    for effect in differences(part, row, end, estimates):
        is_mean = effect.level == "overall"
        of = list(levels.values()) if is_mean else [levels[effect.name]]
        chance, level = (sum(values) / len(of) for values in zip(*of, strict=True))
        distance, these = effect.nll_difference, effect.nll_difference_these
        found.append(
            {
                "study": _mean_name(kind) if is_mean else effect.name,
                "kind": kind,
                "row": row,
                "relative_to": end,
                "nll": effect.nll_first,
                "chance": chance,
                "end": level,
                **interval_columns("distance", distance, these),
                **interval_columns(
                    "completeness", completeness(distance, chance - level), completeness(these, chance - level)
                ),
                "studies": len(of),
            }
        )
    return found


def _mean_name(kind: str) -> str:
    return _kind_name(kind) if kind == _ALL else f"all {_kind_name(kind)}"


def _figures(against: pd.DataFrame, places: pd.DataFrame, models: Sequence[str]) -> "dict[str, Figure]":
    """For each model a forest of its differences from the rows; all models between chance and ceiling."""
    figures = {}
    for number, model in enumerate(models, start=1):
        rows, label = against_rows(against, model), f"{model} − row: NLL (nats per response)\n{better_ends(model)}"
        figures[f"against-{number}"] = change_rows(rows, HELD_AGAINST, f"{model} against rows without a model", label)
    if not len(places):
        return figures
    drawn = places[places["relative_to"] != _BOUND]
    of_bound = places[places["relative_to"] == _BOUND].drop_duplicates(["study", "kind"])
    bounds = {str(row["study"]): row["chance"] - row["end"] for row in of_bound.to_dict("records")}
    lines = [
        Place(
            str(study),
            {str(row): float(value) for row, value in zip(of["row"], of["completeness"], strict=True)},
            band=bounds[str(study)] / (of["chance"] - of["end"]).iloc[0] if str(study) in bounds else 1.0,
            is_item=str(study) in bounds,
        )
        for study, of in drawn[~drawn["study"].isin([_mean_name(kind) for kind in set(drawn["kind"])])].groupby(
            "study", sort=False
        )
        if math.isfinite(of["completeness"].iloc[0])
    ]
    if lines:
        figures["completeness"] = completeness_figure(lines, [*dict.fromkeys(drawn["row"])][: len(SERIES)])
    return figures


def better_ends(model: str) -> str:
    """What lies at the two ends of an axis of differences from rows."""
    return f"← {model} better   |   row better →"


def against_rows(against: pd.DataFrame, model: str) -> list[Row]:
    """The differences of a model from each of ``HELD_AGAINST``, their series, from the table in ``against.csv``."""
    return [
        Row(
            _mean_name(row["kind"]) if row["level"] == "overall" else str(row["study"]),
            Estimate(row["difference"], row["difference_low"], row["difference_high"]),
            HELD_AGAINST.index(str(row["baseline"])),
            is_summary=row["level"] == "overall",
            q=row["q"],
            these=_estimate(row, "difference", "_these") if row["level"] == "overall" else UNKNOWN,
        )
        for row in against[against["model"] == model].to_dict("records")
    ]


def _claims(
    kind: str,
    model: str,
    plain: pd.DataFrame,
    given: pd.DataFrame,
    asked: Standings,
    places: pd.DataFrame,
    estimates: EstimateArguments,
) -> list[str]:
    """What may be said of a model: against the adaptive cognitive model, own history, and the ceiling."""
    studies = set(plain[STUDY])
    modelled = studies & set(asked.with_model)
    said = []
    for row, name, of in (
        (ADAPTIVE, "the cognitive model that adapts to the person", modelled),
        (OWN_HISTORY, "the person's own earlier answers", studies),
    ):
        where = f"{_kind_name(kind)} ({len(of)} {'study' if len(of) == 1 else 'studies'}"
        where += f" of {len(studies)}, those with a cognitive model)" if len(of) < len(studies) else ")"
        if not of:
            said.append(f"no study of the {_kind_name(kind)} has a cognitive model")
            continue
        frames = _within((plain, given), of)
        effects, among = (differences(frame, model, row, estimates) for frame in frames)
        of_studies = {effect.name: effect.nll_difference for effect in effects if effect.level == "study"}
        beside = given_options(among[:1], effects[0].n_responses)
        said.append(
            f"{where}: "
            + verdict_over(
                Contrast(model, name),
                effects[0].nll_difference,
                of_studies,
                _DIFFERENCE,
                these=effects[0].nll_difference_these,
                beside=beside,
            )
        )
    return [*said, *_completeness_claims(kind, model, places)]


def _completeness_claims(kind: str, model: str, places: pd.DataFrame) -> list[str]:
    ends = {
        _ACHIEVED: "what other people's answers at an item tell",
        _BOUND: "the entropy of the answers at an item, the least to expect of a model that does not know the person",
        ADAPTIVE: "the cognitive model that adapts to the person",
    }
    if not len(places):
        return []
    is_here = (places["kind"] == kind) & (places["row"] == model) & (places["study"] == _mean_name(kind))
    said = []
    for row in places[is_here].to_dict("records"):
        distance, these = _estimate(row, "distance"), _estimate(row, "distance", "_these")
        share, share_these = _estimate(row, "completeness"), _estimate(row, "completeness", "_these")
        n = int(row["studies"])
        where = f"{_kind_name(kind)} ({n} {'study' if n == 1 else 'studies'})"
        far = ""
        if row["relative_to"] != ADAPTIVE:  # of which the distance is said already
            quantity = Quantity(f"NLL of {model} above it", "nats per response", is_difference=True)
            far = f"; {in_words(distance, quantity, 'people' if n == 1 else 'studies', these)}"
        spans = [(one, of) for one, of in ((share, STUDIES_LIKE_THESE), (share_these, NEW_PEOPLE)) if one.has_interval]
        intervals = [f"{percent(one.low)} to {percent(one.high)} for {of}" for one, of in spans]
        is_below = bool(spans) and all(one.high < 0 for one, _ in spans)
        between = f" ({INTERVAL} {', '.join(intervals)})" if intervals else ""
        said.append(
            f"{where}: of the way from chance to {ends[str(row['relative_to'])]}, {model} goes "
            f"{percent(share.value)}{' (below zero: worse than chance)' if is_below else ''}{between}{far}"
        )
    return said


def _estimate(row: Mapping[Any, Any], name: str, about: str = "") -> Estimate:
    """The estimate with one of its intervals; without where no study gave one."""
    return Estimate(*(float(row.get(f"{name}{end}", math.nan)) for end in ("", f"_low{about}", f"_high{about}")))


def selection_shown(frame: pd.DataFrame) -> Table:
    """Whom most people follow, a line per group of people and a column per row."""
    wide = frame.pivot(index="study", columns="row", values="protected_exceedance")[list(dict.fromkeys(frame["row"]))]
    wide = wide.loc[list(dict.fromkeys(frame["study"]))].reset_index()
    risk = (
        frame.groupby("study", sort=False)[["omnibus_risk", "people"]].first().loc[wide["study"]].reset_index(drop=True)
    )
    shown = pd.concat([wide, risk], axis=1)
    shown.columns.name = None
    return table_of("Which row most people follow (protected exceedance probability)", shown, note=_SELECTION_NOTE)


def against_shown(frame: pd.DataFrame) -> Table:
    """The differences over studies; each study's are in the figures and in ``against.csv``."""
    shown = frame[frame["level"] == "overall"].assign(study=lambda f: f["kind"].map(_mean_name))
    return table_of(
        "Models against rows (NLL of the model − that of the row)", shown.drop(columns=["level", "q", "kind"])
    )


def completeness_shown(frame: pd.DataFrame) -> Table:
    """Completeness over studies; each study's is in the figure and in ``completeness.csv``."""
    names = set(map(_mean_name, frame["kind"]))
    columns = ["study", "row", "relative_to", "nll", "chance", "end", *_INTERVALS, "studies"]
    return table_of(
        "Completeness: 0 at chance, 1 at the end it is relative to",
        frame[frame["study"].isin(names)][columns],
        note=_COMPLETENESS_NOTE,
    )
