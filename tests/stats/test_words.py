"""What is written of an estimate is true to the digits that its interval supports, and names no winner by chance."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from centaurlab.stats.contrast import Contrast
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import (
    NLL,
    NOTHING,
    D,
    Quantity,
    cells,
    decimals_of,
    in_words,
    listed,
    nats_in_words,
    number,
    of_responses,
    percent,
    plus_minus,
    verdict,
    verdict_of,
)
from helpers.effect_rows import effect, effects_of

NAN = math.nan
CONTRAST = Contrast("org/chat", "org/base")
FINITE = st.floats(-1e12, 1e12) | st.floats(-10, 10) | st.floats(-1e-3, 1e-3)
NUMBER = re.compile(r"[+-]?[\d,]+(?:\.\d+)?(?:e[+-]\d+)?")


def read(text: str) -> float:
    return float(text.replace(",", ""))


def last_digit(text: str) -> float:
    """What one unit of the last digit is worth, of a number as it is written."""
    mantissa, _, power = text.replace(",", "").partition("e")
    return 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(FINITE, FINITE, FINITE)))
    return Estimate(value, low, high)


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.409, True, "+0.409"),
        (-0.0324, True, "-0.032"),
        (3.2964, False, "3.296"),
        (0.0, True, "0.000"),
        (-1e-17, True, "0.000"),
        (-0.0004, True, "-0.0004"),
        (0.00004, False, "0.00004"),
        (3e-8, False, "3e-08"),
        (99.9996, False, "100.000"),
        (123.456, False, "123.5"),
        (98765.4, False, "98,765"),
        (1.5e9, True, "+1.5e+09"),
        (12345, False, "12,345"),
        (3, True, "+3"),
        (0, True, "0"),
        (NAN, True, NOTHING),
        (math.inf, True, NOTHING),
        (None, False, NOTHING),
    ],
)
def test_numbers(value: float | None, signed: bool, text: str) -> None:
    assert number(value, signed) == text


@given(FINITE, st.booleans())
def test_a_number_is_read_back_to_its_digits(value: float, signed: bool) -> None:
    text = number(value, signed)
    assert NUMBER.fullmatch(text)
    if "e" in text or abs(value) >= 0.0005:
        assert abs(read(text) - value) <= 0.501 * last_digit(text) * (100 if "e" in text else 1)
    if abs(value) >= 1e-9:
        assert math.copysign(1, read(text)) == math.copysign(1, value)
        assert read(text) != 0
        assert text.startswith("+") == (signed and value > 0)


@given(estimates())
def test_an_interval_decides_how_many_digits_there_are(estimate: Estimate) -> None:
    """By the rule's own words: two or three digits of the half-width, three decimals where that is among them."""
    half = (estimate.high - estimate.low) / 2
    assume(1e-5 < half < 1e6)
    decimals = decimals_of(estimate)
    assert decimals is not None
    digits = len(f"{half * 10.0**decimals:.9f}".split(".")[0])
    assert digits in (2, 3)
    assert decimals == 3 or not 0.01 <= half < 1


@given(estimates(), st.booleans())
def test_cells_hold_the_estimate(estimate: Estimate, signed: bool) -> None:
    assume(estimate.high - estimate.low > 2e-5)
    value, interval = cells(estimate, signed)
    low, high = interval.split(" to ")
    half = (estimate.high - estimate.low) / 2
    for text, exact in ((value, estimate.value), (low, estimate.low), (high, estimate.high)):
        assert abs(read(text) - exact) <= max(0.051 * half, 0.0051 * abs(exact), 1e-9)
    if estimate.excludes_zero and min(abs(estimate.low), abs(estimate.high)) > 1e-9:
        assert read(low) * read(high) > 0


def test_cells_of_what_is_not_defined() -> None:
    assert cells(Estimate(NAN)) == (NOTHING, NOTHING)
    assert cells(Estimate(0.1)) == ("+0.100", NOTHING)
    assert cells(Estimate(1.5, 1.2, 1.9), signed=False) == ("1.500", "1.200 to 1.900")
    assert cells(Estimate(1.972, -5379791.4, 753.61)) == ("+2", "-5,380,000 to +800")
    assert cells(Estimate(0.2, 0.00004, 0.4)) == ("+0.200", "+0.00004 to +0.400")


@pytest.mark.parametrize(
    ("estimate", "quantity", "units", "text"),
    [
        (Estimate(0.409, 0.22, 0.598), D, "studies", "d = +0.409, 95 % interval +0.220 to +0.598, which excludes zero"),
        (Estimate(0.2, -0.1, 0.5), D, "studies", "d = +0.200, 95 % interval -0.100 to +0.500, which includes zero"),
        (Estimate(0.2, n_units=1), D, "people", "d = +0.200; no interval: it needs two people or more"),
        (
            Estimate(0.2, n_units=2),
            *(D, "people", "d = +0.200; no interval: it is not defined by some of these 2 people alone"),
        ),
        (Estimate(0.2), D, "people", "d = +0.200; no interval: too few people, or too few responses of theirs"),
        (Estimate(0.2), D, "studies", "d = +0.200; no interval: it needs two studies or more"),
        (Estimate(NAN), D, "studies", "d is not defined"),
        (Estimate(3.3, 2.9, 3.7), NLL, "studies", "NLL = 3.300 nats per response, 95 % interval 2.900 to 3.700"),
        (
            Estimate(-0.01, -0.012, -0.008),
            Quantity("difference", "nats per choice", is_difference=True),
            "people",
            "difference = -0.0100 nats per choice, 95 % interval -0.0120 to -0.0080, which excludes zero",
        ),
    ],
)
def test_an_estimate_in_running_text(estimate: Estimate, quantity: Quantity, units: str, text: str) -> None:
    assert in_words(estimate, quantity, units) == text


def test_a_half_width_that_was_asked_for() -> None:
    assert plus_minus(1.23456, 0.05) == "1.235 ± 0.050"
    assert plus_minus(1.23456, 0.005) == "1.2346 ± 0.0050"
    assert plus_minus(12.5, 7.3) == "12.50 ± 7.30"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (-1e-17, "0 %"),
        (1.0, "100 %"),
        (0.75, "75 %"),
        (0.004, "0.4 %"),
        (-0.004, "-0.4 %"),
        (0.005, "0.5 %"),
        (0.996, "99.6 %"),
        (0.9996, "99.96 %"),
        (1.004, "100.4 %"),
        (0.00003, "0.003 %"),
        (NAN, NOTHING),
    ],
)
def test_a_share_is_none_or_all_of_it_only_where_it_is(share: float, text: str) -> None:
    assert percent(share) == text
    assert percent(share, signed=True) == ("+" * (share > 0) + text)
    assert percent(1 - 0.0025, decimals=1) == "99.8 %"


def test_names_in_a_sentence() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (
            Estimate(0.2, 0.1, 0.3),
            "people are predicted worse by org/chat than by org/base (d = +0.200, 95 % interval +0.100 to +0.300, "
            "which excludes zero)",
        ),
        (
            Estimate(-0.2, -0.3, -0.1),
            "people are predicted better by org/chat than by org/base (d = -0.200, 95 % interval -0.300 to -0.100, "
            "which excludes zero)",
        ),
        (
            Estimate(0.2, -0.1, 0.3),
            "no clear difference between org/chat and org/base (d = +0.200, 95 % interval -0.100 to +0.300, "
            "which includes zero)",
        ),
        (
            Estimate(0.2),
            "whether people are predicted worse by org/chat or by org/base cannot be told (d = +0.200; no interval: it "
            "needs two studies or more)",
        ),
        (
            Estimate(0.0),
            "whether people are predicted worse by org/chat or by org/base cannot be told (d = 0.000; no interval: it "
            "needs two studies or more)",
        ),
        (Estimate(NAN), "d(org/chat − org/base) is not defined: too few responses, or all with the same NLL"),
    ],
)
def test_the_verdict(difference: Estimate, sentence: str) -> None:
    assert verdict(CONTRAST, difference) == sentence


def test_the_verdict_on_contexts() -> None:
    contrast = Contrast("no", "their own", "persona", by="with")
    said = verdict(contrast, Estimate(0.2, 0.1, 0.3))
    assert said.startswith("people are predicted worse with no persona than with their own persona (d = +0.200")


@given(estimates() | st.builds(Estimate, FINITE))
def test_no_side_is_better_or_worse_unless_the_interval_excludes_zero(difference: Estimate) -> None:
    said = verdict(CONTRAST, difference)
    assert said.startswith(("people are predicted worse", "people are predicted better")) == difference.excludes_zero
    assert said.startswith("whether people are predicted") == (not difference.has_interval)


@given(estimates(), estimates())
def test_a_side_is_worse_without_reserve_only_where_both_intervals_exclude_zero(
    like: Estimate, these: Estimate
) -> None:
    these = Estimate(like.value, like.value - (these.value - these.low), like.value + (these.high - these.value))
    said = verdict(CONTRAST, like, these=these)
    is_named = said.startswith(("people are predicted worse", "people are predicted better"))
    assert is_named == these.excludes_zero
    assert (", in these studies; of others it cannot be said" in said) == (is_named and not like.excludes_zero)


def test_a_mean_over_studies_says_which_interval_is_of_what() -> None:
    said = verdict(CONTRAST, Estimate(0.2, -0.1, 0.5), these=Estimate(0.2, 0.1, 0.3))
    assert said == (
        "people are predicted worse by org/chat than by org/base, in these studies; of others it cannot be said (d "
        "= +0.200, 95 % interval -0.100 to +0.500 for studies like these, which includes zero, +0.100 to +0.300 for "
        "new people in these studies, which excludes zero)"
    )


@given(estimates())
def test_a_contrast_turned_round_says_the_same(difference: Estimate) -> None:
    said, turned = verdict(CONTRAST, difference), verdict(CONTRAST.turned, -difference)
    assert said.startswith("people are predicted worse") == turned.startswith("people are predicted better")
    assert CONTRAST.turned.turned == CONTRAST
    assert CONTRAST.turned.ends == CONTRAST.ends[::-1]


def test_one_study_is_judged_by_its_people_and_speaks_for_itself() -> None:
    overall, study = effect("all studies", Estimate(0.3), "overall"), effect("a2020", Estimate(0.3, 0.1, 0.5))
    assert verdict_of([overall, study]) == (
        "in a2020, people are predicted worse by org/post than by org/base (difference = +0.600 nats (+0.866 bits) per "
        "response, 95 % interval +0.200 to +1.000, which excludes zero; d = +0.300, 95 % interval +0.100 to +0.500, "
        "which excludes zero); this says nothing of other studies; it is about these items"
    )
    unclear = verdict_of([overall, replace(study, d=Estimate(0.3, -0.1, 0.7))])
    assert unclear.startswith("in a2020, no clear difference between org/post and org/base (difference = +0.600 nats")
    alone = verdict_of([overall, replace(study, d=Estimate(0.3, n_units=1))])
    assert alone.startswith("in a2020, whether people are predicted worse by org/post or by org/base cannot be told")
    assert "no interval: it needs two people or more" in alone


def test_studies_without_a_d_leave_one_that_is_judged_by_its_people() -> None:
    effects = [effect("all studies", Estimate(0.3), "overall"), effect("a", Estimate(NAN)), effect("b", Estimate(0.3))]
    assert verdict_of(effects).startswith("in b, whether people are predicted worse by org/post or by org/base cannot")


def test_where_nats_and_d_disagree_the_verdict_says_whose_it_is() -> None:
    alone = [effect("all studies", Estimate(0.1), "overall")]
    clear, unclear = Estimate(0.1, 0.05, 0.15), Estimate(0.1, -0.05, 0.25)
    for d, nats, disagree in ((clear, clear, 0), (unclear, unclear, 0), (unclear, clear, 1), (clear, unclear, 1)):
        both = {"nll_difference": nats, "nll_difference_these": nats}
        study = replace(effect("a", d), **both)
        several = [replace(effect("all studies", d, "overall"), **both), study, effect("b", clear)]
        wide = {"d": Estimate(0.1, -1, 2), "nll_difference": Estimate(0.1, -1, 2)}  # the verdict rests on these studies
        of_these = [replace(several[0], **wide), *several[1:]]
        for said in (verdict_of([*alone, study]), verdict_of(several), verdict_of(of_these)):
            assert said.count("this is the verdict of d, and nats do not agree") == disagree


def test_where_the_first_side_is_better_few_responses_gained_most() -> None:
    overall = effects_of(["a2020"], Estimate(-0.1, -0.3, 0.1))[0]
    found = of_responses(replace(overall, top_share=0.125, nll_difference=Estimate(-0.3)), "post")
    assert "the 1 % of responses that gained most (of each study at least one) hold 12 % of the difference" in found


def test_where_only_these_studies_have_an_interval_nothing_is_said_of_others() -> None:
    contrast, these = Contrast("post", "base"), Estimate(0.2, 0.1, 0.3)
    said = verdict(contrast, Estimate(0.2), these=these)
    assert said.startswith("people are predicted worse by post than by base, in these studies; of others it cannot be")
    assert verdict(contrast, these, these=these).startswith("people are predicted worse by post than by base (")


def test_where_nats_say_the_opposite_the_verdict_says_so() -> None:
    """As where one study, whose NLLs spread widely, gains much, and others, whose NLLs do not, lose a little."""
    overall = effect("all studies", Estimate(0.2, -0.3, 0.7), "overall")
    these = {"d_these": Estimate(0.2, 0.1, 0.3), "nll_difference_these": Estimate(-2.0, -3.0, -1.0)}
    said = verdict_of([replace(overall, **these), effect("a", Estimate(0.1)), effect("b", Estimate(0.3))])
    assert "this is the verdict of d, and nats say the opposite: see the studies" in said


def test_the_verdict_on_several_studies_is_that_over_them() -> None:
    effects = effects_of(["a", "b"], Estimate(0.1, -0.1, 0.3))
    contrast, nats = Contrast("org/post", "org/base"), nats_in_words(effects[0])
    assert verdict_of(effects) == verdict(contrast, effects[0].d, these=effects[0].d_these, beside=nats)
    assert verdict_of(effects, Contrast("step 3", "the base model")).startswith(
        "no clear difference between step 3 and"
    )


def test_an_average_names_how_many_pairs_it_is_over() -> None:
    overall = replace(effect("all studies", Estimate(0.2, 0.1, 0.3), "overall", group="family"), n_pairs=13)
    assert verdict_of([overall]) == (
        "on average over these 13 pairs, people are predicted worse by the post-trained models than by the base models "
        "(difference = +0.400 nats (+0.577 bits) per response, 95 % interval +0.200 to +0.600 for studies like these, "
        "+0.200 to +0.600 for new people in these studies, both of which exclude zero; d = +0.200, 95 % interval "
        "+0.100 to +0.300 for studies like these, +0.100 to +0.300 for new people in these studies, both of which "
        "exclude zero); for models like these, d = +0.200, 95 % interval 0.000 to +0.400, which includes zero"
    )
    assert verdict_of([replace(overall, n_pairs=1)]).startswith("on average over these 1 pair, people")


@pytest.mark.parametrize(("share", "said"), [(0.125, "12 % of the"), (9.8, "more than the whole of the"), (-2.0, None)])
def test_what_few_responses_hold_is_a_share_of_what_there_is(share: float, said: str | None) -> None:
    overall = effects_of(["a2020"], Estimate(0.1, -0.1, 0.3))[0]
    found = of_responses(replace(overall, top_share=share), "post")
    sentence = f"the 1 % of responses that lost most (of each study at least one) hold {said} difference"
    assert (sentence in found) == (said is not None)
    assert ("lost most" in found) == (said is not None)
