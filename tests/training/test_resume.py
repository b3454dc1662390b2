"""A run goes on from a checkpoint that is whole."""

from pathlib import Path

from centaurlab.training.resume import last_complete_checkpoint


def test_torn_checkpoints_are_not_complete(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    assert last_complete_checkpoint(tmp_path) is None
