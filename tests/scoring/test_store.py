"""A stored result comes back as it was, survives a kill, and is never believed when the disk changed its file."""

import json
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.data.transcripts import text_digest
from centaurlab.results.record import Coverage
from centaurlab.runs.integrity import read_sealed, sealed
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import store as module
from centaurlab.scoring.store import ScoreStore, SessionResult
from helpers.score_folders import random_scores

IDENTITY = {"model": {"name": "tiny", "fingerprint": "abc"}, "protocol": "full", "max_tokens": 2048}


def result(seed: int, n: int = 4) -> SessionResult:
    return SessionResult(random_scores(seed, n), Coverage(n + 2, n, 1, 1, 3, 2), 100 + seed, 50, 0.25)


def same(a: SessionResult | None, b: SessionResult) -> bool:
    if a is None:
        return False
    columns = zip(vars(a.scores).values(), vars(b.scores).values(), strict=True)
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in columns) and (
        (a.coverage, a.n_tokens, a.n_computed, a.seconds) == (b.coverage, b.n_tokens, b.n_computed, b.seconds)
    )


def digest(seed: int) -> str:
    return text_digest(f"session {seed}")


def filled(folder: Path, n: int, writer: int = 0) -> None:
    store = ScoreStore(folder, IDENTITY, writer)
    store.add_together({digest(seed): result(seed) for seed in range(n)})
    store.close()


def test_results_of_one_pass_wait_for_the_disk_once_and_are_kept_all_or_none(tmp_path: Path) -> None:
    store, said = ScoreStore(tmp_path, IDENTITY), list[str]()
    store._own.set_trace_callback(said.append)
    store.add_together({digest(seed): result(seed) for seed in range(7)})
    assert said.count("COMMIT") == 1
    with pytest.raises(AttributeError):
        store.add_together({digest(7): result(7), digest(8): None})  # type: ignore[dict-item]
    store.close()
    again = ScoreStore(tmp_path, IDENTITY)
    assert len(again.known) == 7
    assert all(same(again.find(digest(seed)), result(seed)) for seed in range(7))


def test_a_result_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Which knew nothing of smaller chunks."""
    filled(tmp_path, 1)
    store = ScoreStore(tmp_path, IDENTITY)
    (about, blob) = store._own.execute("SELECT about, scores FROM results").fetchone()
    older = json.dumps(json.loads(about)[:-1])
    store._own.execute("UPDATE results SET about = ?, checksum = ?", (older, module._checksum(digest(0), older, blob)))
    assert same(store.find(digest(0)), result(0))
    store.close()


def test_many_results_take_little_more_than_their_bytes(tmp_path: Path) -> None:
    """Where rows are kept in the order of their digests, they take three times as much, and more work with each."""
    store = ScoreStore(tmp_path, IDENTITY)
    store.add_together({digest(seed): result(seed, 8) for seed in range(1_000)})
    (n_bytes,) = store._own.execute(
        "SELECT sum(length(digest) + length(about) + length(scores)) FROM results"
    ).fetchone()
    assert (tmp_path / "process-0.sqlite").stat().st_size < 1.5 * n_bytes
    store.close()


def test_a_store_of_an_older_version_is_read_and_continued(tmp_path: Path) -> None:
    """Whose rows lie in the order of their digests, without a number."""
    filled(tmp_path, 5)
    columns = "(digest TEXT PRIMARY KEY, about TEXT, scores BLOB, checksum INTEGER) WITHOUT ROWID"
    old = sqlite3.connect(tmp_path / "process-0.sqlite")
    old.executescript(
        f"ALTER TABLE results RENAME TO new; CREATE TABLE results {columns};"
        "INSERT INTO results SELECT * FROM new; DROP TABLE new; VACUUM"
    )
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        old.execute("SELECT rowid FROM results")
    old.close()
    store = ScoreStore(tmp_path, IDENTITY)
    assert (len(store.known), store.damaged) == (5, [])
    store.add_together({digest(seed): result(seed) for seed in (4, 5, 6)})
    store.close()
    again = ScoreStore(tmp_path, IDENTITY)
    assert (len(again.known), again.damaged) == (7, [])
    assert all(same(again.find(digest(seed)), result(seed)) for seed in range(7))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 30), seed=st.integers(0, 1000))
def test_a_result_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, n: int, seed: int) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = ScoreStore(folder, IDENTITY)
    assert digest(seed) not in store.known
    store.add(digest(seed), result(seed, n))
    store.close()
    again = ScoreStore(folder, IDENTITY)
    assert digest(seed) in again.known
    assert same(again.find(digest(seed)), result(seed, n))
    again.close()


def test_what_was_added_survives_a_kill(tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            store = ScoreStore(folder, IDENTITY)
            for seed in range(100_000):
                store.add(digest(seed), result(seed))
                os.write(sender, b"x")
        told = 0
        while told < 5 + 7 * attempt:
            told += len(os.read(receiver, 1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(sender)
        while more := os.read(receiver, 1000):
            told += len(more)
        os.close(receiver)
        store = ScoreStore(folder, IDENTITY)
        assert store.damaged == []
        assert all(same(store.find(digest(seed)), result(seed)) for seed in range(told))
        store.close()


def test_no_changed_byte_is_believed(tmp_path: Path) -> None:
    """Whatever byte of the file changes, each result is right or computed again, and can be stored again."""
    n = 12
    filled(tmp_path / "whole", n)
    whole = (tmp_path / "whole" / "process-0.sqlite").read_bytes()
    draw = random.Random(0)
    noticed = 0
    for attempt in range(60):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        damaged = bytearray(whole)
        place = draw.randrange(len(damaged))
        damaged[place] ^= draw.randrange(1, 256)
        (folder / "process-0.sqlite").write_bytes(damaged)
        store = ScoreStore(folder, IDENTITY)
        lost = [seed for seed in range(n) if digest(seed) not in store.known]
        assert all(same(store.find(digest(seed)), result(seed)) for seed in range(n) if seed not in lost)
        assert store.damaged or not lost, f"byte {place}: a loss without a word"
        noticed += bool(store.damaged)
        store.add_together({digest(seed): result(seed) for seed in lost})
        store.close()
        mended = ScoreStore(folder, IDENTITY)
        assert all(same(mended.find(digest(seed)), result(seed)) for seed in range(n))
        mended.close()
    assert noticed > 20


def test_a_kill_while_a_damaged_file_is_set_aside_loses_no_other(tmp_path: Path) -> None:
    filled(tmp_path, 20)
    filled(tmp_path, 30, writer=1)
    content = bytearray((tmp_path / "process-0.sqlite").read_bytes())
    content[-100] ^= 1
    (tmp_path / "process-0.sqlite").write_bytes(content)
    if (child := os.fork()) == 0:
        replace = Path.replace

        def replace_and_die(path: Path, target: Path) -> None:
            replace(path, target)
            os.kill(os.getpid(), signal.SIGKILL)

        Path.replace = replace_and_die
        try:
            ScoreStore(tmp_path, IDENTITY)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    store = ScoreStore(tmp_path, IDENTITY)
    assert (len(store.known), store.damaged) == (30, [])
    assert (tmp_path / "process-0.damaged").read_bytes() == content
    store.close()


def test_a_journal_of_a_file_set_aside_is_not_played_into_the_next(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    (tmp_path / "process-0.sqlite").write_bytes(b"no database" * 1000)
    (tmp_path / "process-0.sqlite-journal").write_bytes(b"of another" * 1000)
    store = ScoreStore(tmp_path, IDENTITY)
    store.add(digest(5), result(5))
    store.close()
    again = ScoreStore(tmp_path, IDENTITY)
    assert (len(again.known), again.damaged) == (1, [])
    assert same(again.find(digest(5)), result(5))
    again.close()


def test_a_lost_page_sets_the_file_aside_and_keeps_its_neighbours(tmp_path: Path) -> None:
    filled(tmp_path, 200)
    filled(tmp_path, 3, writer=1)
    content = bytearray((tmp_path / "process-0.sqlite").read_bytes())
    leaf = next(p for p in range(len(content) // 2 // 4096 * 4096, len(content), 4096) if content[p] == 10)
    content[leaf : leaf + 4096] = random.Random(0).randbytes(4096)
    (tmp_path / "process-0.sqlite").write_bytes(content)
    store = ScoreStore(tmp_path, IDENTITY)
    assert [seed for seed in range(200) if digest(seed) in store.known] == [0, 1, 2]
    assert [seed for seed in range(200) if store.find(digest(seed))] == [0, 1, 2]
    assert "process-0.sqlite is damaged" in store.damaged[0]
    assert "set aside as process-0.damaged" in store.damaged[0]
    assert (tmp_path / "process-0.damaged").read_bytes() == content
    store.close()


def test_what_the_disk_changes_under_an_open_store_is_said(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    store = ScoreStore(tmp_path, IDENTITY)
    with sqlite3.connect(tmp_path / "process-0.sqlite") as part:
        part.execute("UPDATE results SET about = about || ' ' WHERE digest = ?", (digest(1),))
    part.close()
    assert same(store.find(digest(0)), result(0))
    with pytest.raises(UserError, match=f"process-0.sqlite is damaged .result {digest(1)[:12]}"):
        store.find(digest(1))
    store.close()


def test_a_file_whose_table_lost_a_column_is_put_aside(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    content = (tmp_path / "process-0.sqlite").read_bytes()
    assert content.count(b"about TEXT, scores BLOB") == 1
    lost = content.replace(b"about TEXT, scores BLOB", b"about TEXT\x20 scores BLOB")
    (tmp_path / "process-0.sqlite").write_bytes(lost)
    store = ScoreStore(tmp_path, IDENTITY)
    assert "process-0.sqlite is damaged" in store.damaged[0]
    store.close()


def test_a_file_that_is_no_store_is_put_aside(tmp_path: Path) -> None:
    filled(tmp_path, 2, writer=1)
    (tmp_path / "process-0.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 100)
    store = ScoreStore(tmp_path, IDENTITY)
    assert [digest(seed) in store.known for seed in range(3)] == [True, True, False]
    assert "process-0.sqlite is damaged" in store.damaged[0]
    store.close()


def test_a_result_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    with sqlite3.connect(tmp_path / "process-0.sqlite") as part:
        (blob,) = part.execute("SELECT scores FROM results WHERE digest = ?", (digest(1),)).fetchone()
        part.execute("UPDATE results SET scores = ? WHERE digest = ?", (b"\xff" + blob[1:], digest(1)))
    part.close()
    store = ScoreStore(tmp_path, IDENTITY)
    assert not len(store.known), "the file is set aside whole"
    assert len(store.damaged) == 1
    assert digest(1)[:12] in store.damaged[0]
    store.close()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("protocol", "paper", "scores with protocol 'full', not 'paper'; give another --output_dir"),
        ("max_tokens", 512, "max_tokens 2048, not 512"),
        ("model", {"name": "tiny", "fingerprint": "f"}, "scores with another model: other weights or settings; give"),
        ("model", {"name": "b", "fingerprint": "f"}, "another model: name 'tiny', not 'b'; other weights or settings"),
    ],
)
def test_scores_of_something_else_are_refused_and_the_difference_named(
    tmp_path: Path, name: str, value: object, said: str
) -> None:
    filled(tmp_path / "run" / "store", 1)
    with pytest.raises(UserError, match=said):
        ScoreStore(tmp_path / "run" / "store", IDENTITY | {name: value})


def test_a_damaged_identity_costs_no_results_and_is_written_anew(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    path = tmp_path / "identity.json"
    sound = path.read_text()
    for content in (sound[:-9], sound.replace("tiny", "tine"), ""):
        path.write_text(content)
        with pytest.raises(UserError, match="holds scores with protocol 'full', not 'paper'"):
            ScoreStore(tmp_path, IDENTITY | {"protocol": "paper"})
        path.write_text(content)
        store = ScoreStore(tmp_path, IDENTITY)
        assert "identity.json is damaged" in store.damaged[0]
        assert all(same(store.find(digest(seed)), result(seed)) for seed in range(3))
        assert path.read_text() == sound
        store.close()


def test_results_without_their_identity_are_not_taken_for_others(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    (tmp_path / "identity.json").unlink()
    with pytest.raises(UserError, match="holds scores with protocol"):
        ScoreStore(tmp_path, IDENTITY | {"protocol": "paper"})


def test_a_row_changes_its_layout_only_with_its_format() -> None:
    assert (module._FORMAT, module._ROW.itemsize) == (5, 129), "raise _FORMAT with every change of _ROW"


def test_rows_of_another_layout_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    known = read_sealed(tmp_path / "identity.json")
    (tmp_path / "identity.json").write_text(json.dumps(sealed(known | {"format": module._FORMAT - 1})))
    with pytest.raises(UserError, match="format"):
        ScoreStore(tmp_path, IDENTITY)


def test_two_writers_share_a_folder_and_read_each_other(tmp_path: Path) -> None:
    first, second = ScoreStore(tmp_path, IDENTITY, 0), ScoreStore(tmp_path, IDENTITY, 1)
    for seed in range(20):
        (first if seed % 2 else second).add(digest(seed), result(seed))
    first.close()
    second.close()
    both = ScoreStore(tmp_path, IDENTITY)
    assert all(same(both.find(digest(seed)), result(seed)) for seed in range(20))
    both.close()


def test_writers_in_processes_of_their_own_do_not_block_one_another(tmp_path: Path) -> None:
    children = []
    together = time.monotonic() + 0.2
    for writer in range(3):
        if (child := os.fork()) == 0:
            status = 1
            try:
                while time.monotonic() < together:
                    pass
                store = ScoreStore(tmp_path, IDENTITY, writer)
                for seed in range(writer, 60, 3):
                    store.add(digest(seed), result(seed))
                store.close()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    store = ScoreStore(tmp_path, IDENTITY)
    assert all(same(store.find(digest(seed)), result(seed)) for seed in range(60))
    store.close()


def test_a_store_where_a_file_stands_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        ScoreStore(tmp_path / "store", IDENTITY)
