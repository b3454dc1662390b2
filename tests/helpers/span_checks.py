"""Whether responses are the tokens that spell them, found without the package; for any text and tokenizer."""

import numpy as np
import regex

from centaurlab.prompts.encoding import Encoding, encode_prompt
from centaurlab.prompts.prompt import session_prompt
from helpers.tokenizers_zoo import Family, tokenizer_of

TEXTS = (
    *(
        "You choose",
        "yes",
        "-B",
        "J",
        "4",
        "12.5",
        "très bien",
        "да",
        "左右",
        "ありがとう",
        "คุณ",
        "हाँ",
        "🙂",
        "👩‍👩‍👧",
        "🇩🇪",
    ),
    *(
        "é",
        "e\u0301",
        "a\u0308\u0323",
        "\u0338",
        "\u0301",
        "ﬁ",
        "Å",
        "½",
        "כן",
        "نعم",
        "أَنْت",
        "\u202eabc\u202c",
        "\u200f",
    ),
    *(
        "<mask>",
        "<pad>",
        "<bos>",
        "<unk>",
        "<0x0A>",
        "-",
        "--",
        ">",
        "<",
        " ",
        "  ",
        "\n",
        "\t",
        ".",
        "'s",
        "▁",
        "Ġ",
        "##",
    ),
    *("\u200b", "\ufeff", "\u00a0", "\u3000", "\u2028", "\r\n", "\x00"),
)
"""Scripts in both directions, emoji of several code points, combining characters, and what tokenizers treat apart."""


def is_seen(text: str) -> bool:
    """Whether something of a text would be seen, by the properties of Unicode."""
    return regex.fullmatch(r"[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]*", text) is None


def responses_by_hand(text: str) -> list[tuple[int, int]]:
    """Character spans of the responses: from a ``<<`` to the next ``>>``, found without the package."""
    spans, position = [], 0
    while (start := text.find("<<", position)) >= 0 and (end := text.find(">>", start + 2)) >= 0:
        spans.append((start + 2, end))
        position = end + 2
    return spans


def tokens_of(encoding: Encoding, family: Family) -> list[list[str]]:
    """The tokens of each response."""
    tokens = tokenizer_of(family).convert_ids_to_tokens(encoding.input_ids_T.tolist())
    return [tokens[start:end] for start, end in zip(encoding.start_R, encoding.end_R, strict=True)]


def check_tokens(text: str, family: Family, protocol: str = "full") -> int:
    """Spans are disjoint, in order and in range, and spell their responses; how many were compared letter by letter.

    Not compared is what a tokenizer has no tokens for.
    """
    prompt = session_prompt(text, protocol)
    encoding = encode_prompt(prompt, tokenizer_of(family))
    coverage = encoding.coverage
    assert coverage.responses == len(responses_by_hand(text)) == coverage.scored + coverage.cut + coverage.empty
    assert (encoding.start_R < encoding.end_R).all()
    assert (encoding.start_R[1:] >= encoding.end_R[:-1]).all()
    assert (np.diff(encoding.response_R) > 0).all()
    assert len(encoding.input_ids_T) == (encoding.end_R[-1] if len(encoding.end_R) else 0)
    said = {r.number: prompt.text[r.start : r.end] for r in prompt.responses}
    compared = 0
    for number, tokens in zip(encoding.response_R.tolist(), tokens_of(encoding, family), strict=True):
        spelt = family.spelt(tokens)
        if spelt is not None:
            assert spelt == family.spelling(said[number]), f"response {number} of {text!r}"
            compared += 1
    if family.is_lossless:
        assert compared == len(said)
    return compared
