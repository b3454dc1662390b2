"""A GGUF file becomes a model folder with the same weights and the same tokenizer, once."""

import json
import random
import subprocess
import sys
from pathlib import Path

import gguf as gguf_library
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from centaurlab.models import gguf
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.runtime.errors import UserError
from helpers.bits import flipped
from helpers.real_models import smollm2

TEXT = "You choose <<J>> and win 3.5 points.\nVous répondez <<très bien>> 🙂 <pad>"


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in llama.cpp's order (rotary pairs side by side); convert_hf_to_gguf.py."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(folder: Path, path: Path, quantised: str) -> Path:
    """The tiny Llama in ``folder`` as llama.cpp would write it: float32, but the tensor ``quantised`` as Q8_0."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = model.config
    writer = gguf_library.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    names = gguf_library.get_tensor_name_map(gguf_library.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        if "q_proj" in name:
            values = permuted(values, config.num_attention_heads)
        if "k_proj" in name:
            values = permuted(values, config.num_key_value_heads)
        target = names.get_name(name, try_suffixes=(".weight",))
        if name == quantised:
            blocks = gguf_library.quants.quantize(values, gguf_library.GGMLQuantizationType.Q8_0)
            writer.add_tensor(target, blocks, raw_dtype=gguf_library.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(target, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


QUANTISED = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def tiny_gguf(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tiny_llama_dir, tmp_path_factory.mktemp("gguf") / "tiny.gguf", QUANTISED)


def test_weights_are_dequantised_to_bfloat16_safetensors(
    tiny_gguf: Path, tiny_llama_dir: Path, own_cache: Path
) -> None:
    folder = gguf.gguf_folder(tiny_gguf)
    converted, original = load_file(folder / "model.safetensors"), load_file(tiny_llama_dir / "model.safetensors")
    assert converted.keys() == original.keys()
    blocks = gguf_library.quants.quantize(original[QUANTISED].float().numpy(), gguf_library.GGMLQuantizationType.Q8_0)
    original[QUANTISED] = torch.from_numpy(
        gguf_library.quants.dequantize(blocks, gguf_library.GGMLQuantizationType.Q8_0)
    ).bfloat16()
    for name, weight in converted.items():
        assert torch.equal(weight, original[name]), name


def test_config_and_tokenizer_are_the_originals(tiny_gguf: Path, tiny_llama_dir: Path, own_cache: Path) -> None:
    folder = gguf.gguf_folder(tiny_gguf)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.max_position_embeddings == 2048
    converted, original = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(tiny_llama_dir)
    options = {"split_special_tokens": True, "return_offsets_mapping": True}
    assert dict(converted(TEXT, **options)) == dict(original(TEXT, **options))


def test_a_file_is_converted_once_and_nothing_else_is_left(
    tiny_gguf: Path, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = gguf.gguf_folder(tiny_gguf)
    assert "converting" in capsys.readouterr().err
    written = (folder / "model.safetensors").stat().st_mtime_ns
    copied = tmp_path / tiny_gguf.name
    copied.write_bytes(tiny_gguf.read_bytes())
    assert gguf.gguf_folder(copied) == folder, "the same content under another path"
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert capsys.readouterr().err == ""
    assert [path for path in folder.parent.iterdir() if path.suffix != ".lock"] == [folder]


def test_the_header_is_read_once(tiny_gguf: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, read = gguf_library.GGUFReader, []
    build = library._build_fields
    monkeypatch.setattr(library, "_build_fields", lambda *given: (read.append(given), build(*given))[1])
    gguf.gguf_folder(tiny_gguf)
    assert len(read) == 1
    assert gguf_library.GGUFReader is library


def test_a_converted_model_that_a_disk_has_changed_is_refused(tiny_gguf: Path, own_cache: Path) -> None:
    weights = gguf.gguf_folder(tiny_gguf) / "model.safetensors"
    assert find_checkpoint(str(tiny_gguf), None, True, False).folder == weights.parent
    weights.write_bytes(flipped(weights.read_bytes(), random.Random(0)))
    with pytest.raises(UserError, match=r"safetensors is damaged .* delete .*, and the next command converts it anew"):
        find_checkpoint(str(tiny_gguf), None, True, False)


def test_processes_wait_for_the_one_that_converts(tiny_gguf: Path, own_cache: Path) -> None:
    code = (
        "from pathlib import Path; from centaurlab.models import gguf; "
        f"print(gguf.gguf_folder(Path({str(tiny_gguf)!r})))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert sum("converting" in err for _, err in outputs) == 1


def test_what_a_killed_conversion_left_is_removed(tiny_gguf: Path, own_cache: Path) -> None:
    expected = gguf.gguf_folder(tiny_gguf)
    abandoned = expected.rename(expected.with_name(f".{expected.name}.partialabc"))
    assert gguf.gguf_folder(tiny_gguf) == expected
    assert not abandoned.exists()


def test_bad_files_are_refused_in_one_sentence(tiny_gguf: Path, own_cache: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("no model")
    with pytest.raises(UserError, match="not a GGUF file"):
        gguf.gguf_folder(text)
    part = tmp_path / "m-00001-of-00002.gguf"
    part.write_bytes(tiny_gguf.read_bytes())
    with pytest.raises(UserError, match="merge them"):
        gguf.gguf_folder(part)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny_gguf.read_bytes()[:20_000])
    with pytest.raises(UserError, match="cannot read"):
        gguf.gguf_folder(damaged)
    unknown = tmp_path / "unknown.gguf"
    writer = gguf_library.GGUFWriter(unknown, "no-such-architecture")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UserError, match="no-such-architecture"):
        gguf.gguf_folder(unknown)
    whole = tiny_gguf.read_bytes()
    for key, changed, said in (
        (b"llama.feed_forward_length\x04\0\0\0", b"\x01", r"no weights that fit model\.layers\.0\.mlp"),
        (b"llama.attention.head_count\x04\0\0\0", b"\0", "cannot read"),
        (b"tokenizer.ggml.tokens\x09\0\0\0\x08\0\0\0", b"\x01\0", "cannot read"),
    ):
        place = whole.index(key) + len(key)
        damaged.write_bytes(whole[:place] + changed + whole[place + len(changed) :])
        with pytest.raises(UserError, match=said):
            gguf.gguf_folder(damaged)
    assert not any(path.is_dir() for path in gguf.converted_models().iterdir())


def test_a_cache_that_cannot_be_written_is_named(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("CENTAURLAB_CACHE", str(blocked))
    with pytest.raises(UserError, match="CENTAURLAB_CACHE"):
        gguf.gguf_folder(tiny_gguf)


def test_gemma_asks_for_the_extra_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setattr(gguf, "_GEMMA_PACKAGE", "package_that_is_not_installed")
    with pytest.raises(UserError, match="starter"):
        gguf.gemma_folder()


@pytest.mark.slow
def test_gemma_is_whole_and_its_tokenizer_puts_bos_in_front() -> None:
    folder = gguf.gemma_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXT, split_special_tokens=True).input_ids
    assert tokenizer.convert_ids_to_tokens(ids[0]) == "<bos>"
    assert tokenizer.bos_token_id not in ids[1:]
    assert tokenizer.decode(ids[1:]) == TEXT
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        days = tokenizer("Monday, Tuesday, Wednesday, Thursday,", return_tensors="pt").input_ids
        likely = model(days).logits[0, -1].argmax()
    assert tokenizer.decode(likely) == " Friday"


@pytest.mark.slow
def test_smollm2_keeps_its_chat_template() -> None:
    tokenizer = AutoTokenizer.from_pretrained(gguf.gguf_folder(Path(smollm2())))
    ids = tokenizer(TEXT, split_special_tokens=True).input_ids
    assert tokenizer.decode(ids) == TEXT
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert "<|im_start|>user\nHello<|im_end|>" in chat
