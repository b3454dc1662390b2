"""The driver's memory hardly grows with the data: sources, plan, store and table stream."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.commands import run_python
from helpers.json_files import run_json
from helpers.transcripts import write_transcripts

DRIVER = '''
"""Score n sessions through everything but the model, whose answers are at hand; print the peak of anonymous memory."""
import json, sys, threading, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from centaurlab.results import table
from centaurlab.scoring import order, store
from centaurlab.scoring import worker as module
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from centaurlab.scoring.scorer import ScoredSession
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.data.source import DataArguments

model, data, output = sys.argv[1:4]
if sys.argv[4:]:  # what is held at once is held from a few sessions on
    order.WINDOW_CHARACTERS, table._ROW_GROUP_SESSIONS = 2_000_000, 1_000
connect = store._connect


def connect_without_waiting_for_the_disk(path):
    part = connect(path)
    part.execute("PRAGMA synchronous = OFF")
    part.execute("PRAGMA cache_size = -256")
    return part


store._connect = connect_without_waiting_for_the_disk


class AtHand:
    """In the scorer's place: as many numbers as it would give."""

    notes = ()
    check = SimpleNamespace(notes=())

    def __init__(self, *_: object) -> None: ...

    def can_be_packed(self, *_: object) -> bool:
        return False

    def score_pieces(self, pieces):
        encoding = pieces[0].encoding
        n = len(encoding.start_R)
        nll_R, nll_RK = np.ones(n, np.float32), np.ones((n, len(TEMPERATURES)), np.float32)
        ones_R = np.ones(n, np.int32)
        scores = ResponseScores(
            encoding.response_R, ones_R, nll_R, np.ones(n, np.int8), nll_R, nll_RK, ones_R * 2, nll_R, nll_RK,
            np.zeros(n, np.int64),
        )
        return ScoredSession(scores, len(encoding.input_ids_T))


def anonymous_bytes() -> int:
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


peak = 0


def watch() -> None:
    global peak
    while True:
        peak = max(peak, anonymous_bytes())
        time.sleep(0.05)


module.SessionScorer, module.load_model = AtHand, lambda *_: None
module.self_check = lambda *_: None
threading.Thread(target=watch, daemon=True).start()
started = time.process_time()
measure(
    ModelArguments(model),
    DataArguments(data, participants="train"),
    ScoreArguments(output),
)
print(json.dumps({"peak": peak, "seconds": time.process_time() - started}))
'''


def cost(folder: Path, model: Path, n_sessions: int, early: bool = False) -> tuple[int, float]:
    """Bytes at the peak of scoring ``n_sessions``, the held-out left out, in a process of its own; its CPU seconds.

    ``early``: with small buffers, so that few sessions fill them.
    """

    def sessions() -> Iterator[dict[str, object]]:
        for i in range(n_sessions):
            text = f"You see two machines. Person {i} presses <<{'JF'[i % 2]}>> and then <<{'JF'[i % 3 % 2]}>>."
            yield {"text": text, "study": f"study{i % 40}", "experiment": "exp1.csv", "participant": i}

    data = write_transcripts(folder / "data.jsonl", sessions())
    script = folder / "driver.py"
    script.write_text(DRIVER)
    arguments = (model, data, folder / "run", *["early"] * early)
    done = run_python(script, *arguments, timeout=1200, CENTAURLAB_CACHE=str(folder / "cache"))
    assert done.returncode == 0, done.stderr
    assert run_json(folder / "run")["coverage"]["study0"]["scored"] > 0
    found = json.loads(done.stdout.splitlines()[-1])
    return int(found["peak"]), float(found["seconds"])


@pytest.mark.slow
def test_half_a_kilobyte_is_kept_of_a_session_and_each_takes_as_long_as_the_others(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    """Its key, the digests of its text and options, and its part of what says who is who."""
    few, few_seconds = cost(tmp_path / "few", tiny_llama_dir, 3_000, early=True)
    many, many_seconds = cost(tmp_path / "many", tiny_llama_dir, 24_000, early=True)
    assert many - few < 512 * (24_000 - 3_000)
    assert many_seconds < 1.5 * 8 * few_seconds, "what other programs do to a processor's speed is less than that"
