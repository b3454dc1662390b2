"""What must stay secret is masked wherever it stands, and nothing else is."""

import pytest

from centaurlab.runtime.secrets import is_secret_name, mask_secrets, masked, masked_command

TOKEN = "hf_" + "aB3" * 9
KEY = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize("name", ["token", "HF_TOKEN", "--hub_token", "--api-key", "apikey", "WANDB_API_KEY",
                                  "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "client_secret"])  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["eos_token", "pad_token", "bos_token", "max_tokens", "tokenizer", "keys", "token_ids"]
)
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


def test_a_secret_is_known_by_its_looks() -> None:
    assert mask_secrets(f"use {TOKEN}, please") == "use ***, please"
    assert mask_secrets("https://me:s3same@lab.org/x@y") == "https://***@lab.org/x@y"
    assert mask_secrets("runs/hf_checkpoints at http://lab.org:80/") == "runs/hf_checkpoints at http://lab.org:80/"


def test_a_secret_is_known_by_the_variable_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "open sesame")
    monkeypatch.setenv("SOME_API_KEY", "open sesame, now")
    monkeypatch.setenv("OTHER_TOKEN", "1")
    assert mask_secrets("1: open sesame, now or open sesame") == "1: *** or ***"


def test_json_is_masked_by_text_and_by_name() -> None:
    content = {"a": [TOKEN, 1, None], "b": {"hub_token": "x", "eos_token": "</s>", "n_tokens": 3}, "c": (1.5, True)}
    assert masked(content) == {
        "a": ["***", 1, None],
        "b": {"hub_token": "***", "eos_token": "</s>", "n_tokens": 3},
        "c": [1.5, True],
    }


def test_a_command_can_be_shown() -> None:
    argv = ["train.py", "--hub_token", "x", "--api-key=y", "--data", "starter", f"--tag={KEY}", "--eos_token", "</s>"]
    assert masked_command(argv) == [
        *("train.py", "--hub_token", "***", "--api-key=***", "--data", "starter", "--tag=***", "--eos_token", "</s>")
    ]
