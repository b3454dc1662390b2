"""Every command: found by its name, with whole groups of options, its examples, and --help without torch."""

import time
from dataclasses import fields

import pytest

from centaurlab.cli.commands import COMMANDS, find_command
from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import LoadArguments
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.arguments import option_parser
from centaurlab.scoring.arguments import ScoringArguments
from centaurlab.stats.arguments import EstimateArguments
from helpers.commands import run_python

HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "mlflow", "wandb", "datasets"}
SECONDS = 2.0
TRAINING = ("train", "posttrain")
"""Their options of loading and tracking are TRL's."""
WITH_SEEDS_OF_THEIR_OWN = ("precision", *TRAINING)


def names(group: type) -> set[str]:
    return {option.name for option in fields(group) if option.init}


def options(command: str) -> set[str]:
    found = find_command(command)
    return {action.dest for action in option_parser(found.arguments, found.description)._actions}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("group", "sign"),
    [
        (LoadArguments, "attn_implementation"),
        (LoadArguments, "load_in_4bit"),
        (DataArguments, "max_participants"),
        (DataArguments, "studies"),
        (ScoringArguments, "protocol"),
        (ScoringArguments, "chunk_tokens"),
        (EstimateArguments, "resamples"),
        (TrackingArguments, "report_to"),
    ],
)
def test_whoever_takes_one_option_of_a_group_takes_all(command: str, group: type, sign: str) -> None:
    taken = options(command)
    if sign not in taken or (command in TRAINING and group in (LoadArguments, TrackingArguments, DataArguments)):
        return
    assert names(group) <= taken


@pytest.mark.parametrize(
    "command", ["misalignment", "diagnosis", "generalisation", "trajectory", "frontier", "learning"]
)
def test_a_comparison_of_models_loads_reads_scores_and_estimates(command: str) -> None:
    if command in COMMANDS:
        groups = (LoadArguments, DataArguments, ScoringArguments, EstimateArguments, TrackingArguments)
        assert set().union(*map(names, groups)) <= options(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_of_the_command_itself(command: str) -> None:
    description = find_command(command).description
    examples = description.partition("example")[2]
    assert f"centaurlab {command}" in examples


def test_no_command_needs_torch_to_say_what_it_takes() -> None:
    program = (
        "import sys\n"
        "from centaurlab.cli.commands import COMMANDS, find_command\n"
        "from centaurlab.runtime.arguments import option_parser\n"
        "for name in COMMANDS:\n"
        "    found = find_command(name)\n"
        "    option_parser(found.arguments, found.description).format_help()\n"
        f"    heavy = {HEAVY!r} & set(sys.modules)\n"
        "    assert not heavy, f'{name} loads {heavy}'\n"
    )
    done = run_python("-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_in_under_two_seconds(command: str) -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = run_python("-m", "centaurlab", *command.split(), "--help")
        times.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: centaurlab {command}")
    assert min(times) < SECONDS


def test_what_only_training_takes_is_described_as_trl_has_it() -> None:
    """The options that --help of training shows without TRL exist in TRL."""
    from centaurlab.training.options import UsualSettings

    for command in TRAINING:
        parsed = find_command(command).all_arguments
        assert parsed is not None
        assert names(UsualSettings) <= set().union(*map(names, parsed()))
