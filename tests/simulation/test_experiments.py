"""Published simulators: a model in the place of all participants, as if it had been the simulator's agent."""

import gzip
import importlib.util
import io
import itertools
import json
import random
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoTokenizer

from centaurlab.data.options import cut_at_responses
from centaurlab.runtime.errors import UserError
from centaurlab.simulation import simulators
from centaurlab.simulation.answers import Answer
from centaurlab.simulation.experiments import Design, Run
from centaurlab.simulation.player import Simulated
from centaurlab.simulation.simulators import load_simulators, participants
from helpers.commands import centaurlab, installed, run_process
from helpers.json_files import run_json
from helpers.paths import EVAL
from helpers.servers import free_port

N = 3
OPTIONS = ("--allow_simulators", "--max_participants", N, "--dtype", "float32", "--report_to", "none")
SLOTS = """
import random

import numpy as np
import pandas as pd
from tqdm import tqdm


class Slots:
    def __init__(self):
        self.name = "{name}"

    def simulate(self, agent, num_simulations, max_chars=None):
        rows, prompts = [], []
        for sim in tqdm(range(num_simulations)):
            rng = random.Random(sim)
            luck = {luck}
            letters = rng.sample("ABCDEFGH", 2)
            prompt = f"You play {{letters[0]}} and {{letters[1]}}.\\n"
            for trial in range(2 + sim):
                prompt += "You press [HUMAN_RESPONSE]"
                letter = agent(prompt, choice_options=letters)
                reward = int(luck.random() < 0.5)
                prompt += f"{{letter}}[/HUMAN_RESPONSE] and win {{reward}}.\\n"
                rows.append({{"participant_id": f"sim{{sim}}", "response": letters.index(letter), "reward": reward}})
            rating = agent(prompt + "How good? [HUMAN_RESPONSE]", list(range(11)))
            prompt += f"How good? [HUMAN_RESPONSE]{{int(rating)}}[/HUMAN_RESPONSE] of 10. Thanks.\\n"
            prompts.append(prompt.strip())
        return pd.DataFrame(rows), prompts
"""


def write(folder: Path, experiment: str, text: str = SLOTS, luck: str = "rng") -> Path:
    path = folder / f"simulate{experiment[-1]}.py"
    folder.mkdir(exist_ok=True)
    path.write_text(text.format(name=f"{folder.name}_{experiment}", luck=luck) if text == SLOTS else text)
    return path


def simulate(model: Path, study: Path, folder: Path, *options: object) -> list[dict[str, str]]:
    named = ("--simulators", study, "--output_dir", folder)
    done = centaurlab("simulate", "--model", model, *named, *OPTIONS, *options)
    assert done.returncode == 0, done.stderr
    return sessions(folder)


def sessions(folder: Path) -> list[dict[str, str]]:
    with gzip.open(folder / "simulated.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def answers_of(text: str) -> list[str]:
    return [part.split(">>")[0] for part in text.split("<<")[1:]]


@pytest.mark.usefixtures("offline")
def test_a_run_is_what_the_simulator_does_by_itself_with_these_answers(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "lane2021", "exp0")
    lines = simulate(tiny_llama_dir, tmp_path / "lane2021", tmp_path / "run", "--replicates", 2)
    assert [line["participant"] for line in lines] == [f"exp0-{k}#r{r}" for k in range(N) for r in (1, 2)]
    assert {(line["study"], line["experiment"]) for line in lines} == {("lane2021", "exp0")}
    spec = importlib.util.spec_from_file_location("lane", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for replicate in (1, 2):
        texts = [line["text"] for line in lines if line["participant"].endswith(f"#r{replicate}")]
        known = itertools.chain.from_iterable(map(answers_of, texts))
        table, prompts = module.Slots().simulate(lambda prompt, choice_options, known=known: next(known), N)
        assert texts == [p.replace("[HUMAN_RESPONSE]", "<<").replace("[/HUMAN_RESPONSE]", ">>") for p in prompts]
        written = tmp_path / f"run/experiments/lane2021/r{replicate}/exp0.csv"
        pd.testing.assert_frame_equal(pd.read_csv(written), pd.read_csv(io.StringIO(table.to_csv(index=False))))
    assert len({text.split("\n")[0] for text in texts}) > 1  # each participant has letters of its own
    answers = pd.read_parquet(tmp_path / "run/simulated.parquet")
    assert answers["n_options"].tolist() == [n for k in range(N) for _ in "ab" for n in [*[2] * (2 + k), 11]]
    about = run_json(tmp_path / "run")
    assert "experiments/lane2021/r2/exp0.csv" in about["files"]
    assert about["studies"]["lane2021"]["feedback"] == "environment"


@pytest.mark.usefixtures("offline")
def test_what_runs_beside_and_what_was_broken_off_change_no_answer(tiny_llama_dir: Path, tmp_path: Path) -> None:
    study = tmp_path / "lane2021"
    write(study, "exp0", luck="np.random")
    alone = simulate(tiny_llama_dir, study, tmp_path / "alone")
    write(study, "exp1")
    both = simulate(tiny_llama_dir, study, tmp_path / "both", "--replicates", 2, "--sessions_at_once", 3)
    assert [one for one in both if one["experiment"] == "exp0" and one["participant"].endswith("#r1")] == alone
    store = tmp_path / "both/store/process-0.jsonl"
    kept = store.read_bytes()
    store.write_bytes(kept[: len(kept) // 2])  # as a kill would leave it
    (tmp_path / "both/experiments/lane2021/r1/exp0.csv").unlink()
    assert simulate(tiny_llama_dir, study, tmp_path / "both", "--replicates", 2) == both
    assert (tmp_path / "both/experiments/lane2021/r1/exp0.csv").exists()
    assert simulate(tiny_llama_dir, study, tmp_path / "both", "--replicates", 2) == both
    assert run_json(tmp_path / "both")["speed"]["tokens_computed_now"] == 0


@pytest.mark.usefixtures("offline")
def test_an_experiment_ends_where_a_session_is_longer_than_the_window(tiny_llama_dir: Path, tmp_path: Path) -> None:
    study = tmp_path / "lane2021"
    (simulator,) = load_simulators([str(write(study, "exp0"))])
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    _, second, _ = participants(simulator, N)
    window = ("--max_length", len(tokenizer(second.transcript.text)["input_ids"]))
    named = ("--model", tiny_llama_dir, "--simulators", study, "--output_dir", tmp_path / "run", *OPTIONS, *window)
    done = centaurlab("simulate", *named)
    assert done.returncode == 1
    assert f"longer than the context window of {window[1]}" in done.stderr
    assert sorted(pd.read_parquet(tmp_path / "run/simulated.parquet")["participant"].unique()) == [
        *("exp0-0#r1", "exp0-1#r1")
    ]
    assert run_json(tmp_path / "run")["studies"]["lane2021"]["failed"] == 1
    assert not (tmp_path / "run/experiments").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_two_processes_give_the_experiments_of_one(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Also beside a program without seeds, which tells something else in each process when it is tried by chance."""
    study = tmp_path / "lane2021"
    write(study, "exp0", luck="np.random")
    write(study, "exp1")
    simulate(tiny_llama_dir, study, tmp_path / "1", "--replicates", 2)
    free = write(tmp_path / "free2026", "exp0", luck="random.SystemRandom()")
    launch = ("--nproc_per_node", 2, "--master_port", free_port(), EVAL / "simulate.py", "--output_dir", tmp_path / "2")
    named = ("--model", tiny_llama_dir, "--simulators", study, free, "--replicates", 2, *OPTIONS)
    done = run_process(installed("torchrun"), *launch, *named)
    assert done.returncode == 0, done.stderr
    about = run_json(tmp_path / "2")
    assert about["speed"]["processes"] == 2
    assert about["studies"]["free2026"]["sessions"] == 2 * N
    tables = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1/experiments").rglob("*.csv"))
    assert len(tables) == 4
    for path in tables:
        assert (tmp_path / "2" / path).read_bytes() == (tmp_path / "1" / path).read_bytes()
    one, two = ([row for row in sessions(tmp_path / n) if row["study"] == "lane2021"] for n in "12")
    assert one == two


def test_what_is_kept_of_another_session_is_not_continued(tmp_path: Path) -> None:
    (simulator,) = load_simulators([str(write(tmp_path / "lane2021", "exp0"))])
    design = Design(simulator, participants(simulator, N))
    (session, *_) = design.sessions
    _, answers = cut_at_responses(session.transcript.text)
    said = tuple(Answer(answer, 0.5, 0.0, 2) for answer in answers)
    told = session.transcript.text.removesuffix(" of 10. Thanks.")
    run = Run(design, 1, [Simulated(told, said, 0, True), None, None])
    run.begin(0)
    assert run.next_session.transcript.key == design.sessions[1].transcript.key
    for text, given in ((told.replace("win", "get"), said), (told, said[:-1]), (told, (*said, said[-1]))):
        with pytest.raises(UserError, match="draws from a generator that --seed does not set, or has changed"):
            Run(design, 1, [Simulated(text, given, 0, True), None, None]).begin(0)


FORMS = {
    "asks before the marker": ('agent("You press ", ["J", "F"])', "a prompt has to end with"),
    "writes another answer": (
        'agent("Press <<", ["J", "F"]); agent("Press <<K>>. Press <<", ["J", "F"])',
        "does not go on from what was said before",
    ),
    "takes back": (
        'p = "Press <<" + agent("Press <<", ["J"]) + ">>. And <<"; agent(p, ["J"]); agent(p, ["J"])',
        "does not go on from what was said before",
    ),
    "begins too often": ('agent("Press <<", ["J"]); agent("Push <<", ["J"])', "begins another session"),
    "fails": ('agent("Press <<", ["J"]); raise KeyError("payoff")', "KeyError: 'payoff'"),
    "returns nothing": ('agent("Press <<", ["J"])', "returns no (table, texts of sessions)"),
    "returns another text": (
        'agent("Press <<", ["J"]); return pd.DataFrame(), ["Push <<J>>."]',
        "returns another session than it told",
    ),
    "asks nothing": ("return pd.DataFrame(), ['Hello.']", "asked 0"),
    "tells a marker": ('agent("Press <<", ["J"]); agent("Press <<J>> and << or <<", ["J"])', "words without markers"),
    "tells nothing": ('agent("Press <<", ["J"]); agent("Press <<J>><<", ["J"])', "words without markers"),
    "ends in a marker": ('agent("Press <<", ["J"]); return pd.DataFrame(), ["Press <<J>> <<"]', "with a marker"),
    "offers nothing": ('agent("Press <<", [])', "offers []; choice_options has to be a list"),
    "offers a blank": ('agent("Press <<", ["", "J"])', "choice_options has to be a list"),
    "offers a number": ('agent("Press <<", 7)', "offers 7; choice_options has to be a list"),
    "never ends": (
        'p = "Go on: <<"\n        while True: p += agent(p, ["J"]) + ">> <<"',
        "has asked 200 questions and does not end",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_simulator_of_another_form_is_refused_in_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulators, "_MOST_QUESTIONS", 200)
    body, said = FORMS[name]
    text = f"import pandas as pd\nclass Task:\n    def simulate(self, agent, num_simulations):\n        {body}\n"
    path = write(tmp_path, "exp0", text)
    (simulator,) = load_simulators([str(path)])
    assert (simulator.study, simulator.experiment) == (tmp_path.name, "exp0")
    with pytest.raises(UserError, match=r"simulate0\.py") as refused:
        participants(simulator, 1)
    assert said in str(refused.value)


def test_a_program_may_have_data_classes_a_base_class_and_an_option_twice(tmp_path: Path) -> None:
    text = """
from __future__ import annotations
from dataclasses import dataclass
import pandas as pd

@dataclass
class Arm:
    name: str

class Task:
    def simulate(self, agent, n): raise NotImplementedError

class Arms(Task):
    def simulate(self, agent, n):
        arms = [Arm(name) for name in "JFJ"]
        return pd.DataFrame(), [f"Press <<{agent('Press <<', [arm.name for arm in arms])}>>." for _ in range(n)]
"""
    (simulator,) = load_simulators([str(write(tmp_path / "arms2026", "exp3", text))])
    assert (simulator.study, simulator.experiment) == ("arms2026", "exp3")
    assert participants(simulator, 1)[0].options.sets == (("J", "F"),)
    outside = write(
        tmp_path / "s", "exp0", text.replace("class Arms(Task):", "class Arms(Task):\n    name = '.._exp0'")
    )
    with pytest.raises(UserError, match="cannot name a study"):
        load_simulators([str(outside)])


def test_prints_and_bars_of_a_program_are_not_ours_nor_its_seeds(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = """
import random, sys
import pandas as pd
import tqdm
from tqdm.auto import trange

random.seed(3)

class Task:
    def simulate(self, agent, n):
        print("begins", file=sys.stderr)
        with tqdm.tqdm(total=n, desc="bar") as bar:
            texts = [f"Press <<{agent('Press <<', ['J'])}>>." for _ in trange(n) if not bar.update()]
        print("ends")
        return pd.DataFrame(), texts
"""
    outer = random.getstate()
    (simulator,) = load_simulators([str(write(tmp_path / "loud2026", "exp0", text))])
    assert len(participants(simulator, 2)) == 2
    assert capfd.readouterr() == ("", "")
    assert random.getstate() == outer


@pytest.mark.usefixtures("offline")
def test_what_a_run_changes_in_its_program_no_other_sees(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """A generator that a program makes once, with a seed, begins anew in every run, whatever ran before or beside."""
    own = SLOTS.replace("{{", "{").replace("}}", "}").replace("{luck}", "self.luck")
    own = own.replace("self.name = ", "self.luck = random.Random(7)\n        self.name = ")
    study = write(tmp_path / "state2026", "exp0", own.replace("{name}", "state2026_exp0")).parent
    luck = random.Random(7)
    expected = [int(luck.random() < 0.5) for sim in range(N) for _ in range(2 + sim)]
    mine = tmp_path / "run/experiments/mine/r2/raw.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    simulate(tiny_llama_dir, study, tmp_path / "run", "--replicates", 2)
    for replicate in (1, 2):
        table = pd.read_csv(tmp_path / f"run/experiments/state2026/r{replicate}/exp0.csv")
        assert table["reward"].tolist() == expected
    simulate(tiny_llama_dir, study, tmp_path / "run")
    assert run_json(tmp_path / "run")["speed"]["tokens_computed_now"] == 0
    assert not (tmp_path / "run/experiments/state2026/r2").exists(), "its sessions are not in this output either"
    assert mine.read_text() == "mine"


@pytest.mark.usefixtures("offline")
def test_a_program_without_a_seed_is_not_continued(tiny_llama_dir: Path, tmp_path: Path) -> None:
    study = write(tmp_path / "free2026", "exp0", luck="random.SystemRandom()").parent
    simulate(tiny_llama_dir, study, tmp_path / "run")
    asked = ("--simulators", study, "--output_dir", tmp_path / "run", *OPTIONS)
    again = centaurlab("simulate", "--model", tiny_llama_dir, *asked)
    assert again.returncode == 2
    assert "draws from a generator that --seed does not set" in again.error


def test_what_is_no_simulator_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", "exp0", "def simulate(agent, n): ...\n")
    write(tmp_path / "b", "exp0", "import nowhere_to_be_found\n")
    (tmp_path / "c").mkdir()
    cases = {"a": "has no class with simulate", "b": "fails when it is run: ModuleNotFoundError", "c": "no simulators"}
    for name, said in cases.items():
        with pytest.raises(UserError, match=said):
            load_simulators([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--allow_simulators"),
        (("--allow_simulators", "--data", "people.jsonl"), "leave --data away"),
        (("--allow_simulators", "--yoked"), "leave --yoked and --environment away"),
        (("--allow_simulators", "--studies", "other"), "no simulator of 'other'"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(
    options: tuple[str, ...], said: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "lane2021", "exp0")
    named = ("--simulators", path, "--output_dir", tmp_path / "run", "--report_to", "none")
    refused = centaurlab("simulate", "--model", tiny_llama_dir, *named, *options)
    assert refused.returncode == 2
    assert said in refused.error
