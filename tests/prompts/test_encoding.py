"""Every response gets the tokens that spell it, whatever the tokenizer; nothing else changes and nothing is lost."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase

from centaurlab.prompts.encoding import Coverage, encode
from centaurlab.runtime.errors import UserError
from helpers.span_checks import TEXTS, check_tokens, is_seen, responses_by_hand, tokens_of
from helpers.tokenizers_zoo import FAMILIES, SPECIAL, Family, tokenizer_of

pieces = st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=4)), max_size=5).map("".join)
plain = pieces.map(lambda text: re.sub("[\ud800-\udfff]", "", text).replace("<<", "< <").replace(">>", "> >"))
sessions = st.lists(st.tuples(plain, plain), min_size=1, max_size=6).map(
    lambda parts: "".join(f"{context}<<{response}>>" for context, response in parts) + "\n"
)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def joint_tokens(text: str, family: Family) -> tuple[list[int], list[tuple[int, int]]]:
    """What the tokenizers library itself makes of the whole text: ids and offsets."""
    backend = tokenizer_of(family).backend_tokenizer
    backend.encode_special_tokens = True
    encoded = backend.encode(text)
    return encoded.ids, encoded.offsets


@each_family
@settings(max_examples=30, deadline=None)
@given(text=sessions)
def test_responses_are_disjoint_spans_of_tokens_in_order(family: Family, text: str) -> None:
    encoding = encode(text, tokenizer_of(family))
    assert (encoding.start_R < encoding.end_R).all()
    assert (encoding.start_R[1:] >= encoding.end_R[:-1]).all()
    assert (np.diff(encoding.response_R) > 0).all()
    n_tokens = len(encoding.input_ids_T)
    assert n_tokens == (encoding.end_R[-1] if len(encoding.end_R) else 0), "nothing after the last response"
    assert len(encoding.end_character_T) == n_tokens
    assert (np.diff(encoding.end_character_T) >= 0).all()


@each_family
@settings(max_examples=60, deadline=None)
@given(text=sessions)
def test_a_response_is_spelt_by_its_tokens(family: Family, text: str) -> None:
    check_tokens(text, family)


@pytest.mark.parametrize("family", [f for f in FAMILIES if not f.is_lossless], ids=lambda family: family.name)
def test_a_lossy_tokenizer_spells_what_it_knows(family: Family) -> None:
    text = "You choose <<yes>>. You answer <<blue>> ->> <<red>>, Vous répondez <<très bien>> <<左>> <<да>> <<כן>>."
    assert check_tokens(text, family) >= 6


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.is_lossless], ids=lambda family: family.name)
@settings(max_examples=30, deadline=None)
@given(text=sessions)
def test_ids_are_those_of_the_whole_text_up_to_the_first_token_that_straddles(family: Family, text: str) -> None:
    ids, offsets = joint_tokens(text, family)
    edges = {edge for span in responses_by_hand(text) if is_seen(text[slice(*span)]) for edge in span}
    special = set(tokenizer_of(family).all_special_ids) - {tokenizer_of(family).unk_token_id}
    straddling = [
        any(start < edge < end for edge in edges) or (token in special and end > start)
        for token, (start, end) in zip(ids, offsets, strict=True)
    ]
    encoding = encode(text, tokenizer_of(family))
    if any(straddling):
        first = offsets[straddling.index(True)][0]
        n_before = int((encoding.end_character_T <= text.rfind(" ", 0, first)).sum())
        assert encoding.input_ids_T[:n_before].tolist() == ids[:n_before]
    else:
        assert encoding.coverage.straddling == 0
        assert encoding.input_ids_T.tolist() == ids[: len(encoding.input_ids_T)]


@pytest.mark.parametrize("family", [f for f in FAMILIES if not f.is_lossless], ids=lambda family: family.name)
def test_ids_of_plain_sessions_are_those_of_the_whole_text(family: Family) -> None:
    text = "You answer <<yes>> and <<blue>>, then <<red>>.\nYou press <<J>>. Vous répondez <<très bien>>."
    encoding = encode(text, tokenizer_of(family))
    assert encoding.coverage == Coverage(responses=5, scored=5)
    assert encoding.input_ids_T.tolist() == joint_tokens(text, family)[0][: len(encoding.input_ids_T)]


@pytest.mark.parametrize("family", FAMILIES[:8], ids=lambda family: family.name)
def test_ids_after_a_cut_are_those_of_the_middle_of_a_text(family: Family) -> None:
    tokenizer = tokenizer_of(family)
    encoding = encode("You say <<-B->>, You press <<J>>", tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(encoding.input_ids_T.tolist())
    assert family.text_of is not None
    assert encoding.coverage.straddling == 1
    assert family.text_of(tokens[1:]).strip() == "You say <<-B->>, You press <<J"


@each_family
def test_text_never_becomes_a_special_token(family: Family) -> None:
    tokenizer = tokenizer_of(family)
    text = "You may say <pad> or <<mask>>. " + " ".join(f"<<{name}>>" for name in SPECIAL) + " <eos> <<J>>"
    encoding = encode(text, tokenizer)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert not special & set(encoding.input_ids_T[1:].tolist())
    assert encoding.coverage.scored == 2 + len(SPECIAL)


@each_family
def test_special_tokens_are_those_that_the_tokenizer_adds_in_front(family: Family) -> None:
    tokenizer = tokenizer_of(family)
    encoding = encode("You press <<J>> and <<F>>", tokenizer)
    in_front = [tokenizer.bos_token_id] if tokenizer("").input_ids[:1] == [tokenizer.bos_token_id] else []
    special = set(tokenizer.all_special_ids)
    assert encoding.input_ids_T[: len(in_front)].tolist() == in_front
    assert not special & set(encoding.input_ids_T[len(in_front) :].tolist())


@each_family
@settings(max_examples=30, deadline=None)
@given(text=st.one_of(sessions, pieces), max_tokens=st.none() | st.integers(1, 40))
def test_coverage_accounts_for_every_response(family: Family, text: str, max_tokens: int | None) -> None:
    text = re.sub("[\ud800-\udfff]", "", text)
    spans = responses_by_hand(text)
    coverage = encode(text, tokenizer_of(family), max_tokens).coverage
    assert coverage.responses == len(spans) == coverage.scored + coverage.cut + coverage.empty
    blank = sum(not is_seen(text[start:end]) for start, end in spans)
    assert coverage.empty == blank if family.is_lossless else coverage.empty >= blank  # it may drop a whole response
    assert max_tokens is not None or coverage.cut == 0


@each_family
@settings(max_examples=30, deadline=None)
@given(text=sessions, max_tokens=st.integers(1, 40))
def test_the_context_window_cuts_responses_whole(family: Family, text: str, max_tokens: int) -> None:
    whole, cut = encode(text, tokenizer_of(family)), encode(text, tokenizer_of(family), max_tokens)
    kept = whole.end_R <= max_tokens
    assert cut.response_R.tolist() == whole.response_R[kept].tolist()
    assert cut.start_R.tolist() == whole.start_R[kept].tolist()
    assert cut.input_ids_T.tolist() == whole.input_ids_T[: len(cut.input_ids_T)].tolist()
    assert len(cut.input_ids_T) <= max_tokens


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<<\u0338yes>>", None),
        ("\x1f\x1f<<yes>> <<red>>", ["yes", "red"]),
        ("<<yes->> <<- red>>,<<blue->>", ["yes-", "-red", "blue-"]),
    ],
)
@pytest.mark.parametrize("family", FAMILIES[-2:], ids=lambda family: family.name)
def test_normalization_moves_no_boundary(family: Family, text: str, said: list[str] | None) -> None:
    """Composed with a marker, dropped in front, begun again after a cut: what SentencePiece's normalizers do."""
    tokens = tokens_of(encode(text, tokenizer_of(family)), family)
    if said is None:
        assert tokens[0][-3:] == [*"yes"] or tokens[0][-2:] == ["y", "es"]
        assert "<unk>" in tokens[0]
    else:
        assert ["".join(one).replace("▁", "") for one in tokens] == said


def test_an_unclosed_marker_is_counted_as_malformed() -> None:
    coverage = encode("You press <<J>> and <<F", tokenizer_of(FAMILIES[0])).coverage
    assert coverage == Coverage(responses=1, scored=1, malformed=1)


def test_coverage_adds_up_field_by_field() -> None:
    assert Coverage(5, 3, 1, 1, 2, 1) + Coverage(2, 1, 1, 0, 0, 1) == Coverage(7, 4, 2, 1, 2, 2)


def test_what_the_paper_protocol_cuts_off_is_counted() -> None:
    text = "You press <<J>>." + "x" * 32_768 + "<<F>> <<J>>"
    encoding = encode(text, tokenizer_of(FAMILIES[0]), protocol="paper")
    assert encoding.coverage == Coverage(responses=3, scored=1, cut=2)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(UserError, match="slow tokenizer"):
        encode("You press <<J>>", ByT5Tokenizer())


def test_the_list_of_added_tokens_is_asked_for_by_templates_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma has 6,000 of them; a free run encodes every answer, and would spend most of its time on the list."""
    tokenizer = tokenizer_of(FAMILIES[0])
    expected = encode("You press <<J>>.", tokenizer).input_ids_T
    monkeypatch.delattr(type(tokenizer), "added_tokens_decoder")
    monkeypatch.delattr(PreTrainedTokenizerBase, "added_tokens_decoder", raising=False)
    assert (encode("You press <<J>>.", tokenizer).input_ids_T == expected).all()
