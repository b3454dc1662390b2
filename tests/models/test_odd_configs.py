"""Whatever a config says: the NLL of a plain forward pass of transformers, or a refusal in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from centaurlab.models.identity import identify
from centaurlab.models.loading import load_config, load_model
from centaurlab.models.shape import countable_shape, usable_window
from centaurlab.prompts.encoding import encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.responses import SessionError
from centaurlab.scoring.scorer import SessionScorer
from fuzz.inputs import CHECKPOINT_KEYS, CHECKPOINT_VALUES
from helpers.json_files import edit_json
from helpers.tiny_models import in_float32

pytestmark = pytest.mark.usefixtures("own_cache")

TEXT = "You see J and F. You press <<J>>. You win 3 points. You press <<F>>. You lose 12. You press <<J>>.\n" * 3

HARMLESS = (
    *({"return_dict": False}, {"output_attentions": True}, {"output_hidden_states": True}),
    *({"use_cache": False}, {"torchscript": True}, {"is_decoder": True}, {"output_router_logits": True}),
    *({"return_dict": False, "output_attentions": True, "use_cache": False}, {"logits_to_keep": 1}),
    *({"num_labels": 5}, {"chunk_size_feed_forward": 3}, {"add_cross_attention": True}, {"is_encoder_decoder": False}),
    *({"attention_dropout": 0.9}, {"hidden_dropout_prob": 0.9}, {"problem_type": "x"}, {"architectures": ["Nobody"]}),
    *({"cache_implementation": "static"}, {"generation_config": {"a": 1}}, {"max_length": 3}, {"pad_token_id": 0}),
    *({"pruned_heads": {"0": [0]}}, {"gradient_checkpointing": True}, {"transformers_version": 7}),
)
"""Settings that say how a model is used and not what it is."""

MEANT = (
    {"use_return_dict": False},
    *({"num_hidden_layers": 1}, {"num_hidden_layers": 3}, {"num_attention_heads": 2}, {"num_key_value_heads": 1}),
    *({"head_dim": 4}, {"rms_norm_eps": 1.0}, {"hidden_act": "gelu"}, {"rope_theta": 7.0}, {"attention_bias": True}),
    *({"tie_word_embeddings": True}, {"sliding_window": 4}, {"layer_types": ["sliding_attention"] * 2}),
    *({"model_type": "mistral"}, {"model_type": "qwen3"}, {"model_type": "mixtral"}, {"model_type": "bert"}),
    *({"rope_parameters": {"rope_type": kind, "factor": 4.0, "rope_theta": 1e4}} for kind in ("linear", "yarn", "x")),
    *({"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}}, {"rope_parameters": None}),
    *({"mlp_bias": True}, {"vocab_size": 100}, {"is_encoder_decoder": True}, {"max_position_embeddings": 8}),
    *({"quantization_config": {"quant_method": "gptq", "bits": 4}}, {"num_hidden_layers": "2"}, {"dtype": "x"}),
)
"""Settings that make another model of the weights, or none."""


def nll_of(folder: Path) -> np.ndarray[Any, Any]:
    """As a run goes about it; raises ``UserError`` or ``SessionError``."""
    arguments = in_float32(folder)
    identify(arguments)
    window = usable_window(load_config(arguments), None)
    countable_shape(arguments)
    encoding = encode(TEXT, AutoTokenizer.from_pretrained(folder.parent / "sound"), window)
    scorer = SessionScorer(load_model(arguments), chunk_tokens=16)
    return scorer.score(encoding, shared=[]).scores.nll_R


def plain_nll(folder: Path, n: int) -> np.ndarray[Any, Any]:
    """By transformers alone: the whole sequence at once, a loop over the responses."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    encoding = encode(TEXT, AutoTokenizer.from_pretrained(folder.parent / "sound"))
    ids_T = torch.from_numpy(encoding.input_ids_T.astype(np.int64))[: encoding.end_R[n - 1]]
    with torch.inference_mode():
        found = model(ids_T[None], use_cache=False)
    logits_TV = (found[0] if isinstance(found, tuple) else found.logits)[0]
    log_p_TV = torch.log_softmax(logits_TV, -1)
    spans = zip(encoding.start_R[:n], encoding.end_R[:n], strict=True)
    return np.array([-sum(float(log_p_TV[t - 1, ids_T[t]]) for t in range(a, b)) for a, b in spans])


def check(
    copy_of: Callable[[str], Path],
    name: str,
    settings: dict[str, Any],
    expected: np.ndarray[Any, Any] | None = None,
) -> str | None:
    """A right number (None: that of a plain pass), or the sentence."""
    folder = copy_of(name)
    edit_json(folder / "config.json", **settings)
    try:
        found = nll_of(folder)
    except (UserError, SessionError) as error:
        said = str(error)
        assert 10 < len(said) < 700, settings
        assert "\n" not in said
        return said
    right = plain_nll(folder, len(found)) if expected is None else expected
    assert found == pytest.approx(right, abs=1e-4), settings
    return None


@pytest.fixture
def sound(copy_of: Callable[[str], Path]) -> np.ndarray[Any, Any]:
    """The NLLs of the model as it is."""
    return nll_of(copy_of("sound"))


def test_how_a_model_is_used_is_not_for_its_config_to_say(copy_of, sound) -> None:
    found = {str(settings): check(copy_of, f"{n}", settings, sound) for n, settings in enumerate(HARMLESS)}
    assert {settings: said for settings, said in found.items() if said} == {}


def test_what_a_config_makes_of_the_weights_is_computed_as_it_says_or_refused(copy_of, sound) -> None:
    refused = [check(copy_of, f"{number}", settings) for number, settings in enumerate(MEANT)]
    assert 5 < sum(said is not None for said in refused) < len(MEANT) - 5


@pytest.mark.slow
def test_any_value_of_any_setting_gives_the_right_number_or_a_sentence(copy_of, sound) -> None:
    """A hundred of the two thousand pairs of a setting and a value that the fuzzer draws from."""
    draw = np.random.default_rng(0)
    for number in range(100):
        key, value = (draw.integers(len(among)) for among in (CHECKPOINT_KEYS, CHECKPOINT_VALUES))
        settings = {CHECKPOINT_KEYS[key]: CHECKPOINT_VALUES[value]}
        try:
            check(copy_of, f"{number}", settings)
        except AttributeError:  # transformers itself stumbles over how it is to be used, which we do not read
            check(copy_of, f"{number} again", settings, sound)
