"""What is given to the hub is what others need, and no text, command or folder of the machine that gives it."""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
from huggingface_hub import DatasetCard, ModelCard

from centaurlab.cli.push import COMMAND
from centaurlab.results.run import read_run
from centaurlab.results.table import NLL
from centaurlab.training.model_card import card_data
from helpers.adapters import save_adapter
from helpers.json_files import edit_json, read_json
from helpers.servers import SilentHandler, serving


class Taker(SilentHandler):
    """A hub that takes repositories and commits, from whoever has the token."""

    made: list[dict[str, object]]
    taken: dict[str, bytes]

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.refuse("", 401)
        else:
            self.reply({"id": "lab/centaur", "sha": "0" * 40, "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.refuse("", 401)
        elif self.path == "/api/repos/create":
            self.made.append(json.loads(body))
            at = f"http://{self.headers['Host']}/" + ("datasets/" if self.made[-1].get("type") == "dataset" else "")
            self.reply({"url": f"{at}{self.made[-1]['organization']}/{self.made[-1]['name']}"})
        elif self.path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.reply({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        else:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.taken[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            repository = self.path.partition("/commit/")[0].replace("/api/models", "").replace("/api", "")
            at = f"http://{self.headers['Host']}{repository}/commit/{'0' * 40}"
            self.reply({"success": True, "commitOid": "0" * 40, "commitUrl": at, "hookOutput": ""})

    def reply(self, answer: object) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Taker]]:
    handler = type("Handler", (Taker,), {"made": [], "taken": {}})
    with serving(handler) as address:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        yield handler


@pytest.fixture
def adapter(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    """An adapter on a local base with a card, a checkpoint, and who was trained on."""
    folder = tmp_path / "centaur"
    save_adapter(tiny_llama_dir, folder)
    (folder / "README.md").write_text(f"---\n{card_data(str(tiny_llama_dir), 'starter', ())}\n---\n\n# A Centaur\n")
    (folder / "split.json").write_text('{"train": ["person 7"], "base_weights": "ab"}')
    (folder / "config.json").write_text("{}")
    return folder


def push(*words: object) -> None:
    COMMAND.main([str(word) for word in words])


def test_an_adapter_is_given_with_its_base_named_as_others_know_it(hub: type[Taker], adapter: Path) -> None:
    push(adapter, "--repo", "lab/centaur", "--base_model", "lab/tiny", "--private")
    (made,) = hub.made
    assert (made["organization"], made["name"]) == ("lab", "centaur")
    assert "private" in json.dumps(made)
    assert set(hub.taken) == {"adapter_config.json", "adapter_model.safetensors", "README.md", "made_of.json"}
    assert json.loads(hub.taken["made_of.json"]) == {"base_weights": "ab"}, "and nobody's name"
    assert hub.taken["adapter_model.safetensors"] == (adapter / "adapter_model.safetensors").read_bytes()
    assert json.loads(hub.taken["adapter_config.json"])["base_model_name_or_path"] == "lab/tiny"
    assert ModelCard(hub.taken["README.md"].decode()).data.base_model == "lab/tiny"
    assert str(adapter.parent).encode() not in b"".join(hub.taken.values())
    assert "lab/tiny" not in (adapter / "adapter_config.json").read_text(), "the run itself is left as it is"


def test_what_nobody_else_could_load_is_not_given(
    hub: type[Taker], adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        ([adapter, "--repo", "lab/centaur"], "which nobody else has; give the base's id on the hub as --base_model"),
        ([adapter, "--repo", "not a name"], "--repo:"),
        ([tmp_path, "--repo", "lab/centaur"], "holds neither an adapter nor scores"),
    ):
        with pytest.raises(SystemExit) as ended:
            push(*words)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
    assert not hub.made


def test_a_dry_run_gives_nothing_and_a_wrong_token_is_said(
    hub: type[Taker], adapter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (adapter, "--repo", "lab/centaur", "--base_model", "lab/tiny")
    push(*asked, "--dry_run")
    said = capsys.readouterr().out
    assert f"adapter_model.safetensors: {os.path.getsize(adapter / 'adapter_model.safetensors'):,} bytes" in said
    assert "dry run: nothing was given to the model repository lab/centaur" in said
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(SystemExit) as ended:
        push(*asked)
    assert ended.value.code == 2
    assert "log in with a token that may write: hf auth login" in capsys.readouterr().err
    assert not hub.made
    assert not hub.taken


def test_scores_are_given_without_texts_command_or_folders_and_are_read_again(
    hub: type[Taker], runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(runs["score0"], tmp_path / "run"))
    edit_json(run / "run.json", command=["centaurlab", "--secret-folder", str(tmp_path)], notes=["a text"])
    sample = {"sessions": 5, "of_sessions": 80, "studies": 1, "quantity": "NLL", "value": 1.2, "half_width": 0.1}
    sample |= {"target": 0.1, "reached": True, "studies_left_out": [], "covers": "the people of each study"}
    failed = ["a2020, e, 7: <<a text>>"]
    edit_json(run / "run.json", sample=sample, engine="vllm 0.1", failed_sessions=failed)
    push(run, "--repo", "lab/scores")
    assert hub.made[0]["type"] == "dataset"
    assert set(hub.taken) == {"scores.parquet", "run.json", "README.md"}
    assert not any(word in hub.taken["run.json"] for word in (b"secret-folder", b"a text", str(tmp_path).encode()))
    there = tmp_path / "there"
    there.mkdir()
    for name, content in hub.taken.items():
        (there / name).write_bytes(content)
    assert read_run(there).table([NLL]).equals(read_run(run).table([NLL]))
    given = read_run(there)
    assert (given.record.sample, given.record.engine, given.n_failed) == (sample, "vllm 0.1", 1)
    card = hub.taken["README.md"].decode()
    assert "A sample: 5 of 80 sessions scored; NLL over 1 study 1.2" in card
    assert "1 session could not be scored." in card
    assert read_json(there / "run.json")["model"]["fingerprint"] == read_json(run / "run.json")["model"]["fingerprint"]
    assert DatasetCard(hub.taken["README.md"].decode()).data.configs[0]["data_files"] == "scores.parquet"

    table = pd.read_parquet(run / "scores.parquet").assign(text="You see <<J>>")
    table.to_parquet(run / "scores.parquet")
    edit_json(run / "run.json", files={})
    with pytest.raises(SystemExit):
        push(run, "--repo", "lab/scores")
    assert "has columns of somebody else's (text), which may hold texts" in capsys.readouterr().err
