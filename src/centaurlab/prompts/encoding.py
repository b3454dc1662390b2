"""A session's text as token ids, and which tokens belong to which human response.

Responses are found in characters and mapped to tokens through the tokenizer's offsets, never by searching for
marker token ids: `` <<-`` is one token for Gemma and ``>>\\n`` one for Llama. Where a token would hold characters
on both sides of a response's boundary, the text is cut at that boundary and the pieces are tokenized apart, so a
response boundary is always a token boundary; everywhere else the ids are those of the whole text.
Scoring and training both start from here: the tokens that train a model and those that judge it cannot differ.
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from centaurlab.data.transcripts import count_images
from centaurlab.prompts.prompt import Prompt, PromptResponse, Protocol, beginning, session_prompt
from centaurlab.results.record import Coverage
from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# T: tokens of the session up to the last response; R: scored responses of the session.
Ints = npt.NDArray[np.int32]

# A piece of text is tokenized after one of these, so that its first token is that of text in the middle of a
# session: without, SentencePiece tokenizers and ByteLevel(add_prefix_space=True) would invent a leading space. T5's
# and BERT's do so after white space as well, which they drop; and after a letter, BERT's would go on with its word.
_CONTEXTS = ("\n", ".", "|", "a", "0", "ж", "一", " ")


_CHARACTERS, _TOKENS_TO_SPARE = 16, 256
"""Characters of a text that are read for each token of the window: English has 4 to 5 a token, white space more."""

_PIECE_CHARACTERS = 1 << 20
"""Tokens take a hundred times the memory of their text, so that a longer one is tokenized in pieces."""


@dataclass(frozen=True)
class Encoding:
    """Token ids up to the end of the last scored response, and each scored response's tokens.

    ``response_R``: index among all responses of the text, from 0; its tokens are
    ``input_ids_T[start_R[r] : end_R[r]]``. ``end_character_T``: where each token ends in the protocol's text.
    """

    input_ids_T: Ints
    end_character_T: Ints
    response_R: Ints
    start_R: Ints
    end_R: Ints
    coverage: Coverage


def encode(
    text: str, tokenizer: "PreTrainedTokenizerBase", max_tokens: int | None = None, protocol: Protocol = "full"
) -> Encoding:
    """Encode a session as it was told: ``encode_prompt`` of its ``session_prompt``."""
    return encode_prompt(session_prompt(text, protocol), tokenizer, max_tokens)


def encode_prompt(prompt: Prompt, tokenizer: "PreTrainedTokenizerBase", max_tokens: int | None = None) -> Encoding:
    """Encode a session; responses that end beyond ``max_tokens`` tokens are left out and counted.

    Special tokens are those that the tokenizer adds by itself at the front, or those of a template's scaffold; the
    session's own text never becomes a special token. Raises ``UserError`` for a tokenizer without offsets, or one
    that merges any context with a response.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"{type(tokenizer).__name__} is a slow tokenizer, which cannot say which characters a token holds; "
            "use the model's fast tokenizer (tokenizer.json)"
        )
    tokens, cuts, responses = _tokenize_window(prompt, tokenizer, max_tokens)

    index_R = np.array([r.number for r in responses], np.int32)
    first_R = np.array([r.start for r in responses], np.int64)
    last_R = np.array([r.end for r in responses], np.int64)
    start_R = np.searchsorted(tokens.ends_T, first_R, side="right").astype(np.int32)
    end_R = np.searchsorted(tokens.starts_T, last_R, side="left").astype(np.int32)
    has_tokens_R = end_R > start_R
    fits_R = has_tokens_R & (end_R <= (len(tokens.ids_T) if max_tokens is None else max_tokens))
    straddling = sum(r.start in cuts or r.end in cuts for r, fits in zip(responses, fits_R, strict=True) if fits)
    empty = prompt.n_empty + len(responses) - int(has_tokens_R.sum())  # beyond the window they count as cut
    scored = int(fits_R.sum())
    n_tokens = int(end_R[fits_R].max()) if scored else 0
    return Encoding(
        input_ids_T=tokens.ids_T[:n_tokens],
        end_character_T=tokens.ends_T[:n_tokens].astype(np.int32),
        response_R=index_R[fits_R],
        start_R=start_R[fits_R],
        end_R=end_R[fits_R],
        coverage=Coverage(
            responses=prompt.n_responses,
            scored=scored,
            cut=prompt.n_responses - scored - empty,
            empty=empty,
            malformed=prompt.n_malformed,
            straddling=straddling,
            images=count_images(prompt.text),
        ),
    )


def encode_stretch(text: str, tokenizer: "PreTrainedTokenizerBase", is_first: bool) -> list[int]:
    """Token ids of a stretch of a session between two boundaries of responses, markers included.

    Stretch by stretch they are those of ``encode_prompt`` for the whole, since no token holds characters on both sides
    of a boundary. ``is_first``: it begins the session, after what the tokenizer puts in front.
    """
    ids: list[int] = _tokenize(Prompt(text, (), 0, scaffold=None if is_first else ()), tokenizer, [])[0].ids_T.tolist()
    return ids


@dataclass(frozen=True)
class _Tokens:
    """Ids with their extents in characters; white space that a token's offsets leave out counts to the next."""

    ids_T: Ints
    starts_T: npt.NDArray[np.int64]
    ends_T: npt.NDArray[np.int64]


def _tokenize_window(
    prompt: Prompt, tokenizer: "PreTrainedTokenizerBase", max_tokens: int | None
) -> tuple[_Tokens, set[int], tuple[PromptResponse, ...]]:
    """Tokens, cuts, and the responses looked for: of the whole text, or of a beginning that fills the window for sure.

    A text may be a thousand times as long as the window, and its tokens take far more memory than it does. What is
    beyond the beginning moves no token but those just before its end, so that some are asked for in addition.
    """
    begun = prompt if max_tokens is None else likely_window(prompt, max_tokens)
    while True:
        tokens, cuts = _tokenize(begun, tokenizer, sorted({c for r in begun.responses for c in (r.start, r.end)}))
        if max_tokens is None or begun is prompt or len(tokens.ids_T) >= max_tokens + _TOKENS_TO_SPARE:
            return tokens, cuts, begun.responses
        begun = beginning(prompt, 4 * len(begun.text))


def likely_window(prompt: Prompt, max_tokens: int) -> Prompt:
    """As much of a prompt as usually fills the window, and much less than a text far beyond it."""
    return beginning(prompt, _CHARACTERS * (max_tokens + _TOKENS_TO_SPARE))


def _tokenize(prompt: Prompt, tokenizer: "PreTrainedTokenizerBase", boundaries: list[int]) -> tuple[_Tokens, set[int]]:
    """Tokens of the text, none with characters on both sides of a boundary; and where it was cut for that.

    None is special, but for those of a template's scaffold, where the text is cut as the tokenizer itself does.
    """
    text, cuts = prompt.text, _joined_by_normalization(prompt.text, tokenizer, boundaries)
    boundaries_B = np.array(boundaries, np.int64)
    special = [i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id]
    written = _written_special(prompt, tokenizer)
    edges = {edge for span in written for edge in span} | _far_apart(prompt.responses)
    pieces: dict[tuple[int, int], _Tokens] = dict(written)
    while True:
        spans = list(pairs(sorted({0, *cuts, *edges, len(text)}))) or [(0, 0)]
        pieces = {
            span: pieces.get(span) or _piece(text, span, tokenizer, with_bos=prompt.scaffold is None) for span in spans
        }
        parts = [pieces[span] for span in spans]
        tokens = _Tokens(
            np.concatenate([part.ids_T for part in parts]),
            np.concatenate([part.starts_T for part in parts]),
            np.concatenate([part.ends_T for part in parts]),
        )
        holder_B = np.searchsorted(tokens.ends_T, boundaries_B, side="right")
        inside_B = holder_B < len(tokens.ids_T)
        inside_B[inside_B] = tokens.starts_T[holder_B[inside_B]] < boundaries_B[inside_B]
        # A Unigram model knows '<pad>' as a piece like any other, even where special tokens are split.
        misread_T = np.isin(tokens.ids_T, special) & (tokens.ends_T - tokens.starts_T > 1)
        misread_T &= ~np.isin(tokens.starts_T, [start for start, _ in written])
        new = {*boundaries_B[inside_B].tolist(), *(tokens.starts_T[misread_T] + 1).tolist()} - cuts
        if not new:
            return tokens, cuts
        cuts |= new


def _far_apart(responses: tuple[PromptResponse, ...]) -> set[int]:
    """Ends of responses at which a long text is cut into pieces; what begins with a marker is read as in its middle.

    Whether a token would have held both sides of one of these is then not known, and not counted as straddling.
    """
    ends, last = set(), 0
    for response in responses:
        if response.end - last >= _PIECE_CHARACTERS:
            ends.add(last := response.end)
    return ends


def _joined_by_normalization(text: str, tokenizer: "PreTrainedTokenizerBase", boundaries: list[int]) -> set[int]:
    """Boundaries before a combining character, where the tokenizer would compose it with what precedes.

    Offsets do not show it: '≮', which T5 and Qwen make of ``<`` and U+0338, is said to hold ``<`` alone.
    """
    combining = {b for b in boundaries if b < len(text) and unicodedata.combining(text[b])}
    normalizer = tokenizer.backend_tokenizer.normalizer if combining else None
    composes = normalizer is not None and "\u0301" not in normalizer.normalize_str("e\u0301")
    return combining if composes else set()


def _written_special(prompt: Prompt, tokenizer: "PreTrainedTokenizerBase") -> dict[tuple[int, int], _Tokens]:
    """The special tokens in a template's scaffold, by their extent: with the white space that they swallow there."""
    found: dict[tuple[int, int], _Tokens] = {}
    if not prompt.scaffold:  # first: to list the 6,000 added tokens of Gemma takes as long as a session
        return found
    of_content = {token.content: (i, token) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    if not of_content:
        return found
    longest_first = sorted(of_content, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(content) for content in longest_first))
    for start, end in prompt.scaffold:
        last = start
        for match in pattern.finditer(prompt.text, start, end):
            token_id, token = of_content[match[0]]
            first, last = _with_white_space(prompt.text, match.span(), (last, end), token.lstrip, token.rstrip)
            found[first, last] = _Tokens(
                np.array([token_id], np.int32), np.array([first], np.int64), np.array([last], np.int64)
            )
    return found


def _with_white_space(
    text: str, span: tuple[int, int], within: tuple[int, int], left: bool, right: bool
) -> tuple[int, int]:
    first, last = span
    while left and first > within[0] and text[first - 1].isspace():
        first -= 1
    while right and last < within[1] and text[last].isspace():
        last += 1
    return first, last


def pairs(points: list[int]) -> list[tuple[int, int]]:
    """Neighbouring points as (start, end)."""
    return list(pairwise(points))


def _first_piece(text: str, tokenizer: "PreTrainedTokenizerBase") -> _Tokens:
    # T5's normalizer drops control characters; offsets are one off after each that the text begins with.
    normalizer, dropped = tokenizer.backend_tokenizer.normalizer, 0
    while normalizer is not None and dropped < len(text) and not normalizer.normalize_str(text[dropped]):
        dropped += 1
    return _extents(tokenizer(text[dropped:], add_special_tokens=True, **_ENCODE), start=dropped, skip=0)


def _piece(text: str, span: tuple[int, int], tokenizer: "PreTrainedTokenizerBase", with_bos: bool) -> _Tokens:
    start, end = span
    if start == 0 and with_bos:
        return _first_piece(text[:end], tokenizer)
    for context in _CONTEXTS:
        encoded = tokenizer(context + text[start:end], add_special_tokens=False, **_ENCODE)
        offsets = encoded["offset_mapping"]
        is_kept = any(last == len(context) for _, last in offsets)
        if is_kept and all(not first < len(context) < last for first, last in offsets):
            return _extents(encoded, start, skip=len(context))
    raise UserError(
        f"tokenizer {tokenizer.name_or_path!r} merges every character tried with {text[start : start + 10]!r}; "
        "its responses cannot be told from their context"
    )


_ENCODE = {
    "return_offsets_mapping": True,
    "return_special_tokens_mask": True,
    "return_attention_mask": False,
    "split_special_tokens": True,
    "verbose": False,
}


def _extents(encoded: dict[str, list[int]], start: int, skip: int) -> _Tokens:
    """Tokens after the first ``skip`` characters, without the special tokens that the tokenizer appended."""
    offsets = np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2)
    ids = np.array(encoded["input_ids"], np.int32)
    of_text = np.flatnonzero(np.array(encoded["special_tokens_mask"]) == 0)
    keep = np.arange(len(ids)) <= (of_text[-1] if len(of_text) else len(ids))
    if skip:
        keep &= offsets[:, 1] > skip
    ids, offsets = ids[keep], offsets[keep] - skip + start
    starts, ends = offsets[:, 0], np.maximum.accumulate(offsets[:, 1]) if len(ids) else offsets[:, 1]
    previous_end = np.concatenate([[start], ends[:-1]])
    return _Tokens(ids, np.minimum(starts, previous_end), ends)
