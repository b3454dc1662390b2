import json
import math
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from centaurlab.baselines import marginal_nll, uniform_nll
from centaurlab.errors import UserError
from centaurlab.generalisation import Split, check_base, read_split, standard_error
from centaurlab.models import ModelArguments, identify
from centaurlab.transcripts import Transcript
from conftest import save_tiny_llama

SCRIPT = Path(__file__).parents[1] / "eval" / "generalisation.py"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the script in this process, in an empty folder; what it says on stderr when it fails, else on stdout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("centaurlab.allocator.keep_freed_memory", lambda: None)

    def run_script(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments), "--report_to", "none"])
        capsys.readouterr()
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit:
            return capsys.readouterr().err
        return capsys.readouterr().out

    return run_script


def told(*answers: str) -> Transcript:
    return Transcript(" ".join(f"You say <<{answer}>>." for answer in answers), "study", "exp", "1")


def test_uniform_spreads_over_the_answers_of_each_session() -> None:
    expected = (2 * math.log(2) + 4 * math.log(4)) / 6
    assert uniform_nll([told("J", "F"), told("a", "b", "c", "d")]) == pytest.approx(expected)


def test_marginal_uses_training_frequencies_with_room_for_other_answers() -> None:
    training, test = [told("J", "J", "J", "F")], [told("J", "F", "never seen")]
    expected = -(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3
    assert marginal_nll(training, test) == pytest.approx(expected)


def test_without_training_participants_there_is_no_marginal() -> None:
    assert math.isnan(marginal_nll([], [told("J")]))


def test_standard_error_over_studies() -> None:
    assert standard_error([1.0, 3.0, float("nan")]) == pytest.approx(1.0)
    assert math.isnan(standard_error([1.0]))


def test_an_adapter_of_another_base_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    base, other = ModelArguments(str(tiny_llama_dir)), ModelArguments(str(save_tiny_llama(tmp_path, seed=1)))
    split = Split(("alpha",), (), 0, identify(base).fingerprint)
    check_base(split, base, Path("runs/centaur"))
    with pytest.raises(UserError, match=f"runs/centaur was trained on another base than {tmp_path}"):
        check_base(split, other, Path("runs/centaur"))


@pytest.mark.parametrize(
    ("trained", "given", "options"),
    [
        ({"load_in_4bit": True}, {}, "--dtype bfloat16 --load_in_4bit"),
        ({"load_in_8bit": True}, {"load_in_4bit": True}, "--dtype bfloat16 --load_in_8bit"),
        ({"dtype": "float32"}, {"load_in_4bit": True}, "--dtype float32 and no quantisation"),
    ],
)
def test_a_base_loaded_otherwise_than_in_training_is_told_from_another_base(
    trained: dict[str, Any], given: dict[str, Any], options: str, tiny_llama_dir: Path
) -> None:
    name = str(tiny_llama_dir)
    split = Split(("alpha",), (), 0, identify(ModelArguments(name, **trained)).fingerprint)
    with pytest.raises(UserError, match=f"trained on {name} loaded with {options}; load it here in the same way"):
        check_base(split, ModelArguments(name, **given), Path("runs/centaur"))


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split\.json"):
        read_split(tmp_path)


def test_an_adapter_that_is_not_there_is_named_and_not_made(run: Run, tmp_path: Path) -> None:
    for name in ("runs/typo", "org/adapter-of-the-hub"):
        error = run("--base", "any", "--adapter", name, "--output_dir", "out")
        assert error.startswith(f"error: there is no folder {name}; --adapter")
    assert not list(tmp_path.iterdir())


def test_an_adapter_is_read_from_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = {"studies": {}, "novel_studies": ["beta"], "split_seed": 3, "base_fingerprint": "abc"}
    (tmp_path / "split.json").write_text(json.dumps(split))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert read_split(tmp_path).split_seed == 3
