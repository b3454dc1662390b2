"""What stands beside d, against loops over responses: P(worse), d within, kinds of answers, what few responses hold."""

import math
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.analyses.misalignment import lost_table, shown_effects
from centaurlab.display.tables import Table
from centaurlab.results.run import read_run
from centaurlab.results.table import NLL
from centaurlab.stats.answers import ANSWER_COLUMNS, answer_kinds, tail_notes
from centaurlab.stats.effects import Effect, estimate_effects
from centaurlab.stats.sums import ComparedPair, compare
from helpers.score_folders import table_folder

ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.integers(0, 20), st.integers(0, 20)),
    min_size=2,
    max_size=40,
)
Row = tuple[int, bool, bool, int, int]


def pair_of(folder: Path, rows: list[Row], n_options: int = 0) -> ComparedPair:
    """Two models' scores of people who answer, in two experiments, in one token or three."""
    frame = pd.DataFrame(rows, columns=["person", "second experiment", "long", "base", "post"])
    table = pd.DataFrame({"study": "s", "experiment": frame["second experiment"].map({True: "e2", False: "e1"})})
    table["participant"] = frame["person"].astype(str)
    table["response"] = table.groupby(["experiment", "participant"]).cumcount()
    table["n_tokens"] = np.where(frame["long"], 3, 1)
    table["n_options"] = pd.array(np.where(frame["long"], 0, n_options), dtype="Int32").copy()
    table.loc[table["n_options"] == 0, "n_options"] = pd.NA
    runs = {}
    for model in ("base", "post"):
        place = table_folder(folder / model, table.assign(nll=frame[model].astype(np.float32) / 4))
        runs[model] = read_run(place)
    return compare(runs["post"], runs["base"])


def effects_by_name(pair: ComparedPair) -> dict[str, Effect]:
    return {e.name: e for e in estimate_effects([pair], 20, domains=lambda _: ())}


def slow_within(rows: list[Row]) -> float:
    """d with the variance within experiment and kind, one cell at a time."""
    cells: dict[tuple[bool, bool], list[tuple[float, float]]] = {}
    for _, experiment, is_long, base, post in rows:
        cells.setdefault((experiment, is_long), []).append((base / 4, post / 4))
    squares = [0.0, 0.0]
    for values in cells.values():
        for side in (0, 1):
            mean = math.fsum(v[side] for v in values) / len(values)
            squares[side] += math.fsum((v[side] - mean) ** 2 for v in values)
    freedom = len(rows) - len(cells)
    if freedom < 1 or sum(squares) < 1e-9:
        return math.nan
    difference = math.fsum((post - base) / 4 for *_, base, post in rows) / len(rows)
    return difference / math.sqrt(sum(squares) / 2 / freedom)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_each_is_that_of_a_loop(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    rows = sorted(rows, key=lambda row: row[:2])
    found = effects_by_name(pair_of(tmp_path_factory.mktemp("scores"), rows))
    study = found["s"]
    worse = sum((post > base) + 0.5 * (post == base) for *_, base, post in rows) / len(rows)
    assert study.p_worse.value == pytest.approx(worse)
    assert study.d_within.value == pytest.approx(slow_within(rows), nan_ok=True, abs=1e-6)
    differences = sorted((post - base for *_, base, post in rows), reverse=True)
    if sum(differences) > 0:
        assert study.top_share == pytest.approx(differences[0] / sum(differences))
    longs = [(base, post) for _, _, is_long, base, post in rows if is_long]
    if 0 < len(longs) < len(rows):
        longer = found["s: longer"]
        assert longer.n_responses == len(longs)
        assert longer.nll_first == pytest.approx(np.mean([post for _, post in longs]) / 4)
        assert longer.nll_difference.value == pytest.approx(np.mean([post - base for base, post in longs]) / 4)
        assert found["s: one token"].n_responses == len(rows) - len(longs)
    else:
        assert set(found) == {"all studies", "s"}


def test_the_responses_that_lost_most_are_named(tmp_path: Path) -> None:
    rows: list[Row] = [(p, False, False, 4, 4 + (p == 2) * 12 + (p == 1)) for p in range(4) for _ in range(10)]
    pair = pair_of(tmp_path, rows)
    lost = lost_table([pair])
    assert len(lost) == 20
    assert lost["difference"].tolist() == [3.0] * 10 + [0.25] * 10
    assert set(lost["participant"][:10]) == {"2"}
    assert lost["response"][:10].tolist() == list(range(10))
    assert (lost["nll_post"] - lost["nll_base"]).tolist() == lost["difference"].tolist()


def test_three_texts_do_not_hide_among_choices(tmp_path: Path) -> None:
    """One hundred choices near a coin toss, three texts of 40 nats: the table tells them apart, and a note says it."""
    rows: list[Row] = [(p, False, False, 3, 3) for p in range(4) for _ in range(25)]
    rows += [(p, False, True, 160, 164) for p in range(3)]
    rows.sort(key=lambda row: row[0])
    pair = pair_of(tmp_path, rows, n_options=2)
    scores = read_run(tmp_path / "base").table([NLL], ANSWER_COLUMNS)
    every, one_token, longer = answer_kinds(scores)
    assert (one_token.n_responses, longer.n_responses, every.n_responses) == (100, 3, 103)
    assert (one_token.nll, longer.nll) == pytest.approx((0.75, 40.0))
    assert one_token.chance == pytest.approx(math.log(2))
    assert math.isnan(longer.chance)
    (note,) = tail_notes([every, one_token, longer])
    # 5 % of 103 are 6 responses, three of them texts: 122.25 of 195 nats
    assert note == "in s, the 5 % of responses with the highest NLL hold 63 % of the sum: its mean is theirs"
    shown = shown_effects(estimate_effects([pair], 20, domains=lambda _: ()))
    titles = [one.title for one in shown if isinstance(one, Table)]
    assert any(title.startswith("Kinds of answers") for title in titles)
    assert any("hold 63 % of the sum" in one for one in shown if isinstance(one, str))


def test_a_kind_of_answers_has_the_effects_of_a_study_that_holds_nothing_else(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows: list[Row] = [(p, False, n > 7, draw.randint(2, 9), draw.randint(2, 11)) for p in range(6) for n in range(12)]
    both, alone = pair_of(tmp_path / "both", rows), pair_of(tmp_path / "alone", [row for row in rows if not row[2]])
    (kind,) = (e for e in estimate_effects([both], 200) if e.level == "answers" and "one token" in e.name)
    (study,) = (e for e in estimate_effects([alone], 200) if e.level == "study")
    assert kind.d_paired == study.d_paired
    assert kind.d_paired.has_interval


def test_without_long_answers_nothing_is_said_of_kinds(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, [(p, False, False, 4, 5 + p) for p in range(4)])
    assert [a.kind for a in answer_kinds(read_run(tmp_path / "base").table([NLL], ANSWER_COLUMNS))] == ["all"]
    assert "answers" not in {e.level for e in estimate_effects([pair], 20)}
