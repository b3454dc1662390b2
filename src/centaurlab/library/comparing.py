"""Scores into comparisons: which of two predicts people worse, by how much, how sure, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from centaurlab.data.records import as_name
from centaurlab.display.tables import Table
from centaurlab.library.scores import Scores
from centaurlab.results.joined import StudyScores, join_tables
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.results.table import (
    ITEM,
    MODEL_COLUMNS,
    N_OPTIONS,
    N_TOKENS,
    NLL,
    PERSON,
    RESPONSE,
    SCORE_SCHEMA,
    SESSION,
    STUDY,
    check_rows,
)
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import counted
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effect_table import effects_table
from centaurlab.stats.effects import Effect, estimate_effects
from centaurlab.stats.sums import ComparedPair, sum_study
from centaurlab.stats.words import verdict_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

    from centaurlab.analyses.diagnosis import Split

ScoresOrFolder: TypeAlias = Scores | str | Path


@dataclass(frozen=True)
class Comparison:
    """d(first − second), over all studies first, then by domain and study."""

    effects: Sequence[Effect]

    @property
    def overall(self) -> Effect:
        """Over all studies: ``overall.d.value``, ``.low`` and ``.high``."""
        return self.effects[0]

    @property
    def verdict(self) -> str:
        """Which of the two predicts people worse, if that can be told, in a sentence; and what was left out."""
        overall, said = self.overall, verdict_of(self.effects)
        if overall.unmatched_first or overall.unmatched_second:
            counts = (
                (overall.unmatched_first, overall.contrast.first),
                (overall.unmatched_second, overall.contrast.second),
            )
            left = (f"{counted(n, 'response')} of {name}" for n, name in counts)
            said += f"; left out, in one alone: {' and '.join(left)}"
        return said

    def table(self) -> "pd.DataFrame":
        """A row per level and study, the columns of ``effects.csv``."""
        return effects_table(self.effects)

    def plot(self) -> "Figure":
        """d of every study with its interval, and the mean over studies."""
        from centaurlab.display.figures.intervals import forest

        return forest(self.effects)

    def __repr__(self) -> str:
        return f"Comparison({self.verdict})"

    def _repr_html_(self) -> str:
        from centaurlab.display.effect_tables import level_table

        return _html(self.verdict, level_table("Studies", self.effects, "study"))


@dataclass(frozen=True)
class Parts:
    """The difference of the NLLs of two models, first − second, as calibration, format and preference (nats)."""

    split: "Split"
    contrast: Contrast

    @property
    def verdict(self) -> str:
        """Which of the two predicts choices worse, and by which parts, in a sentence."""
        from centaurlab.analyses.diagnosis import verdict

        return verdict(self.contrast, self.split.rows, self.split.these)

    def table(self) -> "pd.DataFrame":
        """A row for all studies and for each, the columns of ``diagnosis.csv``."""
        from centaurlab.analyses.diagnosis import diagnosis_table

        return diagnosis_table(self.split.rows, self.split.these)

    def plot(self) -> "Figure":
        """The parts in every study, side by side."""
        from centaurlab.analyses.diagnosis import parts_figure

        return parts_figure(self.split.rows, self.split.these, self.contrast)

    def __repr__(self) -> str:
        return f"Parts({self.verdict})"

    def _repr_html_(self) -> str:
        from centaurlab.analyses.diagnosis import parts_table

        return _html(self.verdict, parts_table(self.table()))


def compare(first: ScoresOrFolder, second: ScoresOrFolder, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare two models on the responses that both scored: d(first − second).

    Parameters
    ----------
    first, second : Scores, or their folders
        Of the same sessions by the same protocol. Above zero, people are predicted worse by the first.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    Comparison
        With ``overall``, ``verdict``, ``table()`` and ``plot()``; 95 % intervals.

    Raises
    ------
    UserError
        Where the two cannot be compared.

    Examples
    --------
    >>> cl.compare(cl.score(post, sessions), cl.score(model, sessions)).overall.n_responses
    4
    """
    from centaurlab.stats.sums import compare as compared

    return Comparison(estimate_effects([compared(_run(first), _run(second))], resamples, seed))


def estimate(
    first: "pd.DataFrame",
    second: "pd.DataFrame",
    names: tuple[str, str] = ("first", "second"),
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two tables of NLLs, wherever they come from: d(first − second).

    Parameters
    ----------
    first, second : pandas.DataFrame
        A row per response with ``study``, ``participant`` and ``nll`` (nats), and, where they are needed to tell
        responses apart, ``experiment`` and ``response`` (its number in the session; by default in the order of rows, of
        which both then have as many). ``item`` says what was asked, where that recurs over people.
        ``n_tokens`` and ``n_options`` tell kinds of answers apart, and what guessing would give.
        ``person``: whose session it is, where people have several; they are drawn with all of these.
    names : tuple of str
        What the two are called.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    Comparison
        As ``compare`` gives it.

    Raises
    ------
    UserError
        Where a column is missing, an NLL is not a number, a response occurs twice, or they have none in common; where
        only one of the two has ``response``; and where neither has, but a session has more rows in one table than in
        the other, or other items.

    Examples
    --------
    >>> import pandas as pd
    >>> people = [(study, person) for study in ("a", "b", "c") for person in ("p1", "p2") for _ in range(2)]
    >>> second = pd.DataFrame(people, columns=["study", "participant"]).assign(nll=[0.5, 0.7, 0.6, 0.9] * 3)
    >>> first = second.assign(nll=second["nll"] + [0.1, 0.3, 0.2, 0.2] * 3)
    >>> found = cl.estimate(first, second)
    >>> round(found.overall.nll_first - found.overall.nll_second, 3), found.overall.n_participants
    (0.2, 6)
    """
    numbered = [name for name, frame in zip(names, (first, second), strict=True) if RESPONSE in frame]
    if len(numbered) == 1:
        raise UserError(
            f"only the {numbered[0]} table has a column 'response'; give both theirs, or leave it out of both"
        )
    tables = _scored(first, names[0]), _scored(second, names[1])
    joined = join_tables(tables[1], tables[0], (names[1], names[0]))
    if not numbered:
        _check_order(joined, *tables)
    pair = ComparedPair(Contrast(*names), [sum_study(study) for study in joined])
    return Comparison(estimate_effects([pair], resamples, seed))


def diagnose(first: ScoresOrFolder, second: ScoresOrFolder, resamples: int = 2000, seed: int = 0) -> Parts:
    """Say why one model predicts choices worse than another: format, calibration or preference.

    Parameters
    ----------
    first, second : Scores, or their folders
        Of the same sessions by the same protocol. Above zero, the first is the worse one.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    Parts
        With ``verdict``, ``table()`` and ``plot()``, in nats per choice; 95 % intervals.

    Raises
    ------
    UserError
        Where the two cannot be compared, or no session is a choice among few options.

    Examples
    --------
    >>> cl.diagnose(cl.score(post, sessions), cl.score(model, sessions)).table()["study"].tolist()
    ['all studies', 'slots']
    """
    from centaurlab.analyses.diagnosis import diagnose as split

    worse, better = _run(first), _run(second)
    return Parts(split(better, worse, resamples, seed), Contrast(worse.model, better.model))


def _run(scores: ScoresOrFolder) -> ScoreRun:
    """The finished run of scores, or of those in a folder; ``UserError`` where there are none."""
    return scores.run if isinstance(scores, Scores) else read_run(Path(scores))


def _scored(frame: "pd.DataFrame", name: str) -> "pa.Table":
    """A data frame's NLLs as a table of scores; ``UserError`` where a column is missing or an NLL is not a number."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    for column in (STUDY, SESSION[2], NLL):
        if column not in frame:
            raise UserError(f"the {name} table has no column {column!r}; it needs study, participant and nll")
    found = frame.assign(**{key: _names(frame[key if key in frame else STUDY]) for key in SESSION})
    if RESPONSE not in found:
        found[RESPONSE] = found.groupby(list(SESSION), sort=False).cumcount()
    for column in (key for key in (*SESSION, RESPONSE) if key in frame):
        if found[column].isna().any():
            raise UserError(f"the {name} table has no {column} in row {int(found[column].isna().argmax())}")
    for column in (one for one in MODEL_COLUMNS if one in frame):
        if frame[column].nunique() > 1:
            raise UserError(f"the {name} table holds rows of several models (column {column!r}); give one a table")
    try:
        nll_R = pd.to_numeric(found[NLL]).to_numpy(np.float64, na_value=np.nan)
        response_R = pd.to_numeric(found[RESPONSE]).to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"the {name} table: {error}; NLLs and numbers of responses are numbers, as 1234.5") from error
    if found[NLL].dtype == bool or (response_R % 1).any():
        raise UserError(f"the {name} table: NLLs are numbers, in nats, and responses are numbered 0, 1, 2 …")
    if not np.isfinite(nll_R).all():
        row = int(np.argmin(np.isfinite(nll_R)))
        raise UserError(f"the {name} table's NLL in row {row} is {nll_R[row]}; leave such responses out of both tables")
    if ITEM in found:  # names, which both tables have alike; any number is one, 0 too
        code_R, items = pd.factorize(found[ITEM])
        named = [str(int(one)) if isinstance(one, float | np.floating) and one % 1 == 0 else str(one) for one in items]
        number_I = np.maximum(np.abs(pd.util.hash_array(np.array(named, object)).astype(np.int64)), 1)
        found[ITEM] = pd.arrays.IntegerArray(np.append(number_I, 0)[code_R], mask=code_R < 0)
    kinds = [name for name in (N_TOKENS, N_OPTIONS, ITEM) if name in found]
    schema = pa.schema([SCORE_SCHEMA.field(one) for one in (*SESSION, RESPONSE, NLL, *kinds)])
    columns = {key: pa.array(found[key].tolist(), pa.string()).dictionary_encode() for key in SESSION}
    columns |= {RESPONSE: pa.array(response_R.astype(np.int64)), NLL: pa.array(nll_R)}
    known = {name: found[name].notna().to_numpy() for name in kinds}
    columns |= {name: pa.array(found[name].fillna(0).to_numpy(np.int64), mask=~known[name]) for name in kinds}
    table = pa.table(columns).cast(schema)
    check_rows(f"the {name} table", table)
    if PERSON not in found:
        return table
    people = pa.array(_names(found[PERSON]).tolist(), pa.string(), from_pandas=True)
    return table.append_column(PERSON, people.dictionary_encode())


def _names(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Whatever names people or studies as text, alike for 1 and 1.0; None for what is missing."""
    return column.astype(object).where(column.notna(), None).map(as_name)


def _check_order(joined: Sequence[StudyScores], first: "pa.Table", second: "pa.Table") -> None:
    """Raise ``UserError`` where responses that are numbered in the order of rows cannot be the same in both tables."""
    lacking = next((study.study for study in joined if study.first_unmatched is not None), None)
    if lacking is not None:
        raise UserError(
            f"a session of {lacking} has more rows in one table than in the other: which belong together? Give both a "
            "column 'response', or leave the same rows out of both"
        )
    if ITEM in first.column_names and ITEM in second.column_names:
        keys = [*SESSION, RESPONSE]
        one, other = (table.select([*keys, ITEM]).to_pandas() for table in (first, second))
        both = one.merge(other, on=keys, suffixes=("", "_other")).dropna()
        if (both[ITEM] != both[f"{ITEM}_other"]).any():
            raise UserError(
                "the tables have other items for the same rows of a session, hence another order; give both a column "
                "'response'"
            )


def _html(verdict: str, table: Table) -> str:
    from html import escape

    from centaurlab.display.notebook import table_html

    return f"<p><strong>{escape(verdict)}</strong></p>{table_html(table)}"
