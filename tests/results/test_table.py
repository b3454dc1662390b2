"""The table of scores has one reader: whoever wrote it, the types are those of the schema, and damage is one error."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.joined import join_scores, join_tables
from centaurlab.results.table import (
    GREEDY_CORRECT,
    ITEM,
    MEASURES,
    NLL,
    RESPONSE,
    SCORE_SCHEMA,
    SESSION,
    TEMPERATURES,
    ResponseScores,
    at_temperature,
    read_batches,
    read_scores,
    write_scores,
)
from centaurlab.runtime.errors import UserError
from helpers.json_files import write_json
from helpers.score_folders import random_scores

FRAME = pd.DataFrame(
    {
        "study": ["s", "s", "t"],
        "experiment": "e",
        "participant": ["1", "2", "1"],
        "response": [0, 0, 3],
        "nll": [0.5, 1.25, 2.0],
        "greedy_correct": pd.array([True, None, False], "boolean"),
        "note": ["of", "somebody", "else"],
    }
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scores = replace(
        random_scores(0, 3),
        greedy_correct_R=np.array([1, 0, -1], np.int8),
        n_options_R=np.array([0, 2, 2], np.int32),
    )
    write_scores(tmp_path, [(SessionKey("s", "e", "1"), scores)])
    table = read_scores(tmp_path, if_there=[ITEM])
    assert table.schema == SCORE_SCHEMA
    assert table.column(NLL).to_numpy().tobytes() == scores.nll_R.tobytes()
    for k, temperature in enumerate(TEMPERATURES):
        assert table.column(at_temperature(NLL, temperature)).to_pylist() == scores.nll_RK[:, k].tolist()
    assert table.column(GREEDY_CORRECT).to_pylist() == [True, False, None]
    assert table.column("n_options").to_pylist() == [None, 2, 2]


def test_a_table_of_another_program_is_read_with_the_types_of_the_schema(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "scores.parquet")
    table = read_scores(tmp_path, [NLL, GREEDY_CORRECT])
    assert table.column_names == [*SESSION, RESPONSE, NLL, GREEDY_CORRECT]
    assert all(table.schema.field(name).type == SCORE_SCHEMA.field(name).type for name in table.column_names)
    assert table.column("participant").to_pylist() == ["1", "2", "1"]
    assert table.column(NLL).to_pylist() == [0.5, 1.25, 2.0]


def break_(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"PAR1 this is not a table")


def text_nlls(path: Path) -> None:
    FRAME.assign(nll="low").to_parquet(path)


def large_number(path: Path) -> None:
    FRAME.assign(response=2**40).to_parquet(path)


READERS = (lambda folder: read_scores(folder, [NLL]), lambda folder: list(read_batches(folder, [NLL])))


@pytest.mark.parametrize("read", [*READERS, lambda folder: join_scores(folder, folder)])
@pytest.mark.parametrize("damage", [break_, overwrite, text_nlls, large_number, Path.unlink])
def test_a_damaged_table_is_one_error_whoever_reads_it(
    damage: Callable[[Path], None], read: Callable[[Path], object], tmp_path: Path
) -> None:
    FRAME.to_parquet(tmp_path / "scores.parquet")
    damage(tmp_path / "scores.parquet")
    with pytest.raises(
        UserError, match=r"scores\.parquet is damaged \(.+\); delete it and give its 'centaurlab score'"
    ):
        read(tmp_path)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(UserError, match=r"scores\.parquet has no column 'n_tokens': .*score again into another folder"):
        read_scores(tmp_path, MEASURES)
    FRAME.drop(columns="response").to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(UserError, match="has no column 'response'"):
        read_scores(tmp_path, [NLL])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_an_nll_that_is_no_number_is_read_by_nobody(tmp_path: Path, value: float | None) -> None:
    FRAME.assign(nll=pd.array([0.5, 1.0, value], "Float64")).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(
        UserError, match=rf"{tmp_path}: the NLL of response 3 of participant '1' of 't' .* --dtype float32"
    ):
        read_scores(tmp_path, [NLL])
    assert read_scores(tmp_path, [GREEDY_CORRECT]).num_rows == 3


def test_tables_join_as_their_folders_do(tmp_path: Path) -> None:
    for name, more in (("base", 0.0), ("post", 1.0)):
        (tmp_path / name).mkdir()
        FRAME.assign(nll=FRAME["nll"] + more).iloc[:: 1 - 2 * int(more)].to_parquet(tmp_path / name / "scores.parquet")
    of_folders = join_scores(tmp_path / "base", tmp_path / "post")
    of_tables = join_tables(
        read_scores(tmp_path / "base", [NLL]), read_scores(tmp_path / "post", [NLL, GREEDY_CORRECT])
    )
    assert [study.study for study in of_folders] == ["s", "t"]
    for one, other in zip(of_folders, of_tables, strict=True):
        assert (one.nll_post_R - one.nll_base_R == 1).all()
        assert (one.nll_base_R == other.nll_base_R).all()
        assert (one.participant_R == other.participant_R).all()
    with pytest.raises(UserError, match="a model and another have no response in common"):
        join_tables(
            *(read_scores(tmp_path / "base", [NLL])[rows] for rows in (slice(0, 1), slice(1, 2))),
            ("a model", "another"),
        )


def keyed(n: int) -> list[tuple[SessionKey, ResponseScores]]:
    return [(SessionKey("bandit" if i % 2 else "stroop", "../exp 1.csv", str(i)), random_scores(i)) for i in range(n)]


def test_the_table_has_a_row_per_response_in_the_order_given(tmp_path: Path) -> None:
    write_scores(tmp_path, keyed(5))
    table = pq.read_table(tmp_path / "scores.parquet").to_pandas()
    assert [*table] == [
        *("study", "experiment", "participant", "response", "n_tokens", "nll", "greedy_correct", "entropy"),
        *("nll_t0.50", "nll_t0.59", "nll_t0.71", "nll_t0.84", "nll_t1.19", "nll_t1.41", "nll_t1.68", "nll_t2.00"),
        *("nll_t2.38", "nll_t2.83", "nll_t3.36", "nll_t4.00", "n_options", "option_nll"),
        *("option_nll_t0.50", "option_nll_t0.59", "option_nll_t0.71", "option_nll_t0.84", "option_nll_t1.19"),
        *("option_nll_t1.41", "option_nll_t1.68", "option_nll_t2.00", "option_nll_t2.38", "option_nll_t2.83"),
        *("option_nll_t3.36", "option_nll_t4.00", "item"),
    ]
    expected = [
        (key.study, key.participant, r, scores.nll_R[r], scores.nll_RK[r, 11])
        for key, scores in keyed(5)
        for r in range(len(scores.nll_R))
    ]
    columns = ["study", "participant", "response", "nll", "nll_t4.00"]
    assert [tuple(row) for row in table[columns].itertuples(index=False)] == expected
    greedy = np.concatenate([scores.greedy_correct_R for _, scores in keyed(5)])
    assert [None if g < 0 else bool(g) for g in greedy] == table["greedy_correct"].tolist()


def test_equal_results_give_equal_bytes_and_an_interrupted_write_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(tmp_path, keyed(5))
    before = path.read_bytes()
    write_scores(tmp_path, iter(keyed(5)))
    assert path.read_bytes() == before

    def interrupted() -> Iterator[tuple[SessionKey, ResponseScores]]:
        yield from keyed(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scores(tmp_path, interrupted())
    assert path.read_bytes() == before


def test_no_sessions_give_an_empty_table(tmp_path: Path) -> None:
    write_scores(tmp_path, [])
    assert pq.read_table(tmp_path / "scores.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"nll": [0.5, -1.25, 2.0]}, r"the NLL of response \d of .* is -1\.25; an NLL is -log of a probability, never"),
        ({"nll": [0.5, 3.4e38, 2.0]}, r"the NLL of response \d of .* is 3\.39.*e\+38; score again, with --dtype"),
        ({"nll": [True, False, True]}, "its column 'nll' holds bool; NLLs are numbers, in nats"),
        ({"nll": ["0,5", "1,25", "2,0"]}, r"scores\.parquet is damaged \(Failed to parse string: '\d,\d"),
        ({"participant": ["1", None, "1"]}, "a row has no participant; every row names study, experiment,"),
        ({"participant": [1.0, 2.0, 1.0]}, "its column 'participant' holds double; names are texts"),
        ({"response": pd.array([0, None, 3], "Int64")}, "a row has no response; every row names study, experiment,"),
        ({"response": [0, -2, 3]}, "a response has a number below zero; number those of a session from 0"),
        ({"model": ["m", "m", "other"]}, r"holds rows of several models \(m, other\); write a table each"),
    ],
)
def test_what_is_no_nll_of_one_models_responses_is_refused(changed: dict, said: str, tmp_path: Path) -> None:
    FRAME.assign(**changed).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(UserError, match=said):
        read_scores(tmp_path, [NLL])


def test_names_may_be_whole_numbers(tmp_path: Path) -> None:
    FRAME.assign(participant=[1, 2, 1], model="m").to_parquet(tmp_path / "scores.parquet")
    assert read_scores(tmp_path, [NLL]).column("participant").to_pylist() == ["1", "2", "1"]


def test_responses_that_are_numbered_otherwise_are_not_compared_with_their_neighbours(tmp_path: Path) -> None:
    rows = [("s", "e", person, response) for person in ("1", "2") for response in range(5)]
    first = pd.DataFrame(rows, columns=[*SESSION, RESPONSE]).assign(nll=0.5)
    frames = (first, first.assign(response=first["response"] + 1), first[first["response"] > 0])
    for name, frame in zip("abc", frames, strict=True):
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "scores.parquet")
    a, b, c = (tmp_path / name for name in "abc")
    with pytest.raises(UserError, match=r"/b numbers the responses of every session 1 higher than .*/a; number them"):
        join_scores(a, b)
    with pytest.raises(UserError, match=r"/a numbers the responses of every session 1 lower than .*/b; number them"):
        join_scores(b, a)
    assert join_scores(a, c)[0].unmatched_base == 2  # the first of each is missing, and the others are the same


@pytest.mark.parametrize(
    ("nlls", "said"),
    [
        (lambda nll, of: np.exp(-nll), "none of its NLLs is above 1; if these are probabilities, write -log of each"),
        (
            lambda nll, of: nll.groupby(of).cumsum(),
            "its NLLs rise in every session from each response to the next; if these are sums",
        ),
        (
            lambda nll, of: nll.groupby(of).transform("sum"),
            "its NLLs are the same throughout every session; if these are sums of a session",
        ),
        (lambda nll, of: nll, ""),
        (lambda nll, of: np.log(2 + of.astype(int) % 3), ""),  # guessing, of which options differ by person
    ],
)
def test_what_looks_like_no_nll_is_doubted_aloud(
    nlls: Callable, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(0)
    rows = [("s", "e", str(person), response) for person in range(30) for response in range(6)]
    good = pd.DataFrame(rows, columns=[*SESSION, RESPONSE]).assign(nll=draw.gamma(2, 0.5, 180))
    for name, frame in (("a", good), ("b", good.assign(nll=nlls(good["nll"], good["participant"])))):
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "scores.parquet")
    join_scores(tmp_path / "a", tmp_path / "b")
    printed = capsys.readouterr().err
    assert (f"note: of {tmp_path / 'b'}, {said}" in printed) if said else not printed
    write_json(tmp_path / "b" / "run.json", {"centaurlab": "0.2.0"})
    join_scores(tmp_path / "a", tmp_path / "b")
    assert not capsys.readouterr().err, "our own tables hold NLLs"
