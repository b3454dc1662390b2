"""The catalog holds what the paper reports: its statements can be read off the tables."""

import math
import subprocess
import sys

import pandas as pd
import pytest

from centaurlab.catalog.pairs import ModelPair, model_pairs, pairs_of
from centaurlab.catalog.tables import domains, published_accuracy, published_effects, published_nll, study_domains
from centaurlab.runtime.errors import UserError


def nll_of_models(figure: str) -> dict[str, float]:
    table = published_nll().query("figure == @figure")
    names = table["model"].str.partition(" (")[0]
    return dict(zip(names, table["mean_nll"], strict=True))


def test_there_are_65_pairs_of_which_each_is_listed_once() -> None:
    pairs = model_pairs()
    assert len(pairs) == len({(pair.base, pair.post_trained) for pair in pairs}) == 65
    assert {pair.post_training for pair in pairs} == {"instruct", "reasoning", "vision", "code", "math"}
    assert not {pair.base for pair in pairs} & {pair.post_trained for pair in pairs}


def test_family_size_and_generation_are_those_of_the_base() -> None:
    by_name = {pair.post_trained: pair for pair in model_pairs()}
    distilled, vision = by_name["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"], by_name["Qwen/Qwen3-VL-32B-Thinking"]
    assert (distilled.family, distilled.size_b, distilled.generation) == ("qwen2.5", 7, 2.5)
    assert (vision.base, vision.family, vision.size_b) == ("Qwen/Qwen3-14B-Base", "qwen3", 14)
    assert by_name["meta-llama/Llama-3.2-1B-Instruct"].generation == 3.2
    assert math.isnan(ModelPair("b", "a", "", "mine", 1).generation)


@pytest.mark.parametrize("pair", model_pairs(), ids=lambda pair: pair.post_trained)
def test_a_size_is_the_one_in_the_name_of_the_base(pair: ModelPair) -> None:
    assert f"{pair.size_b:g}B" in pair.base.split("-")


def test_a_family_is_named_in_any_case() -> None:
    qwen3 = pairs_of("Qwen3")
    assert len(qwen3) == 13
    assert {pair.family for pair in qwen3} == {"qwen3"}


def test_an_unknown_family_is_answered_with_the_nearest_or_all() -> None:
    with pytest.raises(UserError, match="no family 'olmo'; did you mean 'olmo3'"):
        pairs_of("olmo")
    with pytest.raises(UserError, match=r"no family 'gpt'; there are: llama3, .*qwen3"):
        pairs_of("gpt")


def test_studies_have_at_most_one_of_eleven_domains() -> None:
    assert len(domains()) == 11
    studies = study_domains()
    assert len(studies) == 157 + 8  # the paper's, and those of the starter set
    assert all(len(names) <= 1 and set(names) <= set(domains()) for names in studies.values())
    assert studies["badham2017deficits"] == ("Categorization",)
    assert {name for names in studies.values() for name in names} == set(domains())


def test_figure_4_agrees_with_its_printed_column_means() -> None:
    printed = {
        "Economic Games": 0.06,
        "Categorization": 0.07,
        "Reinforcement Learning": 0.08,
        "Risky Choice": 0.08,
        "Memory": 0.09,
        "Reasoning": 0.12,
        "Psycholinguistics": 0.18,
    }
    effects = published_effects()
    assert len(effects) == 25 * 7
    read = effects.groupby("domain")[["cohens_d", "clipped"]].agg({"cohens_d": "mean", "clipped": "any"})
    assert set(read.index) == set(printed)
    for domain, (mean, is_lower_bound) in read.iterrows():
        assert mean == pytest.approx(printed[str(domain)], abs=0.01) or (is_lower_bound and mean < printed[str(domain)])


def test_clipped_cells_are_those_at_the_end_of_the_colour_bar() -> None:
    effects = published_effects()
    assert effects["clipped"].dtype == bool
    assert effects.loc[effects["clipped"], "cohens_d"].min() >= 0.23
    assert effects.loc[~effects["clipped"], "cohens_d"].max() < 0.23


def test_post_training_makes_every_model_of_figure_2_less_human_like() -> None:
    nll = nll_of_models("Fig. 2")
    compared = [pair for pair in model_pairs() if {pair.base, pair.post_trained} <= nll.keys()]
    assert len(compared) == 25
    assert all(nll[pair.post_trained] > nll[pair.base] for pair in compared)


def test_misalignment_is_positive_on_average_in_every_domain() -> None:
    assert (published_effects().groupby("domain")["cohens_d"].mean() > 0.05).all()


def test_base_models_become_more_human_like_with_size() -> None:
    base = published_nll().query("figure == 'Fig. 2' and type == 'base'").sort_values("size_b")
    for _, family in base.groupby("family"):
        assert family["mean_nll"].is_monotonic_decreasing


def test_base_models_become_more_human_like_with_generation_and_size() -> None:
    nll = nll_of_models("Fig. 3a")
    assert nll["Qwen/Qwen2-72B"] > nll["Qwen/Qwen2.5-72B"]
    assert nll["Qwen/Qwen2.5-32B"] > nll["Qwen/Qwen2.5-72B"]


def test_the_default_chat_template_makes_every_model_worse() -> None:
    plain, templated = nll_of_models("Fig. 2"), nll_of_models("Fig. S1")
    assert len(templated) == 12
    assert all(templated[model] > plain[model] for model in templated)


def test_base_models_are_more_accurate_than_their_post_trained_versions() -> None:
    accuracy = published_accuracy()
    names = accuracy["model"].str.partition(" (")[0]
    value = dict(zip(names, accuracy["accuracy"], strict=True))
    compared = [pair for pair in model_pairs() if {pair.base, pair.post_trained} <= value.keys()]
    assert len(compared) == 13
    assert all(value[pair.base] > value[pair.post_trained] for pair in compared)


def test_tables_are_complete() -> None:
    for table in (published_nll(), published_accuracy(), published_effects()):
        assert isinstance(table, pd.DataFrame)
        assert not table.isna().any().any()


def test_the_catalog_imports_nothing_heavy() -> None:
    code = (
        "import sys; from centaurlab.catalog import pairs, tables; pairs.model_pairs(), tables.study_domains()\n"
        "sys.exit(str({'torch', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
