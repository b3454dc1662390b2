"""The families of fast tokenizers that language models come with, each trained here on transcripts.

In the training text the markers stand close to what people answer, so that ``<<-``, ``->>`` and ``>>\\n`` are
merged wherever a family's pre-tokenizer lets them be.
"""

import json
import re
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

TRAINING_TEXT = [
    "You choose <<-B>> and win -20 points. <<->>\nYou choose <<F->>\nYou press <<J>>\n",
    "How much do you agree? You answer <<4>>\n You answer <<-3->>. You say <<yes, I do>>\n\n",
    "A<<-1>>B<<->>C <<->>\n <<- 5 ->>\n->><<- ->>\n <<blue>>\n<<red>>\n",
    "Vous répondez <<très bien>>. 你选择 <<左>>。 Ты выбираешь <<да>> 🙂. אתה עונה <<כן>>\n",
] * 20
SPECIAL = ["<unk>", "<bos>", "<eos>", "<pad>", "<mask>"]
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
LLAMA_3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Family:
    """``text_of`` gives the text of tokens of a lossless tokenizer; None where text cannot be had back."""

    name: str
    build: Callable[[], PreTrainedTokenizerFast]
    text_of: Callable[[list[str]], str] | None

    @property
    def is_lossless(self) -> bool:
        return self.text_of is not None

    def spelt(self, tokens: list[str]) -> str | None:
        """What tokens spell; None where one of them stands for what the tokenizer does not know."""
        if self.text_of is not None:
            return self.text_of(tokens)
        if tokenizer_of(self).unk_token in tokens:
            return None
        return re.sub(r"[\s▁]", "", "".join(token.removeprefix("##") for token in tokens))

    def spelling(self, text: str) -> str:
        """``text`` as its tokens spell it: SentencePiece cannot tell '▁' from a space, others know no spaces at all."""
        if self.text_of is not None:
            return text.replace("▁", " ") if self.text_of is metaspace_text else text
        normalized = tokenizer_of(self).backend_tokenizer.normalizer.normalize_str(text)
        return re.sub(r"[\s▁]", "", normalized)


_TO_BYTE = {character: byte for byte, character in bytes_to_unicode().items()}


def bytes_text(tokens: list[str]) -> str:
    """What tokens of a byte-level vocabulary spell."""
    return bytes(_TO_BYTE[character] for token in tokens for character in token).decode()


def metaspace_text(tokens: list[str]) -> str:
    """What tokens of a SentencePiece vocabulary with bytes to fall back on spell."""
    parts = []
    for token in tokens:
        byte = _BYTE.fullmatch(token)
        parts.append(bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode())
    return b"".join(parts).decode()


def _wrap(tokenizer: Tokenizer, bos: str = "<bos>") -> PreTrainedTokenizerFast:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, unk_token="<unk>", pad_token="<pad>", mask_token="<mask>"
    )


def _train_bpe(tokenizer: Tokenizer, alphabet: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)


def _byte_level(**settings: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**settings)
    tokenizer.decoder = decoders.ByteLevel()
    _train_bpe(tokenizer, pre_tokenizers.ByteLevel.alphabet())
    return _wrap(tokenizer)


def _llama_3() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train_bpe(tokenizer, pre_tokenizers.ByteLevel.alphabet())
    return _wrap(tokenizer)


def _byte_fallback(
    normalizer: normalizers.Normalizer | None, pre_tokenizer: pre_tokenizers.PreTokenizer | None
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        max_token_length=12,
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        [line for text in TRAINING_TEXT for line in re.findall(r"[^\n]*\n|.+", text)], trainer
    )
    # Byte tokens belong to the model's vocabulary, but text must not become one.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if not _BYTE.fullmatch(token["content"])]
    return _wrap(Tokenizer.from_str(json.dumps(state)))


def _unigram(prepend_scheme: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return _wrap(tokenizer)


def _word_piece() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    wrapped = _wrap(tokenizer)
    eos = ("<eos>", tokenizer.token_to_id("<eos>"))
    wrapped.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>")), eos]
    )
    return wrapped


def _sentence_piece(tokenizer_class: str, file_name: str, **settings: object) -> PreTrainedTokenizerFast:
    """A model that the SentencePiece library trains, read as a model's folder is."""
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line for text in TRAINING_TEXT for line in text.splitlines()),
            model_prefix=str(Path(folder, "trained")),
            hard_vocab_limit=False,
            minloglevel=2,
            **settings,
        )
        Path(folder, "trained.model").rename(Path(folder, file_name))
        Path(folder, "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer


FAMILIES = (
    Family("byte-level BPE", lambda: _byte_level(add_prefix_space=False), bytes_text),
    Family("byte-level BPE, prefix space", lambda: _byte_level(add_prefix_space=True), bytes_text),
    Family("byte-level BPE, no regex", lambda: _byte_level(add_prefix_space=False, use_regex=False), bytes_text),
    Family("Llama 3", _llama_3, bytes_text),
    Family(
        "SentencePiece BPE, prepend always",
        lambda: _byte_fallback(None, pre_tokenizers.Metaspace(prepend_scheme="always")),
        metaspace_text,
    ),
    Family(
        "SentencePiece BPE, prepend first",
        lambda: _byte_fallback(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
        metaspace_text,
    ),
    Family(
        "Llama 2",
        lambda: _byte_fallback(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None),
        metaspace_text,
    ),
    Family(
        "Gemma",
        lambda: _byte_fallback(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous")),
        metaspace_text,
    ),
    Family("Unigram", lambda: _unigram("always"), None),
    Family("WordPiece", _word_piece, None),
    Family(
        "SentencePiece's own BPE, byte fallback",
        lambda: _sentence_piece(
            "LlamaTokenizer",
            "tokenizer.model",
            model_type="bpe",
            vocab_size=500,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
        ),
        metaspace_text,
    ),
    Family(
        "SentencePiece's own Unigram, as T5 has it",
        lambda: _sentence_piece(
            "T5Tokenizer",
            "spiece.model",
            model_type="unigram",
            vocab_size=200,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
        ),
        None,
    ),
    Family(
        "SentencePiece's own Unigram, as XLM-RoBERTa has it",
        lambda: _sentence_piece("XLMRobertaTokenizer", "sentencepiece.bpe.model", model_type="unigram", vocab_size=200),
        None,
    ),
)


@cache
def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    """The family's tokenizer, trained once."""
    return family.build()
