"""The catalog holds what the paper reports: its statements can be read off the tables."""

import pandas as pd
import pytest

from centaurlab.catalog.pairs import model_pairs
from centaurlab.catalog.studies import catalog_studies
from centaurlab.catalog.tables import (
    domains,
    domains_of,
    published_accuracy,
    published_effects,
    published_nll,
    study_domains,
)
from helpers.commands import run_python


def nll_of_models(figure: str) -> dict[str, float]:
    table = published_nll().query("figure == @figure")
    names = table["model"].str.partition(" (")[0]
    return dict(zip(names, table["mean_nll"], strict=True))


def test_studies_have_at_most_one_of_eleven_domains() -> None:
    assert len(domains()) == 11
    studies = study_domains()
    others = {name for study in catalog_studies().values() for name in study.also_called}
    assert len(studies.keys() - others) == 157 + 8 + 4  # the paper's, and those of the starter sets
    assert {domains_of(name) for name in ("thoma2025riskychoice", "Thoma_et_al_2025_risky_choice")} == {
        ("Risky Choice",)
    }
    assert all(domains_of(name) == domains_of(study.name) for name, study in catalog_studies().items())
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
    assert run_python("-c", code).stderr.strip() == ""
