"""What recurs over people at each response is that of the plan, whatever study or module a text was scored for."""

import hashlib
from pathlib import Path

from centaurlab.data.source import DataArguments
from centaurlab.results.table import read_scores
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from helpers.tiny_models import named
from helpers.transcripts import write_transcripts

TEXT = "Choose a slot machine, J or F.\nRound 1. You press <<J>>.\nRound 2. You press <<F>>.\n"
MODULE = """
from centaurlab.catalog.studies import Ask, Study, search

def ask(segment, past, opening):
    n = search(r"Round (\\d+)\\. You press $", segment)[1]
    return Ask(options=("J", "F"), item={item})

STUDIES = tuple(Study(name, ask, first_trial=r"Round 1\\.", feedback="none") for name in ("one2026", "two2026"))
"""


def test_a_run_that_goes_on_with_another_module_has_the_items_of_that(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Nothing is scored again, and equal texts of two studies, of which one result is kept, have items of their own."""
    people = [{"text": TEXT, "experiment": f"{study}/e.csv", "participant": 1} for study in ("one2026", "two2026")]
    data = str(write_transcripts(tmp_path / "people.jsonl", people))

    def items(item: str) -> list[object]:
        module = tmp_path / "module.py"
        module.write_text(MODULE.format(item=item))
        asked = DataArguments(data, study_module=str(module))
        scored = measure(named(tiny_llama_dir), asked, ScoreArguments(str(tmp_path / "scores")))
        found: list[object] = read_scores(scored, ["item"]).column("item").to_pylist()
        return found

    assert items("None") == [None] * 4
    names = [f"{study}\0choice: round {n}" for study in ("one2026", "two2026") for n in (1, 2)]
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    assert items('f"round {n}"') == [int.from_bytes(digest) >> 1 for digest in digests]
