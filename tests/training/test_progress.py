"""A training shows how far it is: bars that nothing is written across, and sentences in place of dicts."""

from pathlib import Path

import pytest

from centaurlab.training.options import CentaurArguments
from helpers.trainings import start_centaur, start_posttraining
from helpers.transcripts import write_bandits


@pytest.mark.parametrize("has_bars", [True, False])
def test_logs_are_sentences_beside_the_bar(
    has_bars: bool, tiny_llama_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = CentaurArguments(data=str(write_bandits(tmp_path / "people.jsonl", 6)))
    settings = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "disable_tqdm": not has_bars}
    run = start_centaur(tiny_llama_dir, tmp_path / "run", people, **settings)
    capsys.readouterr()
    run.trainer.train()
    printed = capsys.readouterr()
    said = [line.partition(" nats")[0].rpartition(" ")[0] for line in printed.out.splitlines()]
    evaluated, losses = "step 2 of 2: NLL of held-out people", ["step 1 of 2: loss", "step 2 of 2: loss"]
    assert said == ([evaluated] if has_bars else [*losses, evaluated])
    assert "{" not in printed.out + printed.err
    assert ("training: 100%" in printed.err and "loss " in printed.err) == has_bars


def test_a_post_training_says_no_dicts_either(
    tiny_llama_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_posttraining(tiny_llama_dir, tmp_path / "run", method="sft", max_steps=1, disable_tqdm=False)
    capsys.readouterr()
    run.trainer.train()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "{" not in printed.err
    assert "training: 100%" in printed.err
