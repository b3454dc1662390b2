"""Of TRL's settings, those that would not hold here are put right or refused."""

from pathlib import Path

import pytest
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState

from centaurlab.runtime.errors import UserError
from centaurlab.training.arguments import CentaurConfig
from centaurlab.training.options import CentaurArguments
from helpers.trainings import start_centaur, start_posttraining


def test_the_best_checkpoint_is_that_of_the_lowest_nll(tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "metric_for_best_model": "nll", "eval_strategy": "steps"}
    config = CentaurConfig(str(tmp_path), report_to="none", bf16=False, eval_steps=1, save_steps=1, **best)
    stopping, control = EarlyStoppingCallback(1), TrainerControl()
    state = TrainerState(best_metric=0.7)
    stopping.on_evaluate(config, state, control, {"eval_nll": 0.6})
    assert not control.should_training_stop
    stopping.on_evaluate(config, state, control, {"eval_nll": 0.8})
    assert control.should_training_stop
    with pytest.raises(UserError, match="greater_is_better is true"):
        CentaurConfig(str(tmp_path), report_to="none", bf16=False, greater_is_better=True)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL's of some of these values
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label_smoothing_factor", 0.1),
        ("loss_type", "dft"),
        ("completion_only_loss", False),
        ("truncation_mode", "keep_end"),
        ("packing_strategy", "wrapped"),
    ],
)
def test_what_would_have_no_effect_is_refused(name: str, value: object, tmp_path: Path) -> None:
    said = f"{name}: {value} is not supported; leave it out"
    with pytest.raises(UserError, match=said):
        start_centaur(tmp_path / "none", tmp_path / "run", CentaurArguments("none.jsonl"), **{name: value})
    for method in ("sft", "dpo"):
        with pytest.raises(UserError, match=said):
            start_posttraining(tmp_path / "none", tmp_path / "run", method=method, **{name: value})
