"""Simulated sessions against people's through the command: verdicts, pairs, files of others, refusals."""

import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.analyses import fidelity
from centaurlab.analyses.fidelity import FidelityArguments
from centaurlab.analyses.parameters import parameters
from centaurlab.data.transcripts import Transcript
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from helpers.commands import centaurlab, evaluate
from helpers.json_files import run_json, write_json
from helpers.score_folders import table_folder
from helpers.transcripts import write_transcripts

N_PEOPLE, N_TRIALS = 20, 40


def stroop(person: int, run: int, congruency: float) -> str:
    """A Stroop session of somebody who is right in 95 % of congruent trials and ``congruency`` fewer of the others."""
    draw = random.Random(f"{person} {run}")
    keys = {"RED": "r", "GREEN": "g", "BLUE": "b"}
    text = "To respond, press: r for RED LETTERS, g for GREEN LETTERS, b for BLUE LETTERS.\n"
    asked = random.Random(person)
    for _ in range(N_TRIALS):
        word, ink = asked.choice([*keys]), asked.choice([*keys])
        right = draw.random() < 0.95 - congruency * (word != ink)
        answer = keys[ink] if right else draw.choice([key for key in "rgb" if key != keys[ink]])
        text += (
            f"The stimulus on the next trial is the word {word}, the letters of the word are colored in {ink}. "
            f"You press <<{answer}>> after 500 milliseconds. The correct answer was pressing {keys[ink]}.\n"
        )
    return text


def write(path: Path, names: list[str], run: int, congruency: float) -> Path:
    rows = [
        {"text": stroop(person, run + 7 * ("#r2" in name), congruency), "study": "busch2024_stroop"}
        | {"experiment": "e", "participant": name}
        for person, name in ((int(name.partition("#")[0]), name) for name in names)
    ]
    return write_transcripts(path, rows)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("fidelity")
    people = [str(n) for n in range(N_PEOPLE)]
    replicates = [f"{name}#r{r}" for name in people for r in (1, 2)]
    return {
        "people": write(folder / "people.jsonl", people, 0, 0.4),
        "alike": write(folder / "alike.jsonl", replicates, 1, 0.4),
        "flat": write(folder / "flat.jsonl", replicates, 2, 0.0),
        "others": write(folder / "others.jsonl", [str(n + 500) for n in range(N_PEOPLE)], 3, 0.4),
    }


def test_a_lost_effect_is_told_from_one_that_is_there(files: dict[str, Path], tmp_path: Path) -> None:
    simulated = [files[name] for name in ("alike", "flat", "others")]
    done = evaluate(
        *("fidelity.py", "--people", files["people"], "--simulated", *simulated, "--output_dir", tmp_path / "out"),
        *("--permutations", 199, "--resamples", 10),
    )
    assert done.returncode == 0, done.stderr
    effects = pd.read_csv(tmp_path / "out/effects_behaviour.csv").set_index("system")
    assert effects["people"].between(0.3, 0.5).all()
    assert effects.loc["flat.jsonl", "verdict"] == "absent"
    assert effects.loc["alike.jsonl", "verdict"] in ("reproduced", "cannot be told")
    assert effects.loc["others.jsonl", "verdict"] in ("reproduced", "cannot be told")
    distances = pd.read_csv(tmp_path / "out/fidelity.csv").set_index(["system", "axis"])
    assert (distances.xs("alike.jsonl")["verdict"] == "not told apart").all()
    assert distances.loc[("flat.jsonl", "marginal"), "verdict"] == "differs"
    assert distances.loc[("flat.jsonl", "parameters"), "verdict"] == "differs"
    assert distances.xs("alike.jsonl")["paired"].all()
    assert not distances.xs("others.jsonl")["paired"].any()
    assert (distances["floor"] > 0).all()
    verdict = run_json(tmp_path / "out")["verdict"]
    flat = distances.xs("flat.jsonl")
    beyond = ((flat["verdict"] == "differs") & (flat["distance"] > flat["floor"])).sum()
    n = (flat["verdict"] == "differs").sum()
    assert f"flat.jsonl differs from people on {n} of {len(flat)} axes, on {beyond} of these" in verdict
    assert "absent" in verdict
    figures = ("fidelity", "curves", "marginals", "spread", "effects")
    assert {path.stem for path in (tmp_path / "out/figures").glob("*.pdf")} == {*figures}
    sums = pd.read_csv(tmp_path / "out/agreement.csv").set_index("system")
    assert sums["effects"].eq(1).all()
    assert sums["significant_in_both"].to_dict() == {"alike.jsonl": 1, "flat.jsonl": 0, "others.jsonl": 1}
    assert sums.loc["alike.jsonl", "pas"] > 0.9 > sums.loc["flat.jsonl", "pas"]
    shares = pd.read_csv(tmp_path / "out/behaviour.csv").groupby(["system", "axis", "item"])
    assert shares[["people_share", "model_share"]].sum().round(9).eq(1).all(axis=None)
    report = centaurlab("report", tmp_path / "out", "--output", tmp_path / "page.html")
    assert report.returncode == 0, report.stderr
    assert "Does the model behave as people do" in (tmp_path / "page.html").read_text()


def test_people_may_be_told_in_other_markers_or_some_not_at_all(files: dict[str, Path], tmp_path: Path) -> None:
    few, others, broken = (tmp_path / f"{name}.jsonl" for name in ("few", "others", "broken"))
    text = "".join(files["people"].read_text().splitlines(keepends=True)[:4])
    few.write_text(text)
    others.write_text(text.replace("<<", "[HUMAN_RESPONSE]").replace(">>", "[/HUMAN_RESPONSE]"))
    broken.write_text(text + '{"text": "nothing", "experiment": "busch2024_stroop/1", "participant": "x"}\n')
    with pytest.raises(UserError, match="with --on_malformed skip"):
        fidelity.find_fidelity(FidelityArguments(str(broken), [str(few)], "unused"), EstimateArguments())
    found = [
        fidelity.find_fidelity(
            FidelityArguments(str(path), [str(few)], "unused", None, 19, None, *reading),
            EstimateArguments(resamples=2),
        ).tables["behaviour.csv"]
        for path, *reading in ((few,), (others, "human_response"), (broken, "angles", "skip"))
    ]
    pd.testing.assert_frame_equal(*found[:2])
    pd.testing.assert_frame_equal(*found[1:])


def test_parameters_of_a_session_are_means_over_a_grid_of_the_posterior() -> None:
    """Of the logit of Stroop: evidence exp(1 + z) of the ink, z of the word and z of the button pressed before."""
    texts = [stroop(person, 0, congruency) for person, congruency in ((1, 0.0), (2, 0.6))]
    found = parameters([Transcript(text, "busch2024_stroop", "e", str(n)) for n, text in enumerate(texts)], {})
    axis = np.linspace(-4, 4, 41)
    z_MP = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    for n, text in enumerate(texts):
        log_M, before = -0.5 * (z_MP**2).sum(1), ""
        for word, ink, answer in re.findall(r"the word ([A-Z]+), .* colored in ([A-Z]+). You press <<(.)>>", text):
            utility = {
                key: np.exp(1 + z_MP[:, 0]) * (key == ink[0].lower())
                + z_MP[:, 1] * (key == word[0].lower())
                + z_MP[:, 2] * (key == before)
                for key in "rgb"
            }
            log_M = log_M + utility[answer] - np.logaddexp.reduce(list(utility.values()))
            before = answer
        weight_M = np.exp(log_M - log_M.max())
        assert found is not None
        np.testing.assert_allclose(found[n], weight_M @ z_MP / weight_M.sum(), atol=0.1)
    assert parameters([Transcript("You press <<J>>.", "unheard", "e", "1")], {}) is None


def test_the_last_of_many_simulated_is_read_before_any_is_compared(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "compare_study", lambda *_: pytest.fail("compared"))
    people = str(files["people"])
    asked = FidelityArguments(people, [people, str(tmp_path / "forgotten")], str(tmp_path / "out"))
    with pytest.raises(UserError, match="forgotten"):
        fidelity.find_fidelity(asked, EstimateArguments())


def test_simulated_people_of_unknown_studies_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    row = {"text": "You press <<J>>.", "study": "unheard", "experiment": "e", "participant": "1"}
    other = write_transcripts(tmp_path / "other.jsonl", [row])
    done = evaluate("fidelity.py", "--people", files["people"], "--simulated", other, "--output_dir", tmp_path / "out")
    assert "simulates unheard, of which" in done.error
    assert not (tmp_path / "out/run.json").exists()


def test_nll_is_held_against_behaviour_over_models_and_studies(files: dict[str, Path], tmp_path: Path) -> None:
    simulated = [files[name] for name in ("alike", "flat")]
    ask = ("fidelity.py", "--people", files["people"], "--simulated", *simulated, "--permutations", 19)
    ask += ("--resamples", 20, "--output_dir", tmp_path / "out", "--scores")
    assert "--scores names 1 folders for 2 of --simulated" in evaluate(*ask, tmp_path).error
    folders = []
    for name, nll, window in (("base", 0.4, N_TRIALS), ("flat", 1.1, 20)):  # beyond the other's window NLLs differ
        rows = [("busch2024_stroop", "e", str(n), r, nll + (r >= 20)) for n in range(N_PEOPLE) for r in range(window)]
        table = pd.DataFrame(rows, columns=["study", "experiment", "participant", "response", "nll"])
        folders.append(table_folder(tmp_path / name, table))
    done = evaluate(*ask, *folders)
    assert done.returncode == 0, done.stderr
    gap = pd.read_csv(tmp_path / "out/gap.csv").set_index("system")
    assert gap["nll"].round(6).to_dict() == {"alike.jsonl": 0.4, "flat.jsonl": 1.1}
    assert gap.loc["flat.jsonl", "ratio"] > gap.loc["alike.jsonl", "ratio"]
    assert "cannot be compared over so few" in done.stdout
    assert (tmp_path / "out/figures/gap.png").exists()
    assert set(gap["responses"]) == {N_PEOPLE * 20}


def test_scores_of_another_model_than_the_simulated_one_are_refused(tmp_path: Path) -> None:
    nlls = pd.DataFrame({"study": "s", "experiment": "s", "participant": ["1", "2"], "response": 0, "nll": [0.5, 1.0]})
    simulated, scores = [], []
    for name in ("one", "two"):
        simulated.append(str(tmp_path / f"sim-{name}"))
        Path(simulated[-1]).mkdir()
        write_json(Path(simulated[-1]) / "run.json", {"job": "simulate", "model": {"name": name, "fingerprint": name}})
        scores.append(str(table_folder(tmp_path / name, nlls)))
    asked = FidelityArguments("nobody", simulated, str(tmp_path / "out"), scores=scores[::-1])
    with pytest.raises(UserError, match=r"sim-one was simulated by one .* and .*/two are scores of two"):
        fidelity.find_fidelity(asked, EstimateArguments())
    scores[1] = str(table_folder(tmp_path / "elsewhere/two", nlls, people="others"))
    asked = FidelityArguments("nobody", simulated, str(tmp_path / "out"), scores=scores)
    with pytest.raises(UserError, match="scored on different sessions of s"):
        fidelity.find_fidelity(asked, EstimateArguments())
