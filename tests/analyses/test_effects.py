"""Published lists of effects on tables of people and of simulated experiments."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from centaurlab.analyses.effects import EffectsArguments, find_effects
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Estimate
from helpers.commands import centaurlab
from helpers.rates import Rates

ANALYSIS = """
from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scipy.stats import ttest_1samp

EXPERIMENTS = ["exp0", "exp1"]


@dataclass
class Rule:
    alpha: float = 0.05


def load_data(sources=None):
    sources = sources or {}
    return {exp: pd.read_csv(sources.get(exp, f"./{exp}.csv")) for exp in EXPERIMENTS}


def check_share(data):
    print("checking")
    rows = []
    for exp in EXPERIMENTS:
        share = data[exp].groupby("participant_id")["response"].mean()
        p = ttest_1samp(share, 0.5, alternative="greater").pvalue
        rows.append({"effect_name": "share", "experiment": exp, "original_effect_size": 0.6,
                     "effect_size": float(share.mean()), "p_value": p, "reproduced": bool(p < Rule().alpha)})
    return rows


def check_time(data):
    return {"effect_name": "time", "experiment": "exp0", "effect_size": data["exp0"]["rt"].mean()}


def check_both(data):
    return {"effect_name": "both", "experiment": "combined",
            "effect_size": data["exp1"]["response"].mean() - data["exp0"]["response"].mean()}


EFFECTS = [check_share, check_time, check_both]
"""
FEW = EstimateArguments(resamples=50)


def trials(rng: np.random.Generator, n: int, mean: float, names: str = "sim{}") -> pd.DataFrame:
    """Ten answers of each of ``n`` people, who differ."""
    p_N = rng.beta(10 * mean, 10 * (1 - mean), n)
    rows = [(names.format(i), t, int(rng.random() < p)) for i, p in enumerate(p_N) for t in range(10)]
    return pd.DataFrame(rows, columns=["participant_id", "trial", "response"])


def write(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "lane2021"
    folder.mkdir()
    (folder / "analysis.py").write_text(ANALYSIS)
    return folder


def asked(study: Path, run: Path, people: Path | None = None) -> EffectsArguments:
    return EffectsArguments([str(study)], [str(run)], "unused", str(people) if people else None, allow_simulators=True)


def test_sizes_are_those_of_the_list_with_intervals_over_participants(study: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    people, model = trials(rng, 40, 0.7), [trials(rng, 30, 0.4) for _ in range(2)]
    write(study, {"exp0": people})
    for number, table in enumerate(model, 1):
        write(tmp_path / f"run/experiments/lane2021/r{number}", {"exp0": table})
    finding = find_effects(asked(study, tmp_path / "run"), EstimateArguments(resamples=300))
    table = finding.tables["effects.csv"].set_index("effect")
    row = table.loc["share"]
    of_people = people.groupby("participant_id")["response"].mean()
    of_model = pd.concat([of.groupby("participant_id")["response"].mean() for of in model], axis=1).mean(axis=1)
    assert row["people"] == pytest.approx(of_people.mean())
    assert row["model"] == pytest.approx(of_model.mean())
    for side, values in (("people", of_people), ("model", of_model)):
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        assert row[f"{side}_high"] - row[side] == pytest.approx(half, rel=0.1)
    welch = stats.ttest_ind(of_model, of_people, equal_var=False)
    low, high = welch.confidence_interval()
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high), abs=0.03)
    assert (row["verdict"], row["original"], row["replicates"], row["reproduced"]) == ("differs", 0.6, 2, 0)
    assert row["reproduced_in_people"]
    own = [
        stats.ttest_1samp(of.groupby("participant_id")["response"].mean(), 0.5, alternative="greater").pvalue
        for of in model
    ]
    assert row["own_p"] == pytest.approx(np.median(own))
    assert row["note"] == "without exp1, which was not simulated"
    assert table.loc["check_time", "note"].endswith(
        "model: it needs 'rt', which there is not; people: it needs 'rt', which there is not"
    )
    assert "it needs 'exp1'" in table.loc["check_both", "note"]
    assert (table.loc[["check_time", "check_both"], "verdict"] == "").all()
    assert finding.record["verdict"] == (
        "run: 0 of 1 effects reproduced by the lists' own rules; against people: 1 differs; 2 could not be computed"
    )
    assert set(finding.figures) == {"effects"}


def test_an_effect_is_of_the_experiments_that_were_simulated_in_people_too(study: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    both = {"exp0": trials(rng, 12, 0.7, "{}"), "exp1": trials(rng, 12, 0.4, "{}")}
    write(tmp_path / "people/lane2021", both)
    write(tmp_path / "run/experiments/lane2021/r1", {name: table.iloc[::-1] for name, table in both.items()})
    table = find_effects(asked(study, tmp_path / "run", tmp_path / "people"), FEW).tables["effects.csv"]
    assert table["experiment"].tolist() == ["exp0", "exp1", "", "combined"]
    done = table[table["model"].notna()]
    np.testing.assert_allclose(done["difference"], 0, atol=1e-12)
    assert done["note"].eq("").all()
    only = tmp_path / "run/experiments/lane2021/r1/exp0.csv"
    only.unlink()
    table = find_effects(asked(study, tmp_path / "run", tmp_path / "people"), FEW).tables["effects.csv"]
    assert table.loc[table["people"].notna(), "experiment"].tolist() == ["exp1"]


@pytest.mark.release
def test_the_same_people_are_found_apart_as_rarely_as_is_said(study: Path, tmp_path: Path) -> None:
    """The difference of two groups of the same kind has an interval with zero in 95 of 100 cases."""
    rates = Rates()
    for seed in range(150):
        rng = np.random.default_rng([3, seed])
        write(study, {"exp0": trials(rng, 20, 0.6)})
        write(tmp_path / "run/experiments/lane2021/r1", {"exp0": trials(rng, 15, 0.6)})
        few = EstimateArguments(resamples=60)
        row = find_effects(asked(study, tmp_path / "run"), few).tables["effects.csv"].iloc[0]
        rates.add("difference", Estimate(row["difference"], row["difference_low"], row["difference_high"]), 0.0)
    rates.check()


def test_tables_that_a_list_finds_by_itself_are_nobodys(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list with a default of its own would read people's exp1.csv, where it is run, as the model's."""
    text = ANALYSIS.replace("def load_data(sources=None):", "def load_data(sources=None, named=tuple(EXPERIMENTS)):")
    (study / "analysis.py").write_text(text.replace("for exp in EXPERIMENTS}", "for exp in named}"))
    rng = np.random.default_rng(6)
    write(study, {"exp0": trials(rng, 12, 0.7), "exp1": trials(rng, 12, 0.9)})
    write(tmp_path / "run/experiments/lane2021/r1", {"exp0": trials(rng, 12, 0.6)})
    monkeypatch.chdir(study)
    table = find_effects(asked(study, tmp_path / "run"), FEW).tables["effects.csv"]
    assert table.loc[table["model"].notna(), "experiment"].tolist() == ["exp0"]


def test_tables_of_one_study_are_not_those_of_others(study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other2020"
    other.mkdir()
    (other / "analysis.py").write_text(ANALYSIS)
    rng = np.random.default_rng(7)
    for name in ("lane2021", "other2020"):
        write(tmp_path / f"run/experiments/{name}/r1", {"exp0": trials(rng, 8, 0.6)})
    write(tmp_path / "people", {"exp0": trials(rng, 8, 0.6)})
    both = EffectsArguments(
        [str(study), str(other)], [str(tmp_path / "run")], "unused", str(tmp_path / "people"), allow_simulators=True
    )
    with pytest.raises(UserError, match=r"has no exp0\.csv of lane2021; put people's tables into"):
        find_effects(both, FEW)


POOLED = """
import numpy as np


def check_rate(data):
    return {"effect_name": "rate", "effect_size": float(np.mean([t["response"].mean() for t in data.values()]))}


EFFECTS = [check_rate]
"""


def test_people_are_compared_over_the_experiments_that_a_system_has(study: Path, tmp_path: Path) -> None:
    """Whatever systems stand beside it, and whichever of them people have, of a list that names none."""
    (study / "analysis.py").write_text(POOLED)
    rng = np.random.default_rng(8)
    people = {"exp0": trials(rng, 20, 0.8), "exp1": trials(rng, 20, 0.2)}
    write(study, people)
    for name, experiments in (("A", ("exp0", "exp1")), ("B", ("exp0",))):
        write(tmp_path / name / "experiments/lane2021/r1", {of: trials(rng, 20, 0.5) for of in experiments})

    def found(*systems: str) -> pd.DataFrame:
        runs = [str(tmp_path / name) for name in systems]
        of = EffectsArguments([str(study)], runs, "unused", None, allow_simulators=True)
        return find_effects(of, FEW).tables["effects.csv"].set_index("system")

    table = found("A", "B")
    means = {name: people[name]["response"].mean() for name in people}
    assert table.loc["A", "people"] == pytest.approx((means["exp0"] + means["exp1"]) / 2)
    assert table.loc["B", "people"] == pytest.approx(means["exp0"])
    assert table["note"].tolist() == ["", "without exp1, which was not simulated"]
    (study / "exp1.csv").unlink()
    row = found("A").loc["A"]
    of_model = pd.read_csv(tmp_path / "A/experiments/lane2021/r1/exp0.csv")["response"].mean()
    assert (row["people"], row["model"]) == pytest.approx((means["exp0"], of_model))
    assert row["note"] == "without exp1, which has no people"


def test_an_experiment_without_people_has_the_effects_of_the_model(study: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    write(study, {"exp0": trials(rng, 12, 0.7)})
    both = {name: trials(rng, 12, 0.7) for name in ("exp0", "exp1")}
    write(tmp_path / "run/experiments/lane2021/r1", both)
    table = find_effects(asked(study, tmp_path / "run"), FEW).tables["effects.csv"]
    row = table[(table["effect"] == "share") & (table["experiment"] == "exp1")].iloc[0]
    assert row["model"] == pytest.approx(both["exp1"]["response"].mean())
    assert (math.isnan(row["people"]), row["note"]) == (True, "no people")


def test_replicates_are_of_the_same_participants_in_whatever_order(study: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    one, other = trials(rng, 12, 0.6), trials(rng, 12, 0.6)
    ends = []
    for name, second in (("a", other), ("b", other.iloc[::-1])):
        for number, of in enumerate((one, second), 1):
            write(tmp_path / name / f"experiments/lane2021/r{number}", {"exp0": of})
        row = find_effects(asked(study, tmp_path / name), FEW).tables["effects.csv"].iloc[0]
        ends.append((row["model_low"], row["model_high"]))
    assert ends[0] == pytest.approx(ends[1], abs=1e-12)


def test_people_and_models_who_are_all_alike_tell_nothing(study: Path, tmp_path: Path) -> None:
    """The mean of ten equal tenths is no tenth, so that rounding would be the error."""
    alike = pd.DataFrame({"participant_id": np.repeat(np.arange(12), 10), "trial": 0, "response": 1.0})
    write(study, {"exp0": alike})
    write(tmp_path / "run/experiments/lane2021/r1", {"exp0": alike.assign(response=0.7)})
    row = find_effects(asked(study, tmp_path / "run"), FEW).tables["effects.csv"].iloc[0]
    assert row["difference"] == pytest.approx(-0.3)
    assert row["verdict"] == "cannot be told"
    assert math.isnan(row["difference_low"])


def test_rows_of_one_name_are_kept_apart_and_a_list_may_have_no_rule(study: Path, tmp_path: Path) -> None:
    rows = 'lambda data: [{"effect_name": "rate", "effect_size": size} for size in (1, 2)]'
    (study / "analysis.py").write_text(f"EFFECTS = [{rows}]\n")
    write(tmp_path / "run/experiments/lane2021/r1", {"exp0": trials(np.random.default_rng(11), 8, 0.6)})
    finding = find_effects(asked(study, tmp_path / "run"), FEW)
    table = finding.tables["effects.csv"]
    assert (table["effect"].tolist(), table["model"].tolist()) == (["rate", "rate (2)"], [1, 2])
    assert finding.record["verdict"] == "run: 0 of 0 effects reproduced by the lists' own rules"
    (study / "analysis.py").write_text('EFFECTS = [lambda data: data["exp0"]["rt"].mean()]\n')
    failed = find_effects(asked(study, tmp_path / "run"), FEW)
    assert "it needs 'rt'" in str(failed.shown[0])


def test_without_people_there_is_no_verdict_about_them(study: Path, tmp_path: Path) -> None:
    write(tmp_path / "run/experiments/lane2021/r1", {"exp0": trials(np.random.default_rng(4), 30, 0.8)})
    finding = find_effects(asked(study, tmp_path / "run"), FEW)
    row = finding.tables["effects.csv"].iloc[0]
    assert math.isnan(row["difference"])
    assert (row["verdict"], row["reproduced"], row["model_low"] < row["model"] < row["model_high"]) == ("", 1, True)
    assert not finding.figures


def test_the_command_writes_tables_and_says_what_it_cannot_do(study: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    write(study, {"exp0": trials(rng, 10, 0.7)})
    run = tmp_path / "run"
    write(run / "experiments/lane2021/r1", {"exp0": trials(rng, 10, 0.6)})
    named = ("effects", "--simulated", run, "--output_dir", tmp_path / "out", "--resamples", 50, "--report_to", "none")
    done = centaurlab(*named, "--effects", study / "analysis.py", "--allow_simulators")
    assert done.returncode == 0, done.stderr
    assert "Published effects" in done.stdout
    assert "checking" not in done.stdout
    assert json.loads((tmp_path / "out/run.json").read_text())["job"] == "effects"
    report = centaurlab("report", tmp_path / "out", "--output", tmp_path / "page.html")
    assert report.returncode == 0, report.stderr
    assert "Published effects" in (tmp_path / "page.html").read_text()
    other = tmp_path / "other2020"
    other.mkdir()
    (other / "analysis.py").write_text("EFFECTS = 3\n")
    for given, said in (
        (("--effects", study), "give --allow_simulators"),
        (("--effects", other, "--allow_simulators"), "defines no EFFECTS"),
        (("--effects", tmp_path / "out", "--allow_simulators"), "no list of effects"),
        (("--effects", study, "--allow_simulators", "--people", tmp_path / "out"), "has no exp0.csv of lane2021"),
    ):
        refused = centaurlab(*named, *given)
        assert refused.returncode == 2
        assert said in refused.error


def test_a_run_without_such_experiments_is_refused(study: Path, tmp_path: Path) -> None:
    (tmp_path / "run/experiments/other2020/r1").mkdir(parents=True)
    with pytest.raises(UserError, match="it has those of other2020"):
        find_effects(asked(study, tmp_path / "run"), FEW)
