"""The battery against readers of which it is known what they make use of; the arithmetic against plain loops."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.analyses.shortcuts import (
    NAMED,
    OTHERS,
    WORDS,
    ShortcutArguments,
    find_shortcuts,
    shortcut_table,
    shown_tables,
    verdicts,
)
from centaurlab.jobs.shortcuts import Battery, battery
from centaurlab.prompts.prompt import Prompt, session_prompt
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.shortcuts import Cost, ToldTwice, costs
from helpers.score_folders import table_folder
from helpers.shortcut_readers import LETTERS, Reader, by_history, by_instructions, by_nothing, by_stimulus, trips

PEOPLE = [trips(person) for person in range(6)]
READERS = {"history": by_history, "stimulus": by_stimulus, "nothing": by_nothing, "instructions": by_instructions}


def read(reader: Reader, prompts: Mapping[str, Prompt]) -> pd.DataFrame:
    """What a reader gives every response of each person's prompt."""
    rows = []
    for person, prompt in prompts.items():
        options = LETTERS[int(person) % len(LETTERS)]
        for piece in prompt.pieces():
            for one in piece.responses:
                answer = piece.text[one.start : one.end]
                other = options.replace(answer, "")
                nll = -math.log(reader(piece.text[: one.start - 2], answer, other))
                rows.append({"participant": person, "response": one.number, "nll": nll})
    about = {"study": "benakiva1993trains", "experiment": "exp1.csv", "n_options": 2}
    frame = pd.DataFrame(rows).assign(**about)
    return frame.astype({"response": "int32", "n_options": "int32", "nll": "float32"})


@pytest.fixture(scope="module")
def told() -> Battery:
    return battery(PEOPLE, list(WORDS), "full")


@pytest.fixture(scope="module")
def table(told: Battery, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("battery")

    def runs(name: str, prompts: Mapping[str, Prompt]) -> dict[str, ScoreRun]:
        return {
            reader: read_run(table_folder(folder / name / reader, read(of, prompts))) for reader, of in READERS.items()
        }

    as_told = runs("as_told", {one.participant: session_prompt(one.text) for one in PEOPLE})
    conditions = {
        name: runs(name, {one.participant: context.prompt(one, "full") for one in PEOPLE})
        for name, context in told.contexts.items()
    }
    found = find_shortcuts(as_told, conditions, EstimateArguments(resamples=200), told.as_named)
    assert set(found.figures) == {"costs", "shares", "task_use"}
    frame = found.tables["shortcuts.csv"]
    return frame[frame["study"] != "all studies"].set_index(["model", "condition"])


def test_every_condition_can_be_told(told: Battery) -> None:
    assert list(told.contexts) == list(WORDS)
    assert not told.refused
    assert len(told.audit) == 3 * len(WORDS)


def test_who_reads_history_alone_has_all_of_it_in_the_answers(table: pd.DataFrame) -> None:
    own = table.loc["history"]
    for name in ("answers_only", "no_instructions", "length_control", "misleading", "no_stimulus", "swapped_options"):
        assert own.loc[WORDS[name], "cost"] == 0
        assert own.loc[WORDS[name], ["share", "share_low", "share_high"]].tolist() == [1, 1, 1]
    assert own.loc["no history", "share"] == pytest.approx(0, abs=1e-6)


def test_who_reads_the_stimulus_alone_has_none_of_it_in_the_answers(table: pd.DataFrame) -> None:
    own = table.loc["stimulus"]
    assert own.loc["answers only", "share"] == pytest.approx(0, abs=1e-6)
    for name in ("no_instructions", "no_history", "foreign_history", "shuffled_trials"):
        assert own.loc[WORDS[name], "cost"] == pytest.approx(0, abs=1e-6)
        assert own.loc[WORDS[name], "share"] == pytest.approx(1, abs=1e-6)
    assert own.loc["another trial's stimulus", "cost_low"] > 0


def test_swapped_options_worsen_the_task_reader_alone(table: pd.DataFrame) -> None:
    """Of 8 choices 6 are of the cheaper trip: read the other way round, 4 net ones lose log(0.8 / 0.2)."""
    cost = table.xs("options swapped", level="condition")["cost"]
    assert cost["stimulus"] == pytest.approx(4 / 8 * math.log(4), abs=1e-6)
    assert cost["history"] == cost["nothing"] == 0


def test_who_follows_a_misleading_instruction_gains_where_people_answer_as_it_says(table: pd.DataFrame) -> None:
    """Without an instruction it bets on neither: log(0.8 / 0.5) is gained, log(0.5 / 0.2) lost."""
    assert table.loc[("instructions", NAMED), "cost"] == pytest.approx(math.log(0.5 / 0.8), abs=1e-6)
    assert table.loc[("instructions", OTHERS), "cost"] == pytest.approx(math.log(0.5 / 0.2), abs=1e-6)
    for reader in ("history", "stimulus", "nothing"):
        assert table.loc[(reader, NAMED), "cost"] == table.loc[(reader, OTHERS), "cost"] == 0


def test_who_is_no_better_than_chance_has_no_share(table: pd.DataFrame) -> None:
    assert table.loc["nothing", "share"].isna().all()


def test_why_no_share_is_given_is_the_true_reason() -> None:
    told_MR = np.array([[0.1, 0.2, 0.3, 0.2]])

    def said(person_R: list[int], n_options: float, told_MR: np.ndarray = told_MR) -> str:
        both = ToldTwice(np.array(person_R), np.full(4, math.log(n_options)), told_MR, told_MR + 0.1)
        (sentence,) = verdicts({"no history": {"m": costs({"a": both}, 200)[0]}}, 1)
        return sentence

    assert "what is left with no history: share = 0.797" in said([0, 1, 2, 3], 2)  # (log 2 - 0.3) / (log 2 - 0.2)
    assert "as it is not known what could have been answered" in said([0, 1, 2, 3], math.nan)
    assert "(chance − NLL = +0.493 nats per response; no interval: it needs two people or more)" in said([0] * 4, 2)
    assert "better than chance (chance − NLL = -1.31 nats per response, 95 %" in said([0, 1, 2, 3], 2, 10 * told_MR)


def test_costs_are_plain_means_and_models_are_paired() -> None:
    draw = np.random.default_rng(3)
    person_R, chance_R = np.repeat(np.arange(5), 7), np.full(35, math.log(3))
    chance_R[::5] = np.nan
    told_MR = draw.uniform(0, 1, (2, 35))
    new_MR = told_MR + draw.uniform(-0.2, 0.5, (2, 35))
    both = {"a": ToldTwice(person_R, chance_R, told_MR, new_MR), "b": ToldTwice(person_R, chance_R, told_MR, told_MR)}
    first, second = costs(both, 300)
    assert first[1].cost.value == pytest.approx((new_MR[0] - told_MR[0]).mean())
    assert second[0].more.value == pytest.approx(((new_MR[1] - told_MR[1]) - (new_MR[0] - told_MR[0])).mean() / 2)
    known = np.isfinite(chance_R)
    above, below = ((math.log(3) - one[0][known]).mean() for one in (new_MR, told_MR))
    assert first[1].share.value == pytest.approx(above / below)
    assert first[0].share.value == pytest.approx((above + below) / 2 / below)
    assert first[0].share_these.low < first[0].share.value < first[0].share_these.high
    assert first[2].share.value == 1


def test_a_condition_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match="'upside_down' is no condition"):
        ShortcutArguments(["m"], "out", ["upside_down"])


def test_a_folder_of_scores_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(UserError, match="is a folder of scores"):
        ShortcutArguments([str(tmp_path)], "out")


def test_a_condition_that_does_not_apply_to_all_studies_says_to_which() -> None:
    draw = np.random.default_rng(0)

    def costs_in(*studies: str) -> dict[str, list[Cost]]:
        told_MR = 0.3 + 0.1 * draw.random((2, 80))
        one = ToldTwice(np.repeat(np.arange(8), 10), np.full(80, math.log(2)), told_MR, told_MR + 0.1)
        return dict(zip("ab", costs(dict.fromkeys(studies, one), 50), strict=True))

    found = {
        "no instructions": costs_in("r", "s", "t", "u"),
        "no history": costs_in("r"),
        "answers only": costs_in("r", "s"),
        "options swapped": costs_in("s"),
    }
    said, _, less = verdicts(found, 4)
    assert "what is left with no instructions: share" in said
    assert "what is left with no history in r alone: share" in said
    assert "what is left with answers only (2 of 4 studies): share" in said
    assert "options swapped in s alone, task use" in said
    assert less.startswith("task use of b minus that of a in s alone: ")
    (shown, _) = shown_tables(shortcut_table(found))
    assert [row[-1].text for row in shown.rows][::2] == ["4", "1", "2", "1"]


def test_a_condition_that_the_window_cuts_whole_is_named(tmp_path: Path) -> None:
    def run(name: str, *responses: int) -> dict[str, ScoreRun]:
        rows = pd.DataFrame(
            {"study": "s", "experiment": "e", "participant": str(person), "response": r, "nll": 0.5, "n_options": 2}
            for person in range(2)
            for r in responses
        )
        table = rows.astype({"response": "int32", "n_options": "int32", "nll": "float32"})
        return {"m": read_run(table_folder(tmp_path / name, table))}

    told, cut = run("told", 0, 1), {"foreign_history": run("cut", 7)}
    found = find_shortcuts(told, {"no_history": run("kept", 1), **cut}, EstimateArguments(resamples=20))
    assert found.record["verdicts"][-1] == (
        "no response was scored by every model as told and with another's history; see --max_length"
    )
    with pytest.raises(UserError, match="as told and with another's history; raise --max_length"):
        find_shortcuts(told, cut, EstimateArguments(resamples=20))
