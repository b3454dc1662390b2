"""A trajectory runs over a run's checkpoints from the base model that the run names."""

import json
from pathlib import Path

import pytest

from centaurlab.jobs.trajectory import base_model, checkpoints
from centaurlab.runtime.errors import UserError


def test_checkpoints_come_in_the_order_of_their_steps_and_torn_ones_not_at_all(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step != 3:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert [step for step, _ in checkpoints(tmp_path)] == [20, 100]
    with pytest.raises(UserError, match="holds no checkpoints"):
        checkpoints(tmp_path / "checkpoint-3")


def test_the_base_model_is_the_one_that_the_run_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="or name --base"):
        base_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"model_name_or_path": "some/base"}}))
    assert base_model(tmp_path) == "some/base"
