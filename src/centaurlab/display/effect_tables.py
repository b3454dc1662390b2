"""Effects as tables to be read: pairs and their averages, studies, domains, kinds of answers, new items."""

from collections.abc import Iterator, Sequence

import pandas as pd

from centaurlab.display.tables import Table, table_of
from centaurlab.stats.effect_table import effects_table
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import STUDIES_LIKE_THESE, percent

_DIFFERENCES = ("nll_difference", "d", "d_within", "d_paired")
_NOTES = {
    "study": "; q: with at most 5 % false ones among the studies that have it below .05",
    "answers": "; chance: NLL of guessing among the options, over the responses that have options alone",
}
_NOT_SHOWN = ["d_within_low", "d_within_high"]


def effect_tables(effects: Sequence[Effect]) -> list[Table]:
    """Pairs and their averages where there are several; studies and domains of the first group."""
    first = effects[0]
    of_first = [e for e in effects if (e.group, e.group_name) == (first.group, first.group_name)]
    whose = f"{first.contrast.first} against {first.contrast.second}"
    if first.group != "pair":
        whose = f"mean of {first.n_pairs} pairs"
    tables = [pair_table(effects)] if first.group != "pair" else []
    tables.append(level_table(f"Studies: {whose}", of_first, "study"))
    if any(effect.level == "domain" for effect in of_first):
        tables.append(level_table(f"Domains: {whose}", of_first, "domain"))
    if any(effect.level == "answers" for effect in of_first):
        tables.append(level_table(f"Kinds of answers: {whose}", of_first, "answers"))
    return [*tables, *([of_items] if (of_items := items_table(effects)) else [])]


def level_table(title: str, effects: Sequence[Effect], level: str) -> Table:
    """The effects of a level, those over all studies below, as ``effects.csv`` has them."""
    chosen = [effect for effect in effects if effect.level in ("overall", level)]
    columns = {"name": level, "nll_difference": "difference (nats)", "d": "d", "p_worse": "P(worse)"}
    columns |= {"d_within": "d within", "d_paired": "paired d", "nll_base": "NLL base", "nll_post": "NLL post"}
    if level == "study":
        columns |= {"nll_difference_q": "q (nats)", "q": "q (d)"}
    if level == "answers":
        columns |= {"chance": "chance"}
    columns |= {"n_responses": "responses", "n_participants": "people"}
    if level == "domain":
        columns |= {"n_studies": "studies"}
    n_summary = sum(effect.level == "overall" for effect in chosen)
    frame = effects_table(chosen).drop(columns=_NOT_SHOWN)
    note = f"all studies: interval of {STUDIES_LIKE_THESE}{_NOTES.get(level, '')}"
    return table_of(title, frame, columns, note, n_summary, _DIFFERENCES)


def items_table(effects: Sequence[Effect]) -> Table | None:
    """Studies of the first group whose items recur, with intervals of new people and new items; None without any."""
    first = effects[0]
    group = (first.group, first.group_name, "study")
    found = [e for e in effects if (e.group, e.group_name, e.level) == group and e.d_items.has_interval]
    if not found:
        return None
    frame = pd.DataFrame(
        {"study": e.name, "recurring": percent(e.item_share)}
        | {f"difference{end}": value for end, value in _ends(e.nll_difference_items)}
        | {f"d{end}": value for end, value in _ends(e.d_items)}
        for e in found
    )
    columns = {"study": "study", "recurring": "items met by several", "difference": "difference (nats)", "d": "d"}
    note = "studies of which a fifth of the items or more were met by several people; of others, intervals are about"
    return table_of("New people and new items", frame, columns, f"{note} their items", signed=("difference", "d"))


def _ends(estimate: Estimate) -> Iterator[tuple[str, float]]:
    yield from (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))


def pair_table(effects: Sequence[Effect]) -> Table:
    """Effects over all studies of every pair, the averages over pairs below."""
    overall = [effect for effect in effects if effect.level == "overall"]
    columns = {"group_name": "post-trained", "base": "base", "n_pairs": "pairs", "nll_difference": "difference (nats)"}
    columns |= {"d": "d", "d_paired": "paired d"}
    columns |= {"nll_base": "NLL base", "nll_post": "NLL post", "n_responses": "responses"}
    n_averages = sum(effect.group != "pair" for effect in overall)
    title = "Pairs and their averages"
    return table_of(title, effects_table(overall), columns, n_summary=n_averages, signed=_DIFFERENCES)
