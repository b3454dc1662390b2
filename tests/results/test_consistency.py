"""A table that no digest proves: what a flipped bit makes of it is refused wherever the record or itself denies it.

The oracle is the table as it was written, from logits that are drawn here.
"""

import random
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import log_softmax, logsumexp

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.record import Coverage, ModelIdentity, ScoredData, ScoredProtocol, ScoredStudy, ScoreRecord
from centaurlab.results.table import TEMPERATURES, ResponseScores, read_scores, write_scores
from centaurlab.runtime.errors import UserError
from helpers.bits import flipped
from helpers.json_files import write_json

N = 12
PEOPLE = [SessionKey(study, "exp1", f"person {number}") for study in ("shelf", "bandit") for number in range(5)]


def drawn_scores(seed: int) -> ResponseScores:
    """Scores of responses of one or two tokens, by logits over 20; the first three are the options."""
    draw = np.random.default_rng(seed)
    logits_RTV = 3 * draw.normal(size=(N, 2, 20))
    token_RT, n_tokens_R = draw.integers(0, 3, (N, 2)), draw.integers(1, 3, N)
    log_p = {t: log_softmax(logits_RTV / t, axis=-1) for t in (1.0, *TEMPERATURES)}
    counted_RT = np.arange(2) < n_tokens_R[:, None]
    own = {t: -(np.take_along_axis(p, token_RT[..., None], -1)[..., 0] * counted_RT).sum(1) for t, p in log_p.items()}
    options = {t: -logsumexp(p[:, 0, :3], axis=-1) for t, p in log_p.items()}
    greedy_R = np.where(n_tokens_R == 1, logits_RTV[:, 0].argmax(-1) == token_RT[:, 0], -1)
    entropy_R = -(np.exp(log_p[1.0][:, 0]) * log_p[1.0][:, 0]).sum(-1)
    return ResponseScores(
        np.arange(N, dtype=np.int32), n_tokens_R.astype(np.int32), own[1.0].astype(np.float32),
        greedy_R.astype(np.int8), entropy_R.astype(np.float32),
        np.stack([own[t] for t in TEMPERATURES], 1).astype(np.float32), np.full(N, 3, np.int32),
        options[1.0].astype(np.float32), np.stack([options[t] for t in TEMPERATURES], 1).astype(np.float32),
        np.zeros(N, np.int64),
    )  # fmt: skip


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A run as older versions left it: no digests, and pages without checksums."""
    write_scores(tmp_path, [(key, drawn_scores(seed)) for seed, key in enumerate(PEOPLE)])
    table = pq.read_table(tmp_path / "scores.parquet")
    pq.write_table(table, tmp_path / "scores.parquet", compression="none")
    frame = table.to_pandas()
    studies = {
        study: ScoredStudy(
            f"{study}00",
            5,
            5,
            5 * N,
            rows["nll"].astype("float64").mean(),
            rows["greedy_correct"].astype("float64").mean(),
        )
        for study, rows in frame.astype({"study": str}).groupby("study")
    }
    record = ScoreRecord(
        ModelIdentity("tiny"),
        ScoredProtocol("full", 512),
        ScoredData("people", "f", studies),
        {study: Coverage(5 * N, 5 * N) for study in studies},
    )
    write_json(tmp_path / "run.json", record.as_dict())
    return tmp_path


def test_a_sound_table_is_read_as_it_is(old_run: Path) -> None:
    assert read_scores(old_run).equals(read_scores(old_run))
    assert len(read_scores(old_run, ["entropy"])) == len(PEOPLE) * N


@pytest.mark.parametrize(
    ("column", "change", "sentence"),
    [
        ("nll", lambda x: x + 1e-5, r"the mean of its column nll in shelf is .*, and run\.json says"),
        ("nll", lambda x: -x, "its column nll holds a number below 0"),
        ("greedy_correct", lambda x: not x, "the mean of its column accuracy in shelf"),
        ("entropy", lambda x: -x, "its column entropy holds a number below 0"),
        ("option_nll", lambda x: x + 40, "less likely than the one that was chosen"),
        ("nll_t2.00", lambda x: x + 9, "no change of temperature"),
        ("n_tokens", lambda x: x - 9, "its column n_tokens holds a number below 1"),
        ("response", lambda x: x + 1, "are not numbered one after another"),
        ("participant", lambda x: "person 3", "comes twice"),
        ("study", lambda x: "shelg", "run.json knows no such study"),
    ],
)
def test_a_number_that_cannot_be_is_refused(old_run: Path, column: str, change, sentence: str) -> None:  # type: ignore[no-untyped-def]
    table = pq.read_table(old_run / "scores.parquet")
    values = table.column(column).to_pylist()
    at = next(i for i, value in enumerate(values) if value is not None)
    values[at] = change(values[at])
    kind = table.schema.field(column).type
    plain = pa.array(values, kind.value_type if pa.types.is_dictionary(kind) else kind)
    changed = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain
    pq.write_table(table.set_column(table.column_names.index(column), column, changed), old_run / "scores.parquet")
    with pytest.raises(UserError, match=rf"scores\.parquet is damaged \(.*{sentence}"):
        read_scores(old_run, ["nll"])


def test_options_may_be_likelier_than_certain_where_the_answer_begins_another(old_run: Path) -> None:
    """NLL − log of the answer's share, which includes the closing marker: 1 where 10 is all but certain."""
    table = pq.read_table(old_run / "scores.parquet")
    at = table.column_names.index("option_nll")
    below = pa.array([-3.0] * len(table), table.schema.field("option_nll").type)
    pq.write_table(table.set_column(at, "option_nll", below), old_run / "scores.parquet")
    assert set(read_scores(old_run, ["option_nll"])["option_nll"].to_pylist()) == {-3.0}


def test_missing_responses_are_noticed(old_run: Path) -> None:
    pq.write_table(pq.read_table(old_run / "scores.parquet").slice(0, 100), old_run / "scores.parquet")
    with pytest.raises(UserError, match=r"it holds 40 responses of bandit, of which run\.json says 60"):
        read_scores(old_run)


def test_no_flipped_bit_gives_another_nll(old_run: Path) -> None:
    """Neither in the file, nor in any of the 32 bits of a number."""
    path, choose = old_run / "scores.parquet", random.Random(0)
    sound, want = path.read_bytes(), read_scores(old_run, ["nll"])["nll"]
    numbers = [sound.find(struct.pack("<f", value)) for value in want.to_pylist()[:3]]
    assert min(numbers) > 0
    bits = [(at, bit) for at in numbers for bit in range(32)]
    single = [
        (int.from_bytes(sound, "little") ^ (1 << (8 * at + bit))).to_bytes(len(sound), "little") for at, bit in bits
    ]
    n_refused = 0
    for content in [*single, *(flipped(sound, choose) for _ in range(100))]:
        path.write_bytes(content)
        try:
            assert read_scores(old_run, ["nll"])["nll"].equals(want)
        except UserError as error:
            assert "is damaged" in str(error)  # noqa: PT017 (either is right)
            n_refused += 1
    assert n_refused >= len(single)
