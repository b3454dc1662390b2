"""An adapter is judged on its own base, loaded as in training."""

from pathlib import Path
from typing import Any

import pytest

from centaurlab.data.held_out import Split
from centaurlab.jobs.generalisation import check_base
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.runtime.errors import UserError
from helpers.tiny_models import named, save_tiny_llama


def test_an_adapter_of_another_base_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    base, other = named(tiny_llama_dir), named(save_tiny_llama(tmp_path, seed=1))
    split = Split("starter", None, frozenset(), frozenset(), (), 0, identify(base).fingerprint)
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
    split = Split(
        "starter", None, frozenset(), frozenset(), (), 0, identify(ModelArguments(name, **trained)).fingerprint
    )
    with pytest.raises(UserError, match=f"trained on {name} loaded with {options}; load it here in the same way"):
        check_base(split, ModelArguments(name, **given), Path("runs/centaur"))
