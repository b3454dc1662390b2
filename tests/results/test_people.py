"""A table of scores says whose sessions are one person's, and whatever draws people draws them as one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from centaurlab.analyses.diagnosis import diagnose
from centaurlab.analyses.learning import learning
from centaurlab.analyses.unmatched import compare_unmatched
from centaurlab.data.transcripts import SessionKey
from centaurlab.library.comparing import estimate
from centaurlab.results.joined import join_scores
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.results.table import (
    ITEM,
    PERSON,
    SCORE_SCHEMA,
    ResponseScores,
    by_person,
    person_names,
    read_scores,
    write_scores,
)
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.means import mean_nlls
from centaurlab.stats.sums import compare
from helpers.score_folders import random_scores, table_folder

N_PEOPLE, N_DAYS, N_TRIALS = 8, 3, 6
Keyed = list[tuple[SessionKey, ResponseScores]]


def sessions(seed: int) -> Keyed:
    """People who differ much, each on some days; of a second study everybody has one session."""
    draw = np.random.default_rng(seed)
    found = []
    for study, n_days in (("s", N_DAYS), ("t", 1)):
        for person in range(N_PEOPLE):
            level = draw.normal(scale=2)
            for day in range(n_days):
                scores = random_scores(draw.integers(1 << 30), N_TRIALS)
                nll_R = (12 + level + draw.normal(scale=0.1, size=N_TRIALS)).astype(np.float32)
                few = {"n_options_R": np.full(N_TRIALS, 2, np.int32), "greedy_correct_R": np.ones(N_TRIALS, np.int8)}
                found.append((SessionKey(study, f"day{day}", str(person)), replace(scores, nll_R=nll_R, **few)))
    return found


def person_of(key: SessionKey) -> str | None:
    return key.participant if key.study == "s" else None


def runs(folder: Path, person: bool) -> tuple[ScoreRun, ScoreRun]:
    """Two models' scores of the same sessions, by the writer of the package."""
    found = []
    for seed, name in enumerate(("base", "post")):
        write_scores(
            table_folder(folder / name, pd.DataFrame({"study": ["s", "t"]})),
            sessions(seed),
            person_of if person else None,
        )
        found.append(read_run(folder / name))
    return found[0], found[1]


@pytest.fixture(scope="module")
def of_people(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScoreRun, ScoreRun]:
    return runs(tmp_path_factory.mktemp("people"), person=True)


@pytest.fixture(scope="module")
def of_sessions(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScoreRun, ScoreRun]:
    return runs(tmp_path_factory.mktemp("sessions"), person=False)


def test_the_person_is_written_where_somebody_has_several_sessions_and_read_back(of_people, of_sessions) -> None:
    people, plain = (read_scores(run.folder, if_there=[ITEM]) for run, _ in (of_people, of_sessions))
    assert plain.schema == SCORE_SCHEMA
    assert people.column(PERSON).to_pylist() == [
        person_of(key) for key, scores in sessions(0) for _ in scores.response_R
    ]
    assert people.drop_columns(PERSON).equals(plain)
    assert PERSON in read_scores(of_people[0].folder, []).column_names
    assert by_person(plain) is plain


def test_without_the_column_the_file_is_what_it_was(of_people, of_sessions) -> None:
    with pq.ParquetFile(of_sessions[0].folder / "scores.parquet") as file:
        assert file.schema_arrow == SCORE_SCHEMA


def test_the_responses_of_one_person_join_under_one_number(of_people, of_sessions) -> None:
    joined, plain = (join_scores(*(run.folder for run in pair)) for pair in (of_people, of_sessions))
    assert [len(set(scores.participant_R)) for scores in plain] == [N_PEOPLE * N_DAYS, N_PEOPLE]
    assert [len(set(scores.participant_R)) for scores in joined] == [N_PEOPLE, N_PEOPLE]
    assert len(joined[0].participant_R) == N_PEOPLE * N_DAYS * N_TRIALS
    expected = [int(key.participant) for key, scores in sessions(0) if key.study == "s" for _ in scores.response_R]
    assert len(set(zip(joined[0].participant_R, expected, strict=True))) == N_PEOPLE
    for ours, theirs in zip(joined, plain, strict=True):
        assert (ours.nll_base_R == theirs.nll_base_R).all()
    assert (joined[1].participant_R == plain[1].participant_R).all()


def test_a_person_is_nobody_whose_session_has_that_name_and_no_experiment(tmp_path: Path) -> None:
    """1 and 2 are sessions of person "3", and 3 one of somebody with that session alone."""
    keys = [SessionKey("s", "", name) for name in "123"]
    named = {keys[0]: "3", keys[1]: "3"}
    folder = table_folder(tmp_path / "run", pd.DataFrame({"study": ["s"]}))
    write_scores(folder, ((key, random_scores(n, 2)) for n, key in enumerate(keys)), named.get)
    table = read_scores(folder)
    who = by_person(table).select(["study", "experiment", "participant"]).to_pylist()
    assert len({tuple(row.values()) for row in who}) == 2
    frame = table.to_pandas().astype(dict.fromkeys(("study", "experiment", "participant"), str))
    assert frame.groupby(person_names(frame))["participant"].unique().map(list).tolist() == [["1", "2"], ["3"]]


def width(one: Estimate) -> float:
    return one.high - one.low


def by_cluster(people: Estimate, sessions: Estimate) -> None:
    """The same value, with an interval that knows of three sessions as alike as copies."""
    assert people.value == pytest.approx(sessions.value, abs=1e-9)
    assert 1.4 < width(people) / width(sessions) < 2.3


def test_means_draw_people(of_people, of_sessions) -> None:
    ours, theirs = (mean_nlls(run.table()) for run, _ in (of_people, of_sessions))
    assert [mean.n_participants for mean in ours] == [2 * N_PEOPLE, N_PEOPLE, N_PEOPLE]
    by_cluster(ours[1].nll, theirs[1].nll)
    assert ours[2] == theirs[2]
    as_one = [(SessionKey(k.study, "" if k.study == "s" else k.experiment, k.participant), s) for k, s in sessions(0)]
    table = pa.concat_tables([_table(key, scores) for key, scores in as_one]).unify_dictionaries()
    assert mean_nlls(table) == ours


def _table(key: SessionKey, scores: ResponseScores) -> pa.Table:
    n = len(scores.response_R)
    names = {"study": key.study, "experiment": key.experiment, "participant": key.participant}
    columns = {name: pa.array([value] * n).dictionary_encode() for name, value in names.items()}
    right = pa.array(scores.greedy_correct_R == 1)
    return pa.table(columns | {"nll": pa.array(scores.nll_R), "greedy_correct": right})


def test_effects_draw_people(of_people, of_sessions) -> None:
    ours, theirs = (estimate_effects([compare(*pair)]) for pair in (of_people, of_sessions))
    found = {effect.name: effect for effect in ours if effect.level == "study"}
    plain = {effect.name: effect for effect in theirs if effect.level == "study"}
    assert {name: effect.n_participants for name, effect in found.items()} == {"s": N_PEOPLE, "t": N_PEOPLE}
    by_cluster(found["s"].nll_difference, plain["s"].nll_difference)
    assert found["t"] == plain["t"]


def test_so_do_tables_of_a_notebook(of_people) -> None:
    first, second = (run.table().to_pandas() for run in of_people)
    found = estimate(first, second)
    assert found.overall.n_participants == 2 * N_PEOPLE
    plain = estimate(first.drop(columns=PERSON), second.drop(columns=PERSON))
    assert plain.overall.n_participants == N_PEOPLE * (N_DAYS + 1)


def test_slopes_are_within_sessions_and_draw_people(of_people, of_sessions) -> None:
    ours, theirs = (learning(run.table().to_pandas()) for run, _ in (of_people, of_sessions))
    assert ours.slopes["s"].value == pytest.approx(theirs.slopes["s"].value, abs=1e-9)
    assert ours.slopes["t"] == theirs.slopes["t"]
    counts = {point.study: point.n_participants for point in ours.points}
    assert counts == {"s": N_PEOPLE, "t": N_PEOPLE}
    first = [next(point.nll for point in of.points if point.study == "s") for of in (ours, theirs)]
    assert 1.3 < width(first[0]) / width(first[1]) < 2.5


def test_diagnoses_draw_people(of_people, of_sessions) -> None:
    ours, theirs = (diagnose(*pair, n_resamples=500) for pair in (of_people, of_sessions))
    assert {row.study: row.participants for row in ours.rows if row.study in "st"} == {"s": N_PEOPLE, "t": N_PEOPLE}
    assert {row.study: row.participants for row in theirs.rows if row.study in "st"} == {
        "s": N_PEOPLE * N_DAYS,
        "t": N_PEOPLE,
    }


def test_groups_of_different_people_draw_people(of_people, of_sessions) -> None:
    ours, theirs = (
        compare_unmatched("x", Contrast("a", "b"), *pair, 500, 0).effects for pair in (of_people, of_sessions)
    )
    assert [effect.n_participants for effect in ours] == [2 * N_PEOPLE, N_PEOPLE, N_PEOPLE]
    assert theirs[0].n_participants == N_PEOPLE * (N_DAYS + 1)
    assert ours[2].d == theirs[2].d
