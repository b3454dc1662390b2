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
