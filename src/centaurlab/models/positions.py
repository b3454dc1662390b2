"""What is known by rule of how models encode positions, where a few dozen tokens cannot show it.

LongRoPE (arXiv 2402.13753, as in Phi-3) and dynamic NTK scaling choose their frequencies by the longest position of
each call, so a long session in chunks, or beside a longer one in a batch, has other NLLs than by itself. Falcon rounds
its ALiBi (arXiv 2108.12409) to bfloat16, which tells positions below 256 apart and no others. DeepSeek V4 compresses
keys in windows of a row, which in some layers have 128 tokens.
"""

from typing import Any

from transformers import PretrainedConfig

_BY_LENGTH = ("longrope", "su", "dynamic")
_STRETCHED = ("linear", "dynamic")


def length_of_short_rope(config: PretrainedConfig) -> int | None:
    """The most tokens with which the frequencies do not depend on the number of tokens; None: they never do."""
    text = config.get_text_config()
    lengths = [
        int(
            rope.get("original_max_position_embeddings")
            or getattr(text, "original_max_position_embeddings", None)
            or text.max_position_embeddings
        )
        for rope in _settings(text)
        if _kind(rope) in _BY_LENGTH
    ]
    return min(lengths, default=None)


def grows_with_the_longest(config: PretrainedConfig) -> bool:
    """Whether the frequencies also depend on the longest sequence so far (dynamic NTK scaling)."""
    return any(_kind(rope) == "dynamic" for rope in _settings(config.get_text_config()))


def counts_from_the_row(config: PretrainedConfig) -> bool:
    """Whether positions, or windows of compressed keys, are counted from a row's start, whatever position ids say."""
    text = config.get_text_config()
    return bool(getattr(text, "alibi", False) or getattr(text, "compress_rates", None))


def stretch(config: PretrainedConfig) -> float:
    """By which factor linear or dynamic scaling may exceed the length that the config states; else 1.

    Whether the stated length is that before or after scaling differs between checkpoints.
    """
    found = [rope.get("factor") for rope in _settings(config.get_text_config()) if _kind(rope) in _STRETCHED]
    return max([1.0, *(float(factor) for factor in found if factor)])


def length_of_yarn(config: PretrainedConfig) -> int:
    """Factor × original length (arXiv 2309.00071), of which the config may state either; 0: it has no YaRN."""
    lengths = [
        int(rope["factor"] * rope["original_max_position_embeddings"])
        for rope in _settings(config.get_text_config())
        if _kind(rope) == "yarn" and rope.get("factor") and rope.get("original_max_position_embeddings")
    ]
    return max(lengths, default=0)


def _kind(rope: dict[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _settings(text: PretrainedConfig) -> list[dict[str, Any]]:
    """The settings of each kind of layer; of remote code, under the name that they had before transformers 5."""
    found = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if not isinstance(found, dict):
        return []
    by_layer = [part for part in found.values() if isinstance(part, dict)]
    return by_layer or [found]
