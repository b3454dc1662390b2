"""What a self-check keeps, in which precision it looks, and what its outcome changes in a run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, PreTrainedModel, ReformerConfig, ReformerModelWithLMHead

from centaurlab.data.source import DataArguments
from centaurlab.models import self_check as module
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.attention import NAME, UnknownAttentionError, attend_in_blocks
from centaurlab.models.loading import load_model
from centaurlab.models.passes import logits_of, new_cache
from centaurlab.models.self_check import BATCHES, SelfCheck, self_check
from centaurlab.prompts.encoding import encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import option_passes
from centaurlab.scoring import scorer as scoring
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from centaurlab.scoring.scorer import SessionMemoryError, SessionScorer
from centaurlab.simulation import packed
from helpers.architectures import build, byte_tokenizer, save
from helpers.json_files import run_json
from helpers.tiny_models import in_float32, named
from helpers.transcripts import sessions_of, write_transcripts

AGREES = SelfCheck(causal=True, chunks=True, prefixes=True, blocks=True)
ALL_AGREE = replace(AGREES, packed=True, left_padded=True, right_padded=True)


@pytest.fixture
def mamba(tmp_path: Path) -> ModelArguments:
    return in_float32(save("mamba", tmp_path / "mamba"))


def test_what_is_found_is_kept_with_the_identity(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mamba = build("mamba")
    found = self_check(mamba, "f00")
    assert not found.chunks
    with monkeypatch.context() as patch:
        patch.setattr(module, "Trial", lambda *_: pytest.fail("tried again"))
        assert self_check(mamba, "f00") == found
        with pytest.raises(BaseException, match="tried again"):
            self_check(mamba, "f01")
    (note,) = (own_cache / "self-checks").iterdir()
    for damaged in ("{", note.read_text().replace('"chunks": false', '"chunks": true')):
        note.write_text(damaged)
        assert self_check(mamba, "f00") == found
    self_check(build("llama"), "f02")
    (of_llama,) = set((own_cache / "self-checks").iterdir()) - {note}
    note.write_bytes(of_llama.read_bytes())
    assert self_check(mamba, "f00") == found, "what agrees in another model is believed of this one"


def test_what_is_asked_for_later_is_tried_then(own_cache: Path) -> None:
    opt = build("opt")
    assert self_check(opt, "f00") == AGREES
    expected = replace(AGREES, packed=False, right_padded=True)
    assert self_check(opt, "f00", ["packed", "right_padded"]) == expected
    assert self_check(opt, "f00") == expected


def test_a_kept_outcome_sets_the_attention_too(own_cache: Path) -> None:
    assert self_check(build("llama"), "f00") == AGREES
    again = build("llama")
    assert self_check(again, "f00") == AGREES
    assert again.config._attn_implementation == NAME


@pytest.mark.parametrize("name", ["llama", "qwen3_next", "gemma3", "mamba", "jamba", "opt"])
@pytest.mark.parametrize("fits", [True, False])
def test_half_precision_finds_the_same(name: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = self_check(build(name), also=BATCHES)
    monkeypatch.setattr(module, "_FLOAT32_PARAMETERS", 0)
    monkeypatch.setattr(module, "fits_in_float32", lambda _: fits)
    model = build(name).bfloat16()
    known = {key: value.clone() for key, value in model.state_dict().items()}
    assert self_check(model, also=BATCHES) == expected
    assert all(torch.equal(value, known[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_a_model_that_sees_what_follows_is_refused() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        initializer_range=0.3,
    )  # fmt: skip
    with pytest.raises(UserError, match="what follows a token changes its prediction"):
        self_check(BertLMHeadModel(config).eval())


def test_a_model_that_draws_at_random_is_refused() -> None:
    sizes = {"vocab_size": 259, "hidden_size": 32, "num_attention_heads": 4, "attention_head_size": 8}
    config = ReformerConfig(**sizes, attn_layers=["local", "lsh"], axial_pos_embds=False, is_decoder=True)
    model = ReformerModelWithLMHead(config).eval()
    ids_BT = torch.arange(256)[None] % 100
    assert not torch.equal(model(ids_BT).logits, model(ids_BT).logits)
    with pytest.raises(UserError, match="another probability each time"):
        self_check(model)


def test_a_model_that_cannot_be_computed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    monkeypatch.setattr(model.model, "forward", lambda **_: {}["strange"])
    with pytest.raises(UserError, match="cannot be computed: KeyError: 'strange'"):
        self_check(model)


@pytest.mark.parametrize("name", ["softcap", "s_aux", "indices", "position_bias"])
def test_arguments_that_attention_in_blocks_does_not_know_are_refused(name: str) -> None:
    model = build("llama")
    attend_in_blocks(model)
    ids = torch.arange(5, 15)[None]
    with pytest.raises(UnknownAttentionError, match=f"LlamaAttention passes {name} to its attention"):
        model(ids, **{name: torch.tensor(1.0)})
    model(ids, **{name: None}, output_attentions=False)


@pytest.mark.parametrize("kernel", [option_passes._attention, packed._attention])
@pytest.mark.parametrize(
    ("name", "value"),
    [("s_aux", torch.ones(1)), ("indices", torch.ones(1)), ("position_bias", torch.ones(1)), ("is_causal", False)],
)
def test_other_attentions_of_ours_refuse_what_they_do_not_know(
    kernel: Callable[..., object], name: str, value: object
) -> None:
    layer = build("llama").model.layers[0].self_attn
    head = torch.ones(1, 1, 1, 1)
    with pytest.raises(UnknownAttentionError, match=f"LlamaAttention passes {name}.* to its attention"):
        kernel(layer, head, head, head, None, **{name: value})


def test_sparse_attention_stays_sparse() -> None:
    model = build("deepseek_v32")
    assert self_check(model).blocks is False
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["cache", "past_key_values", "past_key_value", "cache_params"])
def test_the_cache_goes_by_the_name_that_forward_gives_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the name, of whichever version of transformers or code of a checkpoint's own."""
    whole = build("llama")

    class Renamed(type(whole)):  # type: ignore[misc]
        pass

    code = f"def forward(self, input_ids, {name}=None, use_cache=None): return call(self, input_ids, {name}, use_cache)"
    scope = {"call": lambda self, ids, cache, use: type(whole).forward(self, ids, cache=cache, use_cache=use)}
    exec(code, scope)
    monkeypatch.setattr(Renamed, "forward", scope["forward"])
    renamed = build("llama")
    renamed.__class__ = Renamed
    ids = torch.arange(5, 45)[None]
    cache = new_cache(renamed)
    with torch.inference_mode():
        parts = [logits_of(renamed, part, cache) for part in ids.split(20, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), whole(ids).logits, atol=1e-4, rtol=0)
    assert self_check(renamed, also=BATCHES) == replace(AGREES, packed=False, left_padded=False, right_padded=False)


def test_a_run_says_what_is_switched_off(
    mamba: ModelArguments, tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sessions_of(["a2020"], 3, lambda *_: "You press <<J>> and <<F>>.")
    data = DataArguments(data=str(write_transcripts(tmp_path / "data.jsonl", rows)))
    sentence = "self-check: this model's cache loses what came before, so every session is computed whole"
    for _ in range(2):  # the second time nothing is computed
        folder = measure(mamba, data, ScoreArguments(str(tmp_path / "run"), max_length=512))
        assert run_json(folder)["notes"] == [sentence]
    assert capsys.readouterr().err.count(f"note: {sentence}") == 1


def test_models_that_agree_in_all_have_no_notes(tiny_gemma_dir: Path) -> None:
    check = self_check(load_model(named(tiny_gemma_dir)), also=BATCHES)
    assert (check, check.notes) == (ALL_AGREE, ())


def test_a_session_that_must_be_whole_and_has_no_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, attempts = build("mamba"), []
    scorer = SessionScorer(model, 8)

    def no_memory(model: PreTrainedModel, ids_1T: torch.Tensor, *_: object) -> torch.Tensor:
        attempts.append(ids_1T.shape[1])
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(scoring, "logits_of", no_memory)
    encoding = encode("You press <<J>> and <<F>>.", byte_tokenizer())
    with pytest.raises(SessionMemoryError, match="in one piece, the only exact way"):
        scorer.score(encoding)
    assert attempts == [encoding.end_R[-1] - 1]
