"""Every analysis on score tables whose true effects are known: are these inside 95 % intervals in 95 % of data sets?

The truth is a population of studies, people and responses that is held whole; a data set draws studies from it, and
people within each, with replacement. What is true is computed from the whole population, one formula after another and
without the package. Rates within 95 ± 3 % are nominal; where a rate is outside, the test says so and why.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.special import logsumexp

from centaurlab.analyses.contexts import compare_contexts
from centaurlab.analyses.diagnosis import PARTS, diagnose
from centaurlab.analyses.generalisation import study_gains
from centaurlab.analyses.generations import measure_generations
from centaurlab.analyses.unmatched import compare_unmatched
from centaurlab.catalog.pairs import ModelPair
from centaurlab.data.source import DataArguments, open_source
from centaurlab.results.joined import CommonResponses, StudyScores
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.means import MEAN_COLUMNS, mean_nlls
from centaurlab.stats.sums import ComparedPair, sum_study
from helpers.rates import Rates
from helpers.score_folders import table_folder
from helpers.transcripts import sessions_of, write_transcripts

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
N_STUDIES, N_PEOPLE, N_RESPONSES = 40, 60, 8
N_DATA_SETS = 200
N_RESAMPLES = 400

pytestmark = pytest.mark.slow


def population(seed: int, shift: float = 0.25) -> tuple[FloatArray, FloatArray]:
    """NLLs (studies, people, responses) of two models: skewed; studies, people and responses differ in the difference.

    Both models agree on which responses and people are hard.
    """
    rng = np.random.default_rng(seed)
    shape = (N_STUDIES, N_PEOPLE, N_RESPONSES)
    base = 4 + rng.gamma(2, 0.5, shape) * np.exp(rng.normal(0, 0.25, shape[:2]))[..., None]
    post = base + rng.normal(shift, 0.25, N_STUDIES)[:, None, None] + rng.normal(0, 0.2, shape[:2])[..., None]
    return base, post + rng.normal(0, 0.4, shape)


def true_d(base: FloatArray, post: FloatArray) -> FloatArray:
    """d of each study of a population."""
    variance = (base.var(axis=(1, 2)) + post.var(axis=(1, 2))) / 2
    d: FloatArray = (post.mean(axis=(1, 2)) - base.mean(axis=(1, 2))) / np.sqrt(variance)
    return d


def true_paired_d(base: FloatArray, post: FloatArray) -> FloatArray:
    differences = (post - base).mean(axis=2)
    d: FloatArray = differences.mean(axis=1) / differences.std(axis=1)
    return d


@dataclass(frozen=True)
class Drawn:
    """Which studies (S,) and people (S, P) of the population a data set has."""

    study_S: IntArray
    person_SP: IntArray

    def of(self, population: FloatArray) -> FloatArray:
        return population[self.study_S[:, None], self.person_SP]


def draw(rng: np.random.Generator, n_studies: int, n_people: int) -> Drawn:
    return Drawn(rng.integers(N_STUDIES, size=n_studies), rng.integers(N_PEOPLE, size=(n_studies, n_people)))


def study_names(n_studies: int) -> list[str]:
    """Every second one of another domain, which its first letter names."""
    return [f"{'xy'[i % 2]}{i:02}" for i in range(n_studies)]


def compared(names: list[str], base_SPR: FloatArray, post_SPR: FloatArray, post: str = "post") -> ComparedPair:
    person_R = np.repeat(np.arange(base_SPR.shape[1]), base_SPR.shape[2])
    studies = [
        StudyScores(name, person_R, base.ravel().astype(np.float32), post.ravel().astype(np.float32))
        for name, base, post in zip(names, base_SPR, post_SPR, strict=True)
    ]
    return ComparedPair(Contrast(post, "base"), [sum_study(scores) for scores in studies])


@pytest.mark.parametrize(("n_studies", "n_people"), [(4, 2), (6, 5), (16, 12), (24, 20)])
def test_misalignment(n_studies: int, n_people: int) -> None:
    """Of studies, domains, overall, and averaged over two pairs of models that share their base.

    Paired d has no interval below three people. Of these studies with two people each, degrees of freedom are few.
    """
    base, post = population(0)
    _, other = population(1, shift=0.5)
    truths = {"pair": true_d(base, post), "all": (true_d(base, post) + true_d(base, base + other - other.mean())) / 2}
    paired, difference = true_paired_d(base, post), (post - base).mean(axis=(1, 2))
    second = base + other - other.mean()
    rates, of_these = Rates(), Rates()
    rng = np.random.default_rng([n_studies, n_people])
    names = study_names(n_studies)
    for seed in range(2 * N_DATA_SETS):
        drawn = draw(rng, n_studies, n_people)
        pairs = [
            compared(names, drawn.of(base), drawn.of(post)),
            compared(names, drawn.of(base), drawn.of(second), "second"),
        ]
        for effect in estimate_effects(pairs, N_RESAMPLES, seed, domains=lambda name: (name[0],)):
            if effect.group_name == "second":
                continue
            truth = truths[effect.group]
            if effect.level == "study":
                i = int(drawn.study_S[int(effect.name[1:])])
                rates.add(f"study d {effect.group}", effect.d, truth[i])
                if effect.group == "pair":
                    rates.add("study difference", effect.nll_difference, difference[i])
                    if n_people > 2:
                        rates.add("study paired d", effect.d_paired, paired[i])
            else:
                rates.add(f"{effect.level} d {effect.group}", effect.d, float(truth.mean()))
                its = drawn.study_S if effect.level == "overall" else drawn.study_S["xy".index(effect.name) :: 2]
                of_these.add(f"{effect.level} d {effect.group}", effect.d_these, float(truth[its].mean()))
                if effect.group == "pair":
                    rates.add(f"{effect.level} difference", effect.nll_difference, float(difference.mean()))
                    if n_people > 2:
                        rates.add(f"{effect.level} paired d", effect.d_paired, float(paired.mean()))
    rates.check()
    of_these.check(highest=0.98 if n_people > 2 else 1.0)


@pytest.mark.parametrize(("n_people", "lowest"), [(10, 0.80), (40, 0.92)])
def test_rare_people_are_not_in_intervals_of_few_people_who_are_others(n_people: int, lowest: float) -> None:
    """Every tenth person is predicted far worse, by 4 nats: 10 people may hold none. Over studies the rate is kept."""
    rng = np.random.default_rng(n_people)
    base, post = population(0)
    post[:, ::10] += 4.0
    truth = true_d(base, post)
    rates = Rates()
    for seed in range(N_DATA_SETS):
        drawn = draw(rng, 12, n_people)
        for effect in estimate_effects([compared(study_names(12), drawn.of(base), drawn.of(post))], N_RESAMPLES, seed):
            if effect.level == "study":
                rates.add("study", effect.d, truth[drawn.study_S[int(effect.name[1:])]])
            else:
                rates.add("overall", effect.d, float(truth.mean()))
    print(rates["study"], rates["overall"])
    assert lowest <= rates["study"] <= 0.98
    assert 0.92 <= rates["overall"] <= 0.98


def write_scores(folder: Path, model: str, names: list[str], columns_SPR: dict[str, FloatArray]) -> ScoreRun:
    """A folder of scores, of sessions whose participants are numbered."""
    n_studies, n_people, n_responses = next(iter(columns_SPR.values())).shape
    people = [str(i) for i in range(n_people)]
    columns = {
        "study": np.repeat(names, n_people * n_responses),
        "experiment": "exp",
        "participant": np.tile(np.repeat(people, n_responses), n_studies),
        "response": np.tile(np.arange(n_responses, dtype=np.int32), n_studies * n_people),
    }
    table = pd.DataFrame(columns | {name: values.ravel() for name, values in columns_SPR.items()})
    return read_run(table_folder(folder, table, model={"name": model, "fingerprint": model}))


def test_contexts_generations_and_generalisation(tmp_path: Path) -> None:
    """All that reads folders of scores: personas and templates, NLLs and accuracies of models, an adapter's gains."""
    n_studies, n_people = 8, 8
    base, post = population(2)
    right = np.random.default_rng(3).random(base.shape) < np.exp(-base / 2)
    d, nlls = true_d(base, post), {"base": base, "post": post}
    names = study_names(n_studies)
    people = sessions_of(names, n_people, lambda _, person: f"<<{'ab'[person % 2]}>>")
    told = DataArguments(str(write_transcripts(tmp_path / "sessions.jsonl", people)))
    pair = ModelPair("post", "base", "instruct", "family", 1.0)
    rates = Rates()
    rng = np.random.default_rng(4)
    for seed in range(N_DATA_SETS):
        drawn = draw(rng, n_studies, n_people)
        runs = {
            model: write_scores(
                tmp_path / model,
                model,
                names,
                {"nll": drawn.of(nlls[model]).astype(np.float32), "greedy_correct": drawn.of(right)},
            )
            for model in nlls
        }
        of = {name: int(study) for name, study in zip(names, drawn.study_S, strict=True)}
        comparison = compare_contexts(
            "c", Contrast("worse", "better"), {"m": runs["post"]}, {"m": runs["base"]}, N_RESAMPLES, seed
        )
        for effect in comparison.effects:
            truth = float(d.mean()) if effect.level == "overall" else d[of[effect.name]]
            rates.add(f"contexts {effect.level}", effect.d, truth)
            if effect.level == "overall":
                rates.add("contexts these studies", effect.d_these, float(d[drawn.study_S].mean()))
        for mean in mean_nlls(runs["base"].table(MEAN_COLUMNS), N_RESAMPLES, seed):
            its = drawn.study_S if mean.level == "overall" else [of[mean.name]]
            pairs = (("NLL", base, mean.nll, mean.nll_these), ("accuracy", right, mean.accuracy, mean.accuracy_these))
            for name, values, like, these in pairs:
                rates.add(f"{name} {mean.level}, these studies", these, float(values[its].mean()))
                truth = values if mean.level == "overall" else values[its]
                rates.add(f"{name} {mean.level}", like, float(truth.mean()))
        common = CommonResponses(run.folder for run in runs.values())
        effects = estimate_effects([compared(names, drawn.of(base), drawn.of(post))], N_RESAMPLES, seed)
        (generation,) = measure_generations([pair], runs, effects, common, N_RESAMPLES, seed)
        rates.add("generation NLL", generation.base.nll, float(base.mean()))
        rates.add("generation d", generation.effect.d, float(d.mean()))
        gains, summary = study_gains("novel", runs["post"], runs["base"], open_source(told))
        rates.add("gain overall", Estimate(summary.d, summary.d_low, summary.d_high), float(d.mean()))
        ends = (summary.d_low_these, summary.d_high_these)
        rates.add("gain these studies", Estimate(summary.d, *ends), float(d[drawn.study_S].mean()))
        for gain in gains:
            rates.add("gain study", Estimate(gain.d, gain.d_low, gain.d_high), d[of[gain.study]])
    rates.check()


def test_unmatched_groups(tmp_path: Path) -> None:
    """Everybody without a persona against the half that has one, who are harder to predict to begin with."""
    n_studies, n_people = 8, 16
    base, with_persona = population(5, shift=-0.3)
    has = np.arange(N_PEOPLE) % 2 == 0
    base[:, has] += 0.2
    with_persona[:, has] += 0.2
    of_those = with_persona[:, has]
    variance = (base.var(axis=(1, 2)) + of_those.var(axis=(1, 2))) / 2
    d = (base.mean(axis=(1, 2)) - of_those.mean(axis=(1, 2))) / np.sqrt(variance)
    names = study_names(n_studies)
    rates = Rates()
    rng = np.random.default_rng(6)
    for seed in range(N_DATA_SETS):
        study_S = rng.integers(N_STUDIES, size=n_studies)
        half = N_PEOPLE // 2
        person_SP = 2 * rng.integers(half, size=(n_studies, n_people))
        person_SP[:, n_people // 2 :] += 1  # the second half of the people has no metadata
        drawn = Drawn(study_S, person_SP)
        everybody = write_scores(tmp_path / "all", "m", names, {"nll": drawn.of(base)})
        some = write_scores(tmp_path / "some", "m", names, {"nll": drawn.of(with_persona)[:, : n_people // 2]})
        for effect in compare_unmatched("u", Contrast("no", "own"), everybody, some, N_RESAMPLES, seed).effects:
            i = None if effect.level == "overall" else study_S[int(effect.name[1:])]
            rates.add(effect.level, effect.d, float(d.mean() if i is None else d[i]))
    rates.check()


TEMPERATURES = {f"{2 ** (step / 4):.2f}": 2 ** (step / 4) for step in range(-4, 9) if step}
N_OPTIONS, N_TOKENS = 3, 7


def choice_curves(seed: int, temperature: float) -> tuple[dict[str, FloatArray], FloatArray, FloatArray]:
    """A model's columns of scores over a population of choices, and on a fine grid of T each study's NLL and options.

    Its logits are those that people answer by, with noise, divided by ``temperature``; studies differ in how sharp they
    are and in the probability of other tokens than the options, people in what they prefer.
    """
    shape = (N_STUDIES, N_PEOPLE, N_RESPONSES)
    people = np.random.default_rng(7)
    preference = people.normal(0, 1.2, (*shape, N_OPTIONS)) + people.normal(0, 0.5, (*shape[:2], 1, N_OPTIONS))
    answer = (preference + people.gumbel(size=preference.shape)).argmax(-1)
    model = np.random.default_rng(seed)
    logits = np.concatenate([preference, model.normal(-3, 1, (*shape, N_TOKENS - N_OPTIONS))], axis=-1)
    logits += model.normal(0, 0.4, logits.shape)
    logits[..., N_OPTIONS:] += model.normal(0, 0.7, (N_STUDIES, 1, 1, 1)) + model.normal(0, 0.4, (*shape[:2], 1, 1))
    logits *= np.exp(model.normal(0, 0.2, (N_STUDIES, 1, 1, 1))) / temperature

    def nlls(t: float) -> tuple[FloatArray, FloatArray]:
        whole = logsumexp(logits / t, axis=-1)
        given = np.take_along_axis(logits, answer[..., None], -1)[..., 0] / t
        return whole - given, whole - logsumexp(logits[..., :N_OPTIONS] / t, axis=-1)

    columns = {"greedy_correct": logits.argmax(-1) == answer, "n_options": np.full(shape, N_OPTIONS, np.int32)}
    columns["nll"], columns["option_nll"] = nlls(1.0)
    for name, t in TEMPERATURES.items():
        columns[f"nll_t{name}"], columns[f"option_nll_t{name}"] = nlls(t)
    fine = [[curve.mean(axis=(1, 2)) for curve in nlls(t)] for t in FINE_GRID]
    return columns, np.array([nll for nll, _ in fine]).T, np.array([options for _, options in fine]).T


FINE_GRID = np.geomspace(0.5, 4, 301)


def true_parts(curves: list[tuple[FloatArray, FloatArray]], of_S: IntArray) -> FloatArray:
    """(studies, 3) parts of the difference, with each model's best temperature over the studies ``of_S``."""
    at_one = int(np.argmin(np.abs(np.log(FINE_GRID))))
    parts = []
    for nll, options in curves:
        best = int(nll[of_S].mean(axis=0).argmin())
        parts.append(np.stack([nll[:, at_one] - nll[:, best], options[:, best], nll[:, best] - options[:, best]], 1))
    difference: FloatArray = parts[1] - parts[0]
    return difference


@pytest.mark.parametrize(("n_studies", "n_people"), [(4, 4), (10, 10)])
def test_diagnosis(n_studies: int, n_people: int, tmp_path: Path) -> None:
    """Of a study at the temperatures of the studies at hand; of the mean at those of the whole population.

    Of these studies with few people each, degrees of freedom are few: rather too wide.
    """
    models = [choice_curves(8, 0.8), choice_curves(9, 0.5)]
    curves = [(nll, options) for _, nll, options in models]
    everywhere = true_parts(curves, np.arange(N_STUDIES)).mean(axis=0)
    names = study_names(n_studies)
    rates, of_these = Rates(), Rates()
    rng = np.random.default_rng([n_studies, n_people])
    for seed in range(N_DATA_SETS):
        drawn = draw(rng, n_studies, n_people)
        base, post = (
            write_scores(tmp_path / name, name, names, {column: drawn.of(values) for column, values in columns.items()})
            for name, (columns, _, _) in zip(("base", "post"), models, strict=True)
        )
        here = true_parts(curves, drawn.study_S)
        split = diagnose(base, post, N_RESAMPLES, seed)
        their_parts = here[drawn.study_S].mean(axis=0)
        for part, true_part in zip(PARTS, their_parts, strict=True):
            of_these.add(part, getattr(split.these, part), float(true_part))
        of_these.add("difference", split.these.difference, float(their_parts.sum()))
        for row in split.rows:
            truth = everywhere if row.study == "all studies" else here[drawn.study_S[int(row.study[1:])]]
            level = "overall" if row.study == "all studies" else "study"
            for part, true_part in zip(PARTS, truth, strict=True):
                rates.add(f"{level} {part}", getattr(row, part), float(true_part))
            rates.add(f"{level} difference", row.difference, float(truth.sum()))
    rates.check()
    of_these.check(highest=0.98 if n_people > 5 else 0.995)
