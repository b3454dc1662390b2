"""The command: files, resumption, processes, refusals."""

import gzip
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoTokenizer

from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import find_responses
from helpers.commands import centaurlab, installed, run_process
from helpers.json_files import run_json
from helpers.paths import EVAL
from helpers.servers import free_port
from helpers.transcripts import sessions_of, two_keys, write_transcripts

OUTCOMES = {"RTs": [512] * 5, "reaction_time": 470.5, "meanRT": 512, "keys": "[1, 2]", "bonus": 3, "Accuracy": 0.5}
OF_PEOPLE = {"age": 31, "condition": "gain", "BDI-II score": 4}
OPTIONS = ("--dtype", "float32", "--report_to", "none")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row | OUTCOMES | OF_PEOPLE for row in sessions_of(["a2020", "b2021"], 3, lambda _, n: two_keys(n, 5))]
    return write_transcripts(tmp_path_factory.mktemp("people") / "people.jsonl", rows)


def simulate(model: Path, people: Path, folder: Path, *options: object) -> list[dict[str, object]]:
    done = centaurlab(*("simulate", "--model", model, "--data", people, "--output_dir", folder, *OPTIONS, *options))
    assert done.returncode == 0, done.stderr
    with gzip.open(folder / "simulated.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.mark.usefixtures("offline")
def test_simulated_sessions_are_ordinary_ones_with_a_table_of_their_answers(
    tiny_llama_dir: Path, people: Path, tmp_path: Path
) -> None:
    lines = simulate(tiny_llama_dir, people, tmp_path / "run", "--replicates", 2)
    assert [line["participant"] for line in lines] == [f"{p}#r{r}" for _ in "ab" for p in range(3) for r in (1, 2)]
    assert {*lines[0]} == {"study", "experiment", "participant", "text", *OF_PEOPLE}
    read = list(open_source(DataArguments(str(tmp_path / "run/simulated.jsonl.gz"))))
    told = {transcript.key: transcript.text for transcript in open_source(DataArguments(str(people)))}
    table = pd.read_parquet(tmp_path / "run/simulated.parquet")
    for transcript in read:
        answers = [transcript.text[r.start : r.end] for r in find_responses(transcript.text)]
        of_session = table.query("study == @transcript.study and participant == @transcript.participant")
        assert of_session["answer"].tolist() == answers
        person = next(text for key, text in told.items() if transcript.participant.startswith(f"{key.participant}#"))
        assert len(find_responses(person)) == len(answers)
        assert set(answers) <= {"J", "F"}
    assert table["p"].between(0, 1).all()
    assert (table["off_option_nats"] >= 0).all()
    about = run_json(tmp_path / "run")
    assert about["job"] == "simulate"
    assert [set(known) for known in about["data"]["studies"].values()] == [{"fingerprint"}, {"fingerprint"}]
    assert "simulated.parquet" in about["files"]
    assert about["studies"]["a2020"] | {"off_option_nats": 0} == {
        **{"feedback": "unknown", "options": "labels of the study", "people": 3, "sessions": 6, "failed": 0},
        **{"answers": 30, "cut": 0, "incomplete": 0, "off_option_nats": 0, "sessions_with_other_tokens": 0},
    }


@pytest.mark.usefixtures("offline")
def test_a_run_continues_where_it_was_broken_off_and_keeps_its_answers(
    tiny_llama_dir: Path, people: Path, tmp_path: Path
) -> None:
    whole = simulate(tiny_llama_dir, people, tmp_path / "whole", "--replicates", 2, "--sessions_at_once", 3)
    simulate(tiny_llama_dir, people, tmp_path / "parts", "--studies", "b2021")
    store = tmp_path / "parts/store/process-0.jsonl"
    kept = store.read_bytes()
    store.write_bytes(kept[: len(kept) // 2])  # as a kill would leave it
    assert simulate(tiny_llama_dir, people, tmp_path / "parts", "--replicates", 2) == whole
    assert run_json(tmp_path / "parts")["speed"]["tokens_computed_now"] > 0
    assert simulate(tiny_llama_dir, people, tmp_path / "parts", "--replicates", 2) == whole
    assert run_json(tmp_path / "parts")["speed"]["tokens_computed_now"] == 0
    other = ("--seed", 1, "--output_dir", tmp_path / "parts", *OPTIONS)
    refused = centaurlab("simulate", "--model", tiny_llama_dir, "--data", people, *other)
    assert "simulated with seed 0, not 1" in refused.error


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_two_processes_give_the_answers_of_one(tiny_llama_dir: Path, people: Path, tmp_path: Path) -> None:
    simulate(tiny_llama_dir, people, tmp_path / "1", "--replicates", 2)
    launch = ("--nproc_per_node", 2, "--master_port", free_port(), EVAL / "simulate.py", "--output_dir", tmp_path / "2")
    asked = ("--model", tiny_llama_dir, "--data", people, "--replicates", 2, *OPTIONS)
    done = run_process(installed("torchrun"), *launch, *asked)
    assert done.returncode == 0, done.stderr
    assert run_json(tmp_path / "2")["speed"]["processes"] == 2
    one, two = ((tmp_path / n / "simulated.jsonl.gz").read_bytes() for n in "12")
    assert one == two


BANDIT = """
from centaurlab.simulation.environments.bandits import Reversal, bandit

ENVIRONMENTS = (
    bandit("coins2026", Reversal(1.0, 0.0, 0.0), told=" and win {outcome}. You press ", last=" and win {outcome}."),
)
"""
RAISES = """
from centaurlab.simulation.environments.environment import Environment
from centaurlab.simulation.play import Question

def play(session, chance):
    yield Question("You press ", ("J", "F"))
    raise KeyError("the second answer")

ENVIRONMENTS = (Environment("coins2026", play),)
"""
ENDLESS = RAISES.replace('raise KeyError("the second answer")', 'while True: yield Question(" or ", ("J", "F"))')
NEVER_ASKS = RAISES.replace('raise KeyError("the second answer")', "while True: pass")
UNLUCKY = RAISES.replace("    yield", "    unlucky = chance.generator.random() < 0.5\n    yield").replace(
    "raise", 'if not unlucky: return " and are done."\n    raise'
)
DRAWS_APART = RAISES.replace(
    "raise", 'import random; yield Question(f" and win {random.random()}. You press ", ("J", "F"))\n    raise'
).replace('raise KeyError("the second answer")', 'return "."')
NO_QUESTION = RAISES.replace('Question("You press ", ("J", "F"))', '"You press "')


@pytest.fixture
def coins(tmp_path: Path) -> Path:
    text = "Win coins. You press " + " and win 1. You press ".join(["<<J>>", "<<F>>"] * 3) + " and win 0."
    rows = [{"text": text, "study": "coins2026", "experiment": "e", "participant": n} for n in range(2)]
    return write_transcripts(tmp_path / "coins.jsonl", rows)


@pytest.mark.usefixtures("offline")
def test_an_environment_of_ones_own_answers_what_the_model_did(
    tiny_llama_dir: Path, coins: Path, tmp_path: Path
) -> None:
    own = tmp_path / "my_task.py"
    own.write_text(BANDIT, encoding="utf-8")
    lines = simulate(tiny_llama_dir, coins, tmp_path / "run", "--environment", own, "--replicates", 3)
    won = [set(re.findall(r"<<(\w)>> and win (\d)", str(line["text"]))) for line in lines]
    assert set.union(*won) in ({("J", "1"), ("F", "0")}, {("J", "0"), ("F", "1")})  # one arm pays, the same for all
    assert len({line["text"] for line in lines}) > 1
    assert run_json(tmp_path / "run")["studies"]["coins2026"]["feedback"] == "environment"
    own.write_text(BANDIT.replace("1.0", "0.9"), encoding="utf-8")
    ask = ("simulate", "--model", tiny_llama_dir, "--data", coins, "--output_dir", tmp_path / "run", *OPTIONS)
    assert "holds sessions simulated with environment" in centaurlab(*ask, "--environment", own).error


@pytest.mark.usefixtures("offline")
def test_arms_of_a_bandit_are_what_everybody_could_choose(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Whoever never chose one of three has three arms, too, of the same world, if these are known."""
    own = tmp_path / "my_task.py"
    own.write_text(BANDIT, encoding="utf-8")

    def data(*chosen: str) -> Path:
        texts = ["Win coins. You press " + " and win 1. You press ".join(f"<<{one}>>" for one in of) for of in chosen]
        rows = [{"text": f"{text} and win 0.", "study": "coins2026", "participant": n} for n, text in enumerate(texts)]
        return write_transcripts(tmp_path / f"{'-'.join(chosen)}.jsonl", rows)

    simulate(tiny_llama_dir, data("JFKJFK", "JFJFJF", "JJJJJJ", "FKFKFK"), tmp_path / "run", "--environment", own)
    table = pd.read_parquet(tmp_path / "run/simulated.parquet")
    assert set(table["n_options"]) == {3}
    ask = ("simulate", "--model", tiny_llama_dir, "--output_dir", tmp_path / "no", "--environment", own, *OPTIONS)
    refused = centaurlab(*ask, "--data", data("JFKJFK", "ABABAB", "CDECDE"))
    assert "people of coins2026 gave 2 to 3 different answers" in refused.error
    refused = centaurlab(*ask, "--data", data("ABABAB", "JJJJJJ"))
    assert "the answers do not show what could be chosen" in refused.error
    own.write_text(BANDIT.replace("told=", "options=('J', 'F', 'K'), told="), encoding="utf-8")
    simulate(tiny_llama_dir, data("JFKJFK", "JJJJJJ"), tmp_path / "named", "--environment", own)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "defines no ENVIRONMENTS"),
        (BANDIT.replace("coins2026", "other"), "has an environment of 'other', of which"),
        (BANDIT.replace(" and win", " and lose"), "has no further outcome"),
        (BANDIT.replace("{outcome}", "it"), "has to hold {outcome} once"),
        (NO_QUESTION, "yields 'You press ', which is no question"),
        (RAISES, "its environment fails (KeyError: 'the second answer')"),
        (DRAWS_APART, "draws apart from chance.generator and chance.shared"),
        (ENDLESS, "has asked 260 questions and does not end"),
        (NEVER_ASKS, "has thought for 0.05 seconds and asks no further question"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_an_environment_that_is_none_is_refused_in_one_sentence(
    text: str, says: str, tiny_llama_dir: Path, coins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("centaurlab.simulation.play.SECONDS_PER_QUESTION", 0.05)
    own = tmp_path / "my_task.py"
    own.write_text(text, encoding="utf-8")
    ask = ("simulate", "--model", tiny_llama_dir, "--data", coins, "--output_dir", tmp_path / "run", *OPTIONS)
    assert says in centaurlab(*ask, "--environment", own, "--max_participants", 1).error
    assert not (tmp_path / "run/store").exists(), "refused before a model is loaded"


@pytest.mark.usefixtures("offline")
def test_an_environment_that_fails_late_is_refused_and_loses_no_other_session(
    tiny_llama_dir: Path, coins: Path, tmp_path: Path
) -> None:
    own = tmp_path / "my_task.py"
    own.write_text(UNLUCKY, encoding="utf-8")
    folder = tmp_path / "run"
    ask = ("simulate", "--model", tiny_llama_dir, "--data", coins, "--output_dir", folder, "--environment", own)
    done = centaurlab(*ask, "--replicates", 4, *OPTIONS)
    assert re.search(r"could not be simulated, and the folder holds the others; .*'the second answer'", done.error)
    kept = pd.read_parquet(folder / "simulated.parquet")["participant"].nunique()
    assert 0 < kept < 8
    assert run_json(folder)["studies"]["coins2026"]["failed"] == 8 - kept


@pytest.mark.usefixtures("offline")
def test_feedback_on_what_was_done_is_refused_or_labelled(tiny_llama_dir: Path, tmp_path: Path) -> None:
    module = tmp_path / "my_study.py"
    module.write_text(
        "from centaurlab.catalog.studies import Ask, Study\n"
        "ask = lambda *_: Ask(options=('J', 'F'))\n"
        "STUDIES = (Study('coins2026', ask, first_trial='You', feedback='contingent'),)\n",
        encoding="utf-8",
    )
    rows = [{"text": "You press <<J>> and win.", "study": "coins2026", "experiment": "e", "participant": 1}]
    data = write_transcripts(tmp_path / "coins.jsonl", rows)
    ask = ("simulate", "--model", tiny_llama_dir, "--data", data, "--output_dir", tmp_path / "run", *OPTIONS)
    ask += ("--study_module", module)
    assert "coins2026 tells people what followed from their own answers" in centaurlab(*ask).error
    assert centaurlab(*ask, "--yoked").returncode == 0
    assert run_json(tmp_path / "run")["studies"]["coins2026"]["feedback"] == "yoked"
    first = module.read_text(encoding="utf-8")
    module.write_text(
        first + "# what is asked may hang on answers, which the person's session does not show\n", encoding="utf-8"
    )
    assert "holds sessions simulated with study_module" in centaurlab(*ask, "--yoked").error
    assert "holds sessions simulated with study_module" in centaurlab(*ask[:-2], "--yoked").error
    module.write_text(first, encoding="utf-8")
    assert centaurlab(*ask, "--yoked").returncode == 0


@pytest.mark.usefixtures("offline")
def test_what_leaves_no_choice_is_not_in_the_mean_off_the_options(
    tiny_llama_dir: Path, coins: Path, tmp_path: Path
) -> None:
    own = tmp_path / "my_task.py"
    own.write_text(
        RAISES.replace('raise KeyError("the second answer")', 'yield Question(" and then ", ("left the game",))'),
        encoding="utf-8",
    )
    simulate(tiny_llama_dir, coins, tmp_path / "run", "--environment", own)
    table = pd.read_parquet(tmp_path / "run/simulated.parquet").set_index("n_options")["off_option_nats"]
    assert table.loc[1].mean() > table.loc[2].mean() + 1
    mean = run_json(tmp_path / "run")["studies"]["coins2026"]["off_option_nats"]
    assert mean == pytest.approx(table.loc[2].mean())


@pytest.mark.usefixtures("offline")
def test_what_is_said_of_a_study_is_said_of_all_its_sessions(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Two people on three days each; a third, whose text the study's module cannot read, in any place of the data."""
    rating = 'Choose 1 to 6.\n\nStatement: "Am calm." You choose <<2>>.'
    told = {"study": "revelle2010personality"}
    rows = [told | {"text": rating, "experiment": f"day{day}", "participant": n} for n in "12" for day in range(3)]
    rows.append(told | {"text": "Are you calm? <<yes>> And shy? <<no>>", "experiment": "day0", "participant": "3"})
    found = []
    for name, of in (("last", rows), ("first", rows[::-1])):
        data = write_transcripts(tmp_path / f"{name}.jsonl", of)
        simulate(tiny_llama_dir, data, tmp_path / name)
        found.append(run_json(tmp_path / name))
    for about in found:
        known = about["studies"]["revelle2010personality"]
        assert (known["people"], known["sessions"]) == (3, 7)
        assert known["feedback"] == "exact (6), unknown (1)"
        assert known["options"] == "module (6), own answers (1)"
        assert "revelle2010personality: its module cannot read 1 of 7 sessions (" in str(about["notes"])


@pytest.mark.usefixtures("offline")
def test_sessions_that_do_not_fit_are_named_and_the_others_kept(tiny_llama_dir: Path, tmp_path: Path) -> None:
    texts = ["You press <<J>>, then <<F>>.", "A long story. " * 40 + "You press <<J>>, then <<F>>."]
    texts.append("You press nothing.")
    rows = [{"text": text, "study": "a", "experiment": "e", "participant": n} for n, text in enumerate(texts)]
    rows.append({"text": texts[1], "study": "b", "experiment": "e", "participant": 0})
    data = write_transcripts(tmp_path / "people.jsonl", rows)
    folder = tmp_path / "run"
    asked = ("--data", data, "--output_dir", folder, "--max_length", 60, "--on_malformed", "skip")
    done = centaurlab("simulate", "--model", tiny_llama_dir, *asked, *OPTIONS)
    assert done.returncode == 1
    about = run_json(folder)
    (skipped,) = about["skipped_sessions"]
    assert skipped.startswith(f"{data}:3: ")
    assert f"note: {skipped}" in done.stdout
    assert "2 sessions could not be simulated" in done.stderr
    assert about["verdict"] == "1 session of 1 study, 2 answers"
    assert {study: known["people"] for study, known in about["studies"].items()} == {"a": 1, "b": 0}
    assert "beyond the context window of 60 tokens" in done.stderr
    assert pd.read_parquet(folder / "simulated.parquet")["participant"].unique().tolist() == ["0#r1"]


@pytest.mark.usefixtures("offline")
def test_answers_that_would_be_cut_where_people_said_more_are_refused_unless_asked_for(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    texts = [f"How did you choose? You write: <<{said}>>." for said in ("by colour", "by " + "colour and " * 20)]
    rows = [{"text": text, "study": "why2026", "experiment": "e", "participant": n} for n, text in enumerate(texts)]
    data = write_transcripts(tmp_path / "people.jsonl", rows)
    ask = ("simulate", "--model", tiny_llama_dir, "--data", data, "--output_dir", tmp_path / "run", *OPTIONS)
    refused = centaurlab(*ask)
    assert refused.returncode == 2
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    n_tokens = len(tokenizer("by " + "colour and " * 20, add_special_tokens=False).input_ids)
    n_tokens += len(tokenizer(">>", add_special_tokens=False).input_ids)  # without which an answer does not end
    assert f"answers of up to {n_tokens} tokens in why2026" in refused.error
    assert f"give --max_new_tokens {n_tokens}" in refused.error
    lengths = {len(tokenizer("a" * n, add_special_tokens=False).input_ids): "a" * n for n in range(1, 200)}
    for n, code in ((15, 0), (16, 2)):
        text = f"You write: <<{lengths[n]}>>."
        at_end = write_transcripts(tmp_path / f"{n}.jsonl", [{"text": text, "study": "why2026", "participant": 1}])
        ask_again = (
            "simulate",
            "--model",
            tiny_llama_dir,
            "--data",
            at_end,
            "--output_dir",
            tmp_path / f"{n}",
            *OPTIONS,
        )
        assert centaurlab(*ask_again).returncode == code
    assert centaurlab(*ask, "--max_new_tokens", 4).returncode == 0
    assert not pd.read_parquet(tmp_path / "run/simulated.parquet")["is_complete"].all()
