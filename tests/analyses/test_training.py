"""The section on a training run says what its record says, and nothing of what is no number."""

import math
from pathlib import Path

from centaurlab.analyses.finished import Run
from centaurlab.analyses.training import training_section
from centaurlab.runs.folder import RunFolder


def test_a_study_that_diverged_is_named_and_left_out_of_the_means(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train")
    for step, nll in enumerate((0.9, 0.7, math.nan)):
        folder.log({"train/loss": nll, "eval/nll": nll}, step)
    change = {"change": -0.5, "change_low": -0.6, "change_high": -0.4}
    none = dict.fromkeys(change)
    held_out = [
        {"study": "shelf", "participants": 9, "responses": 90, "nll_base": 2.0, "nll": 1.0, **change},
        {"study": "bandit", "participants": 9, "responses": 90, "nll_base": 6.0, "nll": None, **none},
    ]
    about = {"job": "train", "base": {"name": "tiny"}, "held_out": held_out, "steps": 3, "studies": ["shelf", "bandit"]}
    _, lacking, said = training_section(Run(tmp_path, about, {})).answers
    assert "not a number in bandit" in lacking
    assert "fell in 1 of 1 studies" in said
    assert "others show no clear change. Mean" in said
    one_person = held_out[0] | {"study": "recall", "participants": 1, "change_low": None, "change_high": None}
    *_, said = training_section(Run(tmp_path, about | {"held_out": [held_out[0], one_person]}, {})).answers
    assert "fell in 1 of 2 studies" in said
    assert "others show no clear change, or have no interval (1). Mean" in said
    *_, said = training_section(Run(tmp_path, about, {})).answers
    assert "2.000 nats per response before, 1.000 after" in said
