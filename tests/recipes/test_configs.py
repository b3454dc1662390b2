"""Every configuration parses, and builds its trainer with a tiny model in place of the one it names."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from trl import ModelConfig, SFTConfig

from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError
from centaurlab.training.arguments import CentaurConfig
from centaurlab.training.centaur import prepare_run
from centaurlab.training.options import CentaurArguments
from helpers.paths import RECIPES
from helpers.transcripts import sessions_of, write_transcripts

CENTAURS = sorted(path for path in (RECIPES / "configs").glob("*.yaml") if "novel_studies" in path.read_text()
                  or path.name.startswith("centaur"))  # fmt: skip
TYPES = [CentaurArguments, SFTConfig, ModelConfig]


@pytest.fixture
def sessions(tmp_path: Path) -> dict[str, str]:
    """Files of eight people to train on and four others to test on, in each of two studies."""

    def text(_: str, person: int) -> str:
        return f"Choose. You choose <<{'JF'[person % 2]}>>. You choose <<J>>."

    return {
        name: str(write_transcripts(tmp_path / f"{name}.jsonl", sessions_of(("alpha", "beta"), people, text)))
        for name, people in (("train", range(8)), ("test", range(8, 12)))
    }


@pytest.mark.parametrize("config", CENTAURS, ids=lambda path: path.stem)
def test_config_builds_its_trainer(
    config: Path, sessions: dict[str, str], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    overrides = {"data": sessions["train"], "model_name_or_path": tiny_llama_dir, "output_dir": tmp_path / "run"}
    if "eval_data" in yaml.safe_load(config.read_text()):
        overrides["eval_data"] = sessions["test"]
    if "novel_studies" in yaml.safe_load(config.read_text()):
        overrides["novel_studies"] = "beta"
    argv = [piece for name, value in overrides.items() for piece in (f"--{name}", str(value))]
    run = prepare_run(*parse_arguments(TYPES, None, ["--config", str(config), *argv, "--use_cpu", "true"]))
    assert len(run.trainer.train_dataset) > 0
    lora = run.trainer.model.peft_config["default"]
    assert (lora.r, lora.lora_alpha, lora.lora_dropout, lora.use_rslora) == (8, 8, 0.0, True)


def test_published_hyper_parameters_of_70b() -> None:
    config = RECIPES / "configs" / "centaur-llama-3.1-70b.yaml"
    _, training, model = parse_arguments(TYPES, None, ["--config", str(config), "--use_cpu", "true"])
    assert (training.learning_rate, training.warmup_steps, training.weight_decay) == (5e-5, 100, 0.01)
    assert (training.num_train_epochs, training.max_length, training.seed) == (5, 32768, 100)
    assert training.per_device_train_batch_size * training.gradient_accumulation_steps == 32
    assert model.load_in_4bit


def test_a_misspelt_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("lora_rr: 8\n")
    with pytest.raises(UserError, match="did you mean 'lora_r'"):
        parse_arguments(TYPES, None, ["--config", str(tmp_path / "c.yaml")])


@pytest.mark.parametrize("config", sorted((RECIPES / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_configs_parse(config: Path) -> None:
    assert load_config_from_file(str(config)).num_processes >= 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["mlflow"]),
        (["--report_to", "none"], []),
        (["--report_to", "mlflow", "wandb"], ["mlflow", "wandb"]),
        (["--report_to", "all"], ["mlflow", "wandb"]),
    ],
)
def test_trainings_report_to_mlflow_unless_told_otherwise(
    given: list[str], expected: list[str], tmp_path: Path
) -> None:
    (training,) = parse_arguments([CentaurConfig], "", ["--output_dir", str(tmp_path), "--bf16", "false", *given])
    assert training.tracking.trackers == expected
