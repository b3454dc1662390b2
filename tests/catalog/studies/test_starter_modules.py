"""What the modules of the starter set's studies read, on short sessions in their layout with words of ours."""

import itertools
import math

import pytest

from centaurlab.catalog.studies import catalog_studies
from helpers.studies import read_session


def test_ratings_from_one_to_six():
    (trial,) = read_session("revelle2010personality", 'Choose 1 to 6.\n\nStatement: "Am calm." You choose <<2>>.')
    assert (trial.options, trial.role, trial.item) == (tuple("123456"), "2", "Am calm.")


def test_letters_of_a_questionnaire_are_ordered_by_what_they_mean():
    text = (
        "Annoying situations.\nYour answers are: P for yes, F for perhaps, O for no.\n\nA tram is late. Would "
        "you want to "
        "sigh? You answer <<F>>.\nA tram is late. Would you sigh? You answer <<P>>."
    )
    wish, act = read_session("deboeck2004aggression", text)
    assert wish.options == ("O", "F", "P")
    assert wish.roles == ("no", "perhaps", "yes")
    assert (wish.role, act.role) == ("perhaps", "yes")
    assert wish.stimuli == {"situation": "A tram is late.", "wish": "want", "reaction": "sigh"}
    assert act.stimuli["wish"] == ""
    assert act.item == "A tram is late. Would you sigh?"


def test_an_interview_about_circumstances():
    text = (
        "An interview.\nYour answers are: X for no, B for yes.\n\nShould it be possible if it rains? You answer "
        "<<B>>.\n"
        "Should it be possible if it snows? You answer <<X>>."
    )
    rain, snow = read_session("smith2018abortion", text)
    assert rain.options == ("X", "B")
    assert (rain.role, snow.role) == ("yes", "no")
    assert (rain.item, snow.stimuli["circumstance"]) == ("Should it be possible if it rains?", "it snows")


def test_trips_have_their_attributes_in_the_order_of_their_letters():
    text = (
        "In each choice the first trip is called X and the second trip V.\n\nChoice 1: trip X: 24.00 guilders, "
        "150 minutes, "
        "1 change, medium comfort; trip V: 40.50 guilders, 95 minutes, 0 changes, high comfort. You choose <<V>>."
    )
    (trial,) = read_session("benakiva1993trains", text)
    assert (trial.options, trial.role) == (("X", "V"), "second")
    assert trial.stimuli == {
        "guilders": (24.0, 40.5),
        "minutes": (150.0, 95.0),
        "changes": (1.0, 0.0),
        "comfort": ("medium", "high"),
    }


@pytest.mark.parametrize("study", ["jain1994crackers", "jain1994ketchup", "jain1994yogurt"])
def test_brands_prices_and_promotions(study):
    text = (
        "The options are: W is Heinz, 41 ounces; H is Hunt's, 32 ounces; A is the store's own brand.\n\nTrip 1: "
        "W 4.6, H 2.5 "
        "(advertised), A 3.1 (advertised and displayed). You buy <<H>>.\nTrip 2: W 49 (displayed), H 50, A 3. "
        "You buy <<W>>."
    )
    first, second = read_session(study, text)
    assert first.options == ("W", "H", "A")
    assert (first.role, second.role) == ("Hunt's, 32 ounces", "Heinz, 41 ounces")
    assert first.stimuli == {"price": (4.6, 2.5, 3.1), "advertised": (0.0, 1.0, 1.0), "displayed": (0.0, 0.0, 1.0)}
    assert second.stimuli["displayed"] == (1.0, 0.0, 0.0)


def shopping(brands: str) -> str:
    trips = [f"Trip {i}: W 4, H 5. You buy <<{brand}>>." for i, brand in enumerate(brands, start=1)]
    return "\n".join(["The options are: W is Heinz; H is Hunt's.\n", *trips])


@pytest.mark.parametrize("brands", ["WW", "WH", "WWH", "WWWH", "WHWHW", "WWHHWW"])
def test_no_household_is_loyal_whose_purchases_stand_in_any_order(brands):
    loyalty = catalog_studies()["jain1994ketchup"].effects["brand loyalty"]
    orders = [loyalty(read_session("jain1994ketchup", shopping(order))) for order in itertools.permutations(brands)]
    assert sum(orders) / len(orders) == pytest.approx(0, abs=1e-12)


def test_loyalty_by_hand():
    loyalty = catalog_studies()["jain1994ketchup"].effects["brand loyalty"]
    assert loyalty(read_session("jain1994ketchup", shopping("WWWH"))) == pytest.approx(2 / 3 - 6 / 12)
    assert math.isnan(loyalty(read_session("jain1994ketchup", shopping("W"))))


def test_lists_of_which_nothing_is_recalled_count_in_the_share_of_words():
    shown = [f"List {i}. You see: {', '.join(f'{name}{i}' for name in 'abcdefghijklmnop')}.\n" for i in (1, 2, 3, 4)]
    text = f"Lists.\n\n{shown[0]}{shown[1]}You say <<a2>>, <<b2>>, <<f2>>.\n{shown[2]}You say <<p3>>.\n{shown[3]}"
    effects = catalog_studies()["healey2014recall"].effects
    middle = 1 / 32  # one of eight words of four lists
    for told in (text, text.rstrip()):
        trials = read_session("healey2014recall", told)
        assert effects["primacy"](trials) == pytest.approx(2 / 16 - middle)
        assert effects["recency"](trials) == pytest.approx(1 / 16 - middle)


def test_recalled_words_are_classed_by_where_they_stood():
    text = (
        "Lists.\n\nList 1. You see: oak, ash.\nList 2. You see: elm, yew, fir.\nYou say <<fir>>, <<elm>>, "
        "<< fir>>, <<oak>>, "  # as a model says it whose tokens are words
        "<<tin>>.\nList 3. You see: fig, bay.\nYou say <<yew>>, <<bay>>."
    )
    trials = read_session("healey2014recall", text)
    assert [trial.role for trial in trials] == [
        "3",
        "1",
        "repetition",
        "earlier list",
        "intrusion",
        "earlier list",
        "2",
    ]
    assert [(trial.block, trial.trial) for trial in trials] == [(2, 1)] * 5 + [(3, 2)] * 2
    assert all(trial.options is None for trial in trials)
