"""A report says what its runs found: read back, its tables are theirs."""

import base64
import re
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.reporting import write_report
from centaurlab.stats.effect_table import effects_table, read_effects
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effect, effects_of
from helpers.finished_runs import about, effect_run, score_run
from helpers.json_files import run_json, write_json
from helpers.report_pages import Page
from helpers.transcripts import json_lines

ENDS = ("_low", "_high", "_low_these", "_high_these")
PEOPLE = "95 % interval, new people in these studies"


def test_the_table_of_studies_is_the_effects_table(page: Page, runs: dict[str, Path]) -> None:
    shown = page.table("study", "difference (nats)", "95 % interval", PEOPLE, "d")
    effects = effects_table(read_effects(runs["effect"])).query("level != 'domain'").set_index("name")
    assert shown.column(1).keys() == set(effects.index)
    for name, row in effects.iterrows():
        cells = next(cells for cells in shown.rows if cells[0][0] == name)
        keys = [float(number) for _, key in cells[1:] for number in (key or "").split()]
        expected = [f"{name}{end}" for name in ("nll_difference", "d", "p_worse") for end in ("", *ENDS)]
        expected += ["d_within", "d_paired", "d_paired_low", "d_paired_high"]
        expected += ["nll_base", "nll_post", "q", "n_responses", "n_participants"]
        expected.insert(expected.index("q"), "nll_difference_q")
        assert keys == [row[column] for column in expected if row[column] == row[column]]
        assert cells[1][0] == f"{row['nll_difference']:+.3f}"


def test_the_mean_over_studies_ends_the_table(page: Page) -> None:
    assert page.table("study", "difference (nats)", "95 % interval", PEOPLE, "d").rows[-1][0][0] == "all studies"


def test_the_nll_of_each_study_is_that_of_the_run(page: Page, runs: dict[str, Path]) -> None:
    found = [table for table in page.tables if table.head[:2] == ["study", "NLL"] and "accuracy" in table.head]
    for table, path in zip(found, (runs["score0"], runs["score1"]), strict=True):
        known = run_json(path)
        expected = {study: values["nll"] for study, values in known["data"]["studies"].items()}
        read = {name: float(key) for name, key in table.column(1).items()}
        assert read == pytest.approx(expected | {"all studies": known["nll_mean"]}, abs=1e-6)


def test_coverage_counts_every_response(page: Page) -> None:
    shown = [table for table in page.tables if "malformed" in table.head]
    assert len(shown) == 2, "one for the scores, one for the comparison: equal for both models"
    assert all(table.column(2)["all studies"] == "60" for table in shown)
    assert all(table.column(table.head.index("failed"))["all studies"] == "9" for table in shown)


def test_the_answer_says_which_way_is_worse(page: Page) -> None:
    text = " ".join(page.text)
    assert "d = +0.400, 95 % interval +0.100 to +0.700 for studies like these, +0.100 to +0.700 for new people" in text
    assert "people are predicted worse by base than by centaur (d = +0.400, 95 % interval +0.300 to +0.500" in text
    assert "fell in 1 of 1 studies and rose in none" in text


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.3), (0.0, 0.3)])
def test_an_interval_that_includes_zero_tells_nothing_apart(tmp_path: Path, low: float, high: float) -> None:
    run = effect_run(tmp_path / "run", effects_of(["a2020", "b2021"], Estimate(0.1, low, high)), [])
    (section,) = write_report([run], tmp_path / "report.html", "html")
    answer = section.answers[0]
    assert "no clear difference" in answer
    assert "do not tell the two sides apart" in " ".join(section.explanation)


def test_an_interval_that_does_not_exist_is_not_claimed(tmp_path: Path) -> None:
    effects = [effect("all studies", Estimate(0.1), "overall"), effect("a2020", Estimate(0.1))]
    (section,) = write_report([effect_run(tmp_path / "run", effects, [])], tmp_path / "report.html", "html")
    assert "no interval" in section.answers[0]
    assert "zero" not in section.answers[0]


def test_of_one_study_the_numbers_at_a_glance_have_its_own_interval(tmp_path: Path) -> None:
    effects = [effect("all studies", Estimate(0.1), "overall"), effect("a2020", Estimate(0.1, 0.05, 0.15))]
    scores = score_run(tmp_path / "scores", "org/one", ["a2020"])
    compared = effect_run(tmp_path / "run", effects, [scores, scores])
    sections = write_report([compared, scores], tmp_path / "report.html", "html")
    notes = {card.label: card.note for section in sections for card in section.cards}
    assert notes["nats per response"] == "95 % interval +0.100 to +0.300, new people"
    assert notes["d"] == "95 % interval +0.050 to +0.150, new people"
    assert notes["probability ratio"] == "95 % interval 0.741 to 0.905, new people", "exp(-0.3), exp(-0.1)"
    assert notes["one, nats per response"].startswith("95 % interval")


@pytest.mark.parametrize("studies", [["a2020"], ["c2022"]])
def test_a_folder_of_scores_that_holds_other_data_by_now_is_not_shown(studies: list[str], tmp_path: Path) -> None:
    """Fewer studies, or another."""
    scores = [score_run(tmp_path / name, f"org/{name}", ["a2020", "b2021"], seed) for seed, name in enumerate("st")]
    compared = effect_run(tmp_path / "run", effects_of(["a2020", "b2021"], Estimate(0.1)), scores)
    score_run(scores[0], "org/s", studies, 0, f"people of {studies}")
    (section,) = write_report([compared], tmp_path / "report.html", "html")
    assert [table.title for table in section.tables if "Coverage" in table.title] == ["Coverage: t"]
    assert not [command for command in section.commands if "org/s" in command]
    said = f"The scores of org/s ({scores[0]} holds scores of another model or of other data by now) are not at hand"
    assert any(one.startswith(said) for one in section.explanation)


def test_bounds_that_say_nothing_stay_short(tmp_path: Path) -> None:
    effects = effects_of(["a2020", "b2021"], Estimate(0.1, -1234567, 99.5))
    write_report([effect_run(tmp_path / "run", effects, [])], tmp_path / "report.md", "markdown")
    assert "-1,235,000 to +100" in (tmp_path / "report.md").read_text()


def test_provenance_and_commands_stand_in_the_page(page: Page) -> None:
    text = " ".join(page.text)
    for known in ("c0ffee", "fingerprint f0", "fingerprint f1", "data people", "torch 2.13.0", "2,000 resamples"):
        assert known in text
    assert "python eval/score.py --model_name_or_path org/model0" in text
    assert "python eval/misalignment.py --base 'a b' --post c" in text


def test_other_tables_and_figures_of_a_folder_are_shown(runs: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "frontier"
    (run / "figures").mkdir(parents=True)
    write_json(run / "run.json", about("frontier", "eval/frontier.py") | {"verdict": "centaur is on the frontier"})
    rows = {"name": ["base", "centaur"], "d": [0.0, -0.25], "d_low": [None, -0.5], "d_high": [None, -0.1]}
    pd.DataFrame(rows | {"on_frontier": [True, False]}).to_csv(run / "frontier.csv", index=False)
    (run / "figures/frontier.png").write_bytes(b"\x89PNG")
    write_report([run], tmp_path / "report.html", "html")
    page = Page(tmp_path / "report.html")
    table = page.table("name", "d", "95 % interval", "on frontier")
    assert [text for text, _ in table.rows[1]] == ["centaur", "-0.250", "-0.500 to -0.100", "no"]
    assert [text for text, _ in table.rows[0]] == ["base", "0.000", "–", "yes"]
    assert ("src", "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()) in page.addresses
    assert "centaur is on the frontier." in " ".join(page.text)


def test_a_chart_says_what_lies_at_its_ends_and_of_which_model_each_value_is(runs: dict[str, Path], page: Page) -> None:
    text = " ".join(page.text)
    assert "← centaur worse   |   base worse →" in text
    assert "← closer to people" in text
    scores = [run_json(runs[name])["data"]["studies"]["a2020"]["nll"] for name in ("score0", "score1")]
    values = re.findall(r'<span class="s(\d)">([^<]+)</span>', page.source)
    for i, nll in enumerate(scores):
        assert any(series == str(i) and float(value) == pytest.approx(nll, abs=0.006) for series, value in values)


def test_where_models_are_compared_the_scores_do_not_ask_for_a_comparison(runs: dict[str, Path], page: Page) -> None:
    asked = "Whether two models differ"
    assert asked not in " ".join(page.text)
    (alone,) = write_report([runs["score0"], runs["score1"]], runs["score0"].parent / "scores.html", "html")
    assert asked in " ".join(alone.answers)


def test_post_training_says_what_it_was_on(tmp_path: Path) -> None:
    run = tmp_path / "post"
    run.mkdir()
    known = about("posttrain", "centaurlab", "posttrain") | {"base": {"name": "org/base"}, "data": {"name": "talk"}}
    write_json(run / "run.json", known | {"steps": 24, "conversations": 2000, "learned_tokens": 42760})
    write_json(run / "config.json", {"posttrain": {"method": "sft"}})
    (run / "metrics.jsonl").write_text(json_lines([{"time": 0, "step": s, "train/loss": 3 / s} for s in (1, 2)]))
    (section,) = write_report([run], tmp_path / "report.html", "html")
    assert section.answers[0].startswith("24 steps of SFT from base on 2,000 conversations, 42,760 tokens to learn.")
    assert [figure.name for figure in section.figures] == ["training"]


def test_several_pairs_are_listed_and_averaged(tmp_path: Path) -> None:
    effects = effects_of(["a2020"], Estimate(0.2, 0.1, 0.3), group="all", group_name="all pairs")
    for model in ("org/one", "org/two"):
        effects += effects_of(["a2020"], Estimate(0.2, 0.1, 0.3), group_name=model)
    (section,) = write_report([effect_run(tmp_path / "run", effects, [])], tmp_path / "report.html", "html")
    assert (
        "on average over these 2 pairs, people are predicted worse by the post-trained models than by the base models"
        in section.answers[0]
    )
    pairs = Page(tmp_path / "report.html").table("post-trained", "base")
    assert [row[0][0] for row in pairs.rows][:3] == ["one", "two", "all pairs"]
    assert [figure.name for figure in section.figures] == ["nats", "forest", "pairs", "domains"]
