"""Effects as tables: what new people and new items would give, where items recur."""

from centaurlab.display.effect_tables import effect_tables, items_table
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effect, effects_of


def test_studies_whose_items_recur_have_a_table_of_their_own() -> None:
    wide = Estimate(0.2, -0.1, 0.5)
    crossed = effect(
        "a", Estimate(0.2, 0.1, 0.3), item_share=0.75, d_items=wide, nll_difference_items=Estimate(0.4, -0.2, 1)
    )
    effects = [*effects_of(["b"], Estimate(0.1, 0.0, 0.2)), crossed]
    table = effect_tables(effects)[-1]
    assert table.title == "New people and new items"
    shown = [cell.text for row in table.rows for cell in row]
    assert shown == ["a", "75 %", "+0.400", "-0.200 to +1.000", "+0.200", "-0.100 to +0.500"]
    assert items_table(effects[:-1]) is None
