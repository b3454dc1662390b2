"""Has a model seen these transcripts? The likelihood of the published letters and order among others drawn anew.

The job tells and scores the sessions (``jobs/contamination.py``); here the NLLs become a p-value per session and test,
combined by study, over all of them, and over both tests.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, read_table
from centaurlab.data.transcripts import SessionKey
from centaurlab.display.figures.intervals import Row, change_rows
from centaurlab.display.figures.style import SERIES, model_label, model_labels
from centaurlab.display.section import INTERVALS, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun, is_score_folder, scored_models
from centaurlab.results.table import NLL, RESPONSE, SESSION, person_names
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import counted
from centaurlab.stats import bootstrap
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Estimate, FloatArray
from centaurlab.stats.fidelity import holm
from centaurlab.stats.permutation import fisher, permutation_p
from centaurlab.stats.words import Quantity, in_words, listed, p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """Has a model seen these transcripts? Are their letters and order likelier to it than others drawn anew?

examples:
  centaurlab contamination --model gemma-3-270m --data starter --max_participants 5 --output_dir runs/contamination
  centaurlab contamination --model BASE CENTAUR --data marcelbinz/Psych-201-test --max_participants 5 \\
      --relabelings 199 --output_dir runs/contamination

The letters that name the options (J and F) were drawn at random for each person when the study was transcribed. A model
that has not seen the transcript cannot know which: among the published session and --relabelings others in the same
words, the published letters' likelihood has any rank equally often. p of a session is its rank, exact, without a
reference model; sessions are combined by Fisher's method. Where a study's module says that the order of trials was
drawn (drawn_order), so is the published order among as many others. A small p says that the model knows transcripts of
this data. A large one is no proof that it does not: it may know the study, the paper, or the answers in other letters.
Output: contamination.csv, sessions.csv, inapplicable.csv, run.json, a figure, and the folders of scores.
"""

LETTERS, ORDER, BOTH = "letters", "order", "both"
ALL_STUDIES = "all studies"
_SMALL = 0.05
MEMBERSHIP = (
    *("min_k_instructions", "min_k_answers", "nll_character_instructions", "nll_character_answers"),
    *("logprober_a", "logprober_b"),
)
"""Columns of what others publish of a text's familiarity; of a study, means over sessions."""


@dataclass
class ContaminationArguments:
    """Which models, and how often letters are drawn."""

    model_name_or_path: list[str] = field(metadata={"help": "one model or several"})
    output_dir: str = field(metadata={"help": "folder for contamination.csv, run.json and scores"})
    relabelings: int = field(
        default=99,
        metadata={"help": "how often letters and orders are drawn; each costs as much as scoring the session once"},
    )

    def __post_init__(self) -> None:
        for name in self.model_name_or_path:
            if is_score_folder(Path(name)):
                raise UserError(f"{name} is a folder of scores; name the model, to score other letters with it")
        if self.relabelings < 1:
            raise UserError(f"--relabelings is {self.relabelings}; it must be at least 1 (19 for p = .05 of a session)")
        if len(self.model_name_or_path) > len(SERIES):
            raise UserError(
                f"--model_name_or_path names {len(self.model_name_or_path)}; a figure tells {len(SERIES)} apart"
            )


def find_contamination(
    tests: Mapping[str, Mapping[str, ScoreRun]],
    places: Mapping[str, Mapping[tuple[str, ...], tuple[int, int]]],
    n_drawn: int,
    refused: pd.DataFrame,
    estimates: EstimateArguments,
    membership: pd.DataFrame,
) -> Finding:
    """Ranks of the published letters and order as tables, figures and sentences.

    ``tests``: the runs by test and model. ``places``: of each test and session the number of the first stretch that is
    scored, and how many each text has. ``membership``: as ``membership_table`` gives it.
    """
    ranked = {
        (test, model): session_table(run, model, places[test], n_drawn).assign(test=test)
        for test, runs in tests.items()
        for model, run in runs.items()
    }
    sessions = pd.concat([of for of in ranked.values() if len(of)] or [*ranked.values()][:1], ignore_index=True)
    if not len(sessions):
        raise UserError("the context window cuts every session; raise --max_length, or take a model that reads more")
    cut = cut_table({of: places[of[0]].keys() - _keys(rows) for of, rows in ranked.items()})
    sessions = sessions.merge(membership, how="left", on=["model", *SESSION])
    tables = [
        study_table(of, model, estimates).assign(test=str(test))
        for (test, model), of in sessions.groupby(["test", "model"], sort=False)
    ]
    table = pd.concat([*tables, both_tests(sessions)] if len(tests) > 1 else tables, ignore_index=True)
    table = table[["test", *table.columns.drop("test")]]
    least = 1 / (n_drawn + 1)  # of so few, no p is that small, nor twice the smaller of two
    if least > _SMALL:
        table["small"] = math.nan
    elif 2 * least > _SMALL and sessions.duplicated(["model", *SESSION]).any():
        table.loc[table["test"] == BOTH, "small"] = math.nan
    said = [*verdicts(table), *cut_in_words(cut)]
    refused = pd.concat([refused, cut.drop(columns="model")] if len(cut) else [refused], ignore_index=True)
    first = next(iter(tests.values()))
    runs = {model: run for of in tests.values() for model, run in of.items()}
    return Finding(
        tables={
            "contamination.csv": table,
            "sessions.csv": sessions[["test", *sessions.columns.drop(["test", "who"])]],
            "inapplicable.csv": refused,
        },
        record={
            "verdict": "; ".join(said),
            "verdicts": said,
            "relabelings": n_drawn,
            "data": {key: next(iter(first.values())).about["data"][key] for key in ("name", "fingerprint", "studies")},
            "models": scored_models(runs),
        },
        figures={
            f"advantage_{test}": advantage_figure(table[table["test"] == test], test)
            for test in tests
            if test in set(table["test"])
        },
        metrics=[
            (None, {f"p_{row['test']}/{row['model']}": row["p"] for row in _overall(table)}),
        ],
        shown=[shown_table(table), *([table_of("Left out", refused)] if len(refused) else []), *said],
    )


def _keys(sessions: pd.DataFrame) -> set[tuple[str, ...]]:
    return set(sessions[list(SESSION)].itertuples(index=False, name=None))


def cut_table(cut: Mapping[tuple[str, str], Iterable[tuple[str, ...]]]) -> pd.DataFrame:
    """A row per test, model and study of sessions that a model did not score whole, in the columns of those refused."""
    rows = [
        {
            "test": test,
            "study": study,
            "why": f"cut by the context window of {model_label(model)}, or failed",
            "sessions": n,
            "model": model,
        }
        for (test, model), keys in cut.items()
        for study, n in sorted(Counter(study for study, *_ in keys).items())
    ]
    return pd.DataFrame(rows, columns=["test", "study", "why", "sessions", "model"])


def cut_in_words(cut: pd.DataFrame) -> list[str]:
    """Of each model and test how many sessions are left out, in a sentence each."""
    return [
        f"{model_label(str(model))}, by the published {test}: {counted(int(of['sessions'].sum()), 'session')} of "
        f"{listed(list(of['study']))} left out, cut by the context window or failed; see --max_length"
        for (model, test), of in cut.groupby(["model", "test"], sort=False)
    ]


def membership_table(by_model: Mapping[str, Mapping[SessionKey, Mapping[str, float]]]) -> pd.DataFrame:
    """A row per model and session as published: ``MEMBERSHIP``, which no p-value is made of."""
    rows = [{"model": model, **asdict(key), **values} for model, of in by_model.items() for key, values in of.items()]
    return pd.DataFrame(rows, columns=["model", *SESSION, *MEMBERSHIP])


def both_tests(sessions: pd.DataFrame) -> pd.DataFrame:
    """Fisher's p over the sessions of both tests, a row per model.

    A session that has both counts with twice the smaller p (Bonferroni), since the two need not be independent.
    """
    rows = []
    for model, of in sessions.groupby("model", sort=False):
        ps = of.groupby(list(SESSION))["p"].agg(["min", "size"])
        once = np.minimum(1, ps["min"] * ps["size"])
        rows.append(
            {"test": BOTH, "model": model, "study": ALL_STUDIES, "p": fisher(once.tolist())}
            | {"small": float((once <= _SMALL).mean()), "sessions": len(once), "people": _n_people(of)}
        )
    return pd.DataFrame(rows)


def session_table(
    run: ScoreRun, model: str, places: Mapping[tuple[str, ...], tuple[int, int]], n_drawn: int
) -> pd.DataFrame:
    """A row per session: p, and by how many nats the published letters are likelier than the others on average.

    Sessions of which the context window cuts a part off have no row.
    """
    frame = run.table([NLL]).to_pandas().astype(dict.fromkeys(SESSION, str))
    frame["who"] = person_names(frame)
    rows = []
    for key, of in frame.groupby(list(SESSION), sort=False):
        first, n_mentions = places[tuple(map(str, key))]
        version_R = (of[RESPONSE].to_numpy(np.int64) - first) // n_mentions
        n_V = np.bincount(version_R, minlength=n_drawn + 1)
        if (n_V != n_mentions).any():
            continue
        nll_V = np.bincount(version_R, of[NLL].to_numpy(np.float64)).astype(np.float64)
        rows.append(
            dict(zip(SESSION, key, strict=True))
            | {"model": model, "who": of["who"].iloc[0], "mentions": n_mentions}
            | {"p": permutation_p(nll_V[0], nll_V[1:]), "advantage": float(nll_V[1:].mean() - nll_V[0])}
        )
    return pd.DataFrame(rows, columns=["model", *SESSION, "who", "mentions", "p", "advantage"])


def study_table(sessions: pd.DataFrame, model: object, estimates: EstimateArguments) -> pd.DataFrame:
    """Fisher's p and the mean advantage over all sessions and by study; intervals from drawing people, and studies."""
    by_study = {str(study): of for study, of in sessions.groupby("study", sort=True)}
    known = {study: _study(of) for study, of in by_study.items()}
    found = bootstrap.estimate(known, estimates.resamples, partial(_generator, estimates.seed))
    rows = []
    for name, of in {ALL_STUDIES: sessions, **by_study}.items():
        draws = found.overall if name == ALL_STUDIES else found.studies[name]
        advantage = draws.estimate()
        these = found.these() if name == ALL_STUDIES else advantage
        rows.append(
            {"model": model, "study": name, "p": fisher(of["p"].tolist()), "small": float((of["p"] <= _SMALL).mean())}
            | {"advantage": advantage.value, "advantage_low": advantage.low, "advantage_high": advantage.high}
            | {"advantage_low_these": these.low, "advantage_high_these": these.high}
            | {name: float(of[name].mean()) for name in MEMBERSHIP}
            | {"sessions": len(of), "people": _n_people(of)}
        )
    return pd.DataFrame(rows)


def _n_people(sessions: pd.DataFrame) -> int:
    return int(sessions.groupby(["study", "who"]).ngroups)  # the same id in another study is somebody else


def _study(sessions: pd.DataFrame) -> bootstrap.Study:
    person_S = pd.factorize(sessions["who"])[0]
    n_P = np.bincount(person_S).astype(np.float64)
    sums_P2 = np.stack([n_P, np.bincount(person_S, sessions["advantage"])], axis=1)
    return bootstrap.Study(sums_P2, _mean, n_P[:, None, None])


def _mean(totals_B2: FloatArray) -> FloatArray:
    return bootstrap.divide(totals_B2[:, 1], totals_B2[:, 0])[None, None]


def _generator(seed: int, study: str | None) -> np.random.Generator:
    return bootstrap.generator(seed, "contamination", *([] if study is None else [study]))


def _overall(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table[table["study"] == ALL_STUDIES].to_dict("records")


def advantage(test: str) -> Quantity:
    """By how much the published letters, or the published order, are likelier."""
    return Quantity(f"advantage of the published {test}", "nats per session", is_difference=True)


def verdicts(table: pd.DataFrame) -> list[str]:
    """Of each model whether it knows the published letters, order, or either, in a sentence each.

    Where several models or tests are asked, by p adjusted for all of them (Holm); both together are not judged.
    """
    said = []
    rows, labels = _overall(table), model_labels(table["model"])
    adjusted = holm([math.nan if row["test"] == BOTH else row["p"] for row in rows])
    n_asked = sum(row["test"] != BOTH for row in rows)
    for row, p in zip(rows, adjusted, strict=True):
        test, model = row["test"], labels[row["model"]]
        ranked = f"p = {p_value(row['p'])} over {counted(row['sessions'], 'session')}"
        if test == BOTH:
            said.append(f"{model}, by letters and order together: {ranked}")
            continue
        if n_asked > 1:
            ranked += f", {p_value(p)} adjusted for {n_asked} models and tests (Holm)"
        these, same = _estimate(row, "_these"), (table["test"] == test) & (table["model"] == row["model"])
        if same.sum() == 2:  # one study
            size = in_words(these, advantage(test), "people")
        else:
            size = in_words(_estimate(row, ""), advantage(test), "studies", these)
        if p < _SMALL:
            are = (
                "their letters are likelier than letters" if test == LETTERS else "their order is likelier than orders"
            )
            not_all = "" if row["advantage"] > 0 else " in some sessions, and not on average"
            said.append(f"{model} has seen transcripts of these: {are} drawn anew{not_all} ({ranked}; {size})")
        else:
            said.append(
                f"{model}, by the published {test}: no sign that it has seen these transcripts ({ranked}; {size}); "
                "this is no proof that it has not"
            )
    return said


def _estimate(row: Mapping[Any, Any], about: str) -> Estimate:
    return Estimate(row["advantage"], row[f"advantage_low{about}"], row[f"advantage_high{about}"])


def advantage_figure(table: pd.DataFrame, test: str) -> "Figure":
    """By how much the published letters, or the published order, are likelier, by study and model."""
    models = list(dict.fromkeys(table["model"]))
    rows = [
        Row(
            "mean over studies" if row["study"] == ALL_STUDIES else row["study"],
            *(_estimate(row, ""), models.index(row["model"]), row["study"] == ALL_STUDIES),
            these=_estimate(row, "_these"),
        )
        for row in table.to_dict("records")
    ]
    quantity = f"advantage (nats per session)\n← drawn {test} likelier · published {test} likelier →"
    return change_rows(
        rows, list(model_labels(models).values()), f"Published {test} against {test} drawn anew", quantity
    )


def shown_table(table: pd.DataFrame) -> Table:
    """All of it; over all studies below."""
    shown = table.assign(model=table["model"].map(model_labels(table["model"]))).sort_values(
        "study", key=lambda s: s != ALL_STUDIES
    )
    columns = {"test": "test", "study": "study", "model": "model", "p": "p", "small": f"sessions with p ≤ {_SMALL}"}
    columns |= {"advantage": "advantage (nats per session)", "sessions": "sessions", "people": "people"}
    n_models = int((shown["study"] == ALL_STUDIES).sum())
    return table_of("Published letters and order against others drawn anew", shown, columns, n_summary=n_models)


def section(run: Run) -> Section:
    """Whether a model has seen the transcripts."""
    table = read_table(run, "contamination")
    if "test" not in table:  # a run of 0.2.0, which knew one test
        table = table.assign(test=LETTERS)
    return Section(
        title=f"Contamination by {run.about['data']['name']}",
        question="Has the model seen these transcripts?",
        answers=tuple(f"{said}." for said in run.about["verdicts"]),
        explanation=(
            "The letters of the options were drawn at random for each person, so that a model which has not seen the "
            f"transcript cannot tell the published ones from {run.about['relabelings']} drawn anew in the same words. "
            "p of a session is the rank of its published letters, exact; those of sessions are combined by Fisher's "
            "method. Where the order of trials was drawn too, the published order is ranked alike. Advantage: by how "
            "many nats the published letters (all mentions together) or the published order are likelier. Both: "
            "Fisher's method over the sessions of both tests. Where several models or tests are asked, sentences go by "
            "p adjusted for all of them (Holm). A large p is no proof: a model may know the study, its paper, or the "
            "answers in other letters.",
            INTERVALS,
        ),
        figures=folder_pictures([run]),
        tables=(shown_table(table), table_of("Left out", read_table(run, "inapplicable"))),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("contamination", DESCRIPTION, ContaminationArguments, section)
