"""The difference of two models is split into parts that sum to it, each caused by what it is named after."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import t as student_t

from centaurlab.analyses.diagnosis import PARTS, DiagnosisArguments, Split, diagnose, diagnosis_table, find_parts
from centaurlab.reporting import write_report
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.runs.folder import RunFolder
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from helpers.score_folders import table_folder

FloatArray = npt.NDArray[np.float64]
TEMPERATURES = {f"{2 ** (step / 4):.2f}": 2 ** (step / 4) for step in range(-4, 9) if step}
N_OPTIONS, VOCABULARY, PEOPLE, TRIALS = 3, 40, 20, 10
STUDIES = ("alpha", "beta")
N = len(STUDIES) * PEOPLE * TRIALS


def logits() -> FloatArray:
    """(N, V): most of the probability on the first three tokens, the options."""
    draw = np.random.default_rng(1)
    logits_NV = draw.normal(size=(N, VOCABULARY))
    logits_NV[:, :N_OPTIONS] += 9
    return logits_NV


def answers(logits_NV: FloatArray) -> npt.NDArray[np.int64]:
    """(N,) answers of people who choose among the options as the model says at temperature 1.3."""
    draw = np.random.default_rng(2)
    p_NO = np.exp(logits_NV[:, :N_OPTIONS] / 1.3)
    return np.array([draw.choice(N_OPTIONS, p=p / p.sum()) for p in p_NO])


def run(folder: Path, logits_NV: FloatArray, answer_N: npt.NDArray[np.int64], n_options: int = N_OPTIONS) -> ScoreRun:
    """A folder of scores as a model with these logits would have it."""

    def nlls(temperature: float) -> tuple[FloatArray, FloatArray]:
        scaled = logits_NV / temperature
        whole = logsumexp(scaled, axis=1)
        return whole - scaled[np.arange(N), answer_N], whole - logsumexp(scaled[:, :N_OPTIONS], axis=1)

    columns = {
        "study": np.repeat(STUDIES, PEOPLE * TRIALS),
        "experiment": "exp1.csv",
        "participant": np.tile(np.repeat(np.arange(PEOPLE), TRIALS), len(STUDIES)).astype(str),
        "response": np.tile(np.arange(TRIALS, dtype=np.int32), len(STUDIES) * PEOPLE),
        "greedy_correct": logits_NV.argmax(1) == answer_N,
        "n_options": np.full(N, n_options, np.int32),
    }
    columns["nll"], columns["option_nll"] = nlls(1.0)
    for name, temperature in TEMPERATURES.items():
        columns[f"nll_t{name}"], columns[f"option_nll_t{name}"] = nlls(temperature)
    return read_run(table_folder(folder, pd.DataFrame(columns)))


def parts(split: Split) -> dict[str, float]:
    return {name: getattr(split.rows[0], name).value for name in PARTS}


def test_the_parts_sum_to_the_difference(tmp_path: Path) -> None:
    base_NV, draw = logits(), np.random.default_rng(3)
    answer_N = answers(base_NV)
    post_NV = base_NV * 1.7 + draw.normal(size=base_NV.shape)
    base, post = run(tmp_path / "base", base_NV, answer_N), run(tmp_path / "post", post_NV, answer_N)
    split = diagnose(base, post, 200)
    nll = [pd.read_parquet(r.folder / "scores.parquet").groupby("study")["nll"].mean() for r in (base, post)]
    for row in split.rows[1:]:
        assert row.difference.value == pytest.approx((nll[1] - nll[0])[row.study], abs=1e-6)
    for row in split.rows:
        assert sum(getattr(row, name).value for name in PARTS) == pytest.approx(row.difference.value, abs=1e-9)
        assert row.difference.low < row.difference.value < row.difference.high
    assert split.rows[0].difference.value == pytest.approx(float((nll[1] - nll[0]).mean()), abs=1e-6)


@pytest.mark.parametrize("people", [1, 2, 4])
def test_few_people_of_one_study_have_a_difference_and_its_parts(people: int, tmp_path: Path) -> None:
    """Also one, who is alone in a fold and whose temperatures are fitted on the same answers."""
    base_NV = logits()
    post_NV = base_NV * 1.7 + np.random.default_rng(3).normal(size=base_NV.shape)
    tables = []
    for name, logits_NV in (("base", base_NV), ("post", post_NV)):
        table = pd.read_parquet(run(tmp_path / name, logits_NV, answers(base_NV)).folder / "scores.parquet")
        chosen = (table["study"] == "alpha") & table["participant"].astype(int).lt(people)
        tables.append(table_folder(tmp_path / f"few-{name}", table[chosen].astype({"study": str})))
    row = diagnose(*(read_run(table) for table in tables), 200).rows[1]
    means = [pd.read_parquet(table / "scores.parquet")["nll"].mean() for table in tables]
    assert row.difference.value == pytest.approx(means[1] - means[0], abs=1e-6)
    assert sum(getattr(row, name).value for name in PARTS) == pytest.approx(row.difference.value, abs=1e-9)
    assert row.difference.has_interval == (people > 1)


@pytest.mark.parametrize("constant", [0.6, 1.5, 2.0])
def test_logits_divided_by_a_constant_differ_in_calibration_alone(constant: float, tmp_path: Path) -> None:
    base_NV = logits()
    answer_N = answers(base_NV)
    base, post = run(tmp_path / "base", base_NV, answer_N), run(tmp_path / "post", base_NV / constant, answer_N)
    split = diagnose(base, post, 200)
    assert abs(parts(split)["format"]) < 0.002  # the splines' error
    assert abs(parts(split)["preference"]) < 0.002
    assert abs(parts(split)["calibration"]) > 0.02
    np.testing.assert_allclose(split.temperatures_base, np.multiply(split.temperatures_post, constant), rtol=0.01)


def test_probability_moved_outside_the_options_is_format(tmp_path: Path) -> None:
    base_NV = logits()
    answer_N = answers(base_NV)
    post_NV = base_NV.copy()
    post_NV[:, N_OPTIONS] += 11  # one other token takes most of it; among the options nothing changes
    base, post = run(tmp_path / "base", base_NV, answer_N), run(tmp_path / "post", post_NV, answer_N)
    found = parts(diagnose(base, post, 200))
    assert found["format"] > 0.5
    assert abs(found["preference"]) < 0.1 * found["format"]


def test_other_options_of_the_same_number_are_refused(tmp_path: Path) -> None:
    """As of another module of the study; tables of older versions, which do not say what was offered, go on."""

    def offered(name: str, *prints: str) -> ScoreRun:
        scored = run(tmp_path / name, base_NV, answer_N)
        data = scored.record.data
        known = zip(data.studies.items(), prints, strict=True)
        studies = {study: replace(about, options_fingerprint=digest) for (study, about), digest in known}
        return replace(scored, record=replace(scored.record, data=replace(data, studies=studies)))

    base_NV = logits()
    answer_N = answers(base_NV)
    base, other, older = offered("base", "1", "2"), offered("other", "1", "3"), offered("older", "", "")
    with pytest.raises(
        UserError, match=r"base and .*other were scored with different options for the sessions of beta"
    ):
        diagnose(base, other, 200)
    assert diagnose(other, older, 200).rows[0].difference.value == 0


def test_options_swapped_is_preference(tmp_path: Path) -> None:
    base_NV = logits()
    answer_N = answers(base_NV)
    post_NV = base_NV.copy()
    post_NV[:, :N_OPTIONS] = np.roll(base_NV[:, :N_OPTIONS], 1, axis=1)
    base, post = run(tmp_path / "base", base_NV, answer_N), run(tmp_path / "post", post_NV, answer_N)
    found = parts(diagnose(base, post, 200))
    assert found["preference"] > abs(found["format"])
    assert found["preference"] > 0.1


def test_a_temperature_is_the_best_for_people_other_than_those_it_is_used_for(tmp_path: Path) -> None:
    base_NV = logits()
    base = run(tmp_path / "base", base_NV, answers(base_NV))
    split = diagnose(base, run(tmp_path / "post", base_NV, answers(base_NV)), 200)
    assert len(split.temperatures_base) == 2
    np.testing.assert_allclose(split.temperatures_base, 1.3, atol=0.25)  # the answers were drawn at 1.3
    assert split.temperatures_base == split.temperatures_post
    assert not split.at_bound


def slow_parts(curves: FloatArray, people: npt.NDArray[np.int64]) -> FloatArray:
    """(3,) of the first study, as ``people`` (studies, P) were drawn; a temperature is fitted on each half of them.

    ``curves`` (model, kind, study, person, temperature): mean NLL and mean of the options' negative log-probability.
    """
    log_t = np.log([1.0, *TEMPERATURES.values()])
    order = np.argsort(log_t)
    parts = []
    for nll, options in curves[..., order]:
        total = np.zeros(3)
        for mine, others in ((0, 1), (1, 0)):
            fitted = CubicSpline(log_t[order], np.mean([nll[s, people[s, others::2]].mean(0) for s in (0, 1)], axis=0))
            best = minimize_scalar(lambda x, fitted=fitted: float(fitted(x)), bounds=(-0.69, 1.38)).x
            at_best, at_one, of_options = (
                CubicSpline(log_t[order], curve[0, people[0, mine::2]].mean(0))(x)
                for curve, x in ((nll, best), (nll, 0.0), (options, best))
            )
            total += np.array([at_one - at_best, of_options, at_best - of_options]) / 2
        parts.append(total)
    difference: FloatArray = parts[1] - parts[0]
    return difference


def test_intervals_are_those_of_a_loop_that_fits_the_temperatures_anew(tmp_path: Path) -> None:
    base_NV, draw = logits(), np.random.default_rng(4)
    answer_N = answers(base_NV)
    post_NV = base_NV * 1.5 + draw.normal(size=base_NV.shape)
    post_NV[:, N_OPTIONS:] += 5
    runs = [run(tmp_path / "base", base_NV, answer_N), run(tmp_path / "post", post_NV, answer_N)]
    names = ["", *(f"_t{name}" for name in TEMPERATURES)]
    tables = [pd.read_parquet(r.folder / "scores.parquet") for r in runs]
    shape = (len(STUDIES), PEOPLE, TRIALS)
    curves = np.array(
        [
            [np.stack([t[kind + name].to_numpy().reshape(shape).mean(2) for name in names], -1) for kind in kinds]
            for t in tables
            for kinds in [("nll", "option_nll")]
        ]
    )
    slow = np.array([slow_parts(curves, draw.integers(PEOPLE, size=(2, PEOPLE))) for _ in range(400)])
    alpha = diagnose(*runs, 2000).rows[1]
    scale = student_t.ppf(0.975, PEOPLE - 1) * np.sqrt(PEOPLE / (PEOPLE - 1))
    for name, error in zip(PARTS, slow.std(axis=0), strict=True):
        found = getattr(alpha, name)
        assert (found.high - found.low) / 2 == pytest.approx(scale * error, rel=0.15), name


def test_what_is_no_choice_is_left_out_and_counted(tmp_path: Path) -> None:
    base_NV = logits()
    answer_N = answers(base_NV)
    base, post = run(tmp_path / "base", base_NV, answer_N), run(tmp_path / "post", base_NV, answer_N)
    scores = pd.read_parquet(post.folder / "scores.parquet")
    scores.loc[scores["study"] == "beta", "n_options"] = 0
    scores.to_parquet(post.folder / "scores.parquet")
    split = diagnose(base, post, 200)
    assert [row.study for row in split.rows] == ["all studies", "alpha"]
    assert [(e.study, e.excluded, e.responses) for e in split.excluded] == [("beta", N // 2, N // 2)]
    assert [e.people_excluded == e.people for e in split.excluded] == [True]
    assert np.isnan(split.rows[0].difference.low)  # one study says nothing of others
    assert split.these.difference.has_interval
    assert len(diagnosis_table(split.rows, split.these)) == 2


def test_both_are_right_over_the_same_choices(tmp_path: Path) -> None:
    """An answer may be one token to one model and several to another, which then does not know."""
    base_NV = logits()
    answer_N = answers(base_NV)
    base, post = run(tmp_path / "base", base_NV, answer_N), run(tmp_path / "post", base_NV, answer_N)
    scores = pd.read_parquet(post.folder / "scores.parquet")
    is_known = (scores["study"] == "alpha") & (scores["response"] % 2 == 0)
    scores["greedy_correct"] = scores["greedy_correct"].astype("boolean").where(is_known)
    scores.to_parquet(post.folder / "scores.parquet")
    row, *_ = diagnose(base, post, 20).rows
    right = (base_NV.argmax(1) == answer_N)[is_known].mean()
    assert (row.accuracy_base, row.accuracy_post) == (pytest.approx(right), pytest.approx(right))


def test_no_choice_at_all_is_a_user_error(tmp_path: Path) -> None:
    base_NV = logits()
    answer_N = answers(base_NV)
    base, post = (run(tmp_path / name, base_NV, answer_N, n_options=0) for name in ("base", "post"))
    with pytest.raises(UserError, match="no response in which both models"):
        diagnose(base, post, 200)


def test_a_model_without_a_best_temperature_is_shown_with_dashes(tmp_path: Path) -> None:
    """One that gives every answer all of the probability, so that no temperature changes its NLLs."""
    base = run(tmp_path / "base", logits(), answers(logits()))
    scores = pd.read_parquet(base.folder / "scores.parquet")
    curves = [name for name in scores if "nll" in name]
    post = read_run(table_folder(tmp_path / "post", scores.assign(**dict.fromkeys(curves, 0.0))))
    asked = DiagnosisArguments("base", "post", str(tmp_path / "run"))
    finding = find_parts(asked, EstimateArguments(resamples=20), {"base": base, "post": post})
    said = "; post –, –"
    assert any(str(one).startswith("temperatures: ") and str(one).endswith(said) for one in finding.shown)
    folder = RunFolder(tmp_path / "run", "diagnosis")
    for name, table in finding.tables.items():
        folder.write_table(name, table)
    folder.finish({"job": "diagnosis", "models": []} | dict(finding.record))
    (section,) = write_report([folder.path], tmp_path / "page.html", "html")
    assert said in section.explanation[1]
