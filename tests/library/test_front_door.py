"""``import centaurlab as cl``: at once, from whatever a notebook has, and with the numbers of the commands."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import yaml

import centaurlab as cl
from centaurlab.cli.commands import find_command
from centaurlab.data.transcripts import SessionKey
from centaurlab.jobs import train
from centaurlab.library.simulating import Simulation
from centaurlab.runs.folder import RunFolder
from helpers.commands import run_python
from helpers.json_files import run_json
from helpers.score_folders import score_folder, table_folder
from helpers.tiny_models import save_tiny_llama

ROWS = [
    {
        "study": f"study{study}",
        "experiment": "one",
        "participant": f"p{person}",
        "age": 20 + person,
        "text": f"Round {study}. Machines J and F. "
        + "".join(f"You press <<{'JF'[(person + trial + study) % 2]}>>. " for trial in range(3 + person)),
    }
    for study in range(3)
    for person in range(3)
]

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def post_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("post"), seed=1)


@pytest.fixture(scope="module")
def pair(tiny_llama_dir: Path, post_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[cl.Scores, cl.Scores]:
    folder = tmp_path_factory.mktemp("runs")
    return cl.score(post_dir, ROWS, folder / "post"), cl.score(tiny_llama_dir, ROWS, folder / "base")


def test_the_import_takes_a_tenth_of_a_second_and_nothing_heavy() -> None:
    code = (
        "import sys, time; started = time.process_time(); import centaurlab as cl; dir(cl)\n"
        "print(time.process_time() - started, {'torch', 'numpy', 'pandas', 'transformers'} & set(sys.modules))"
    )
    seconds = []
    for _ in range(3):
        took, heavy = run_python("-c", code).stdout.split()
        seconds.append(float(took))
        assert heavy == "set()"
    assert min(seconds) <= 0.1


def test_every_name_of_the_front_door_is_there() -> None:
    assert {"load", "score", "compare", "estimate", "diagnose", "train", "report"} <= set(cl.__all__)
    for name in cl.__all__:
        assert getattr(cl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'scoer'"):
        _ = cl.scoer


@pytest.mark.parametrize("kind", ["rows", "frame", "dataset", "file"])
def test_people_are_the_same_however_they_are_given(kind: str, tmp_path: Path) -> None:
    given = {
        "rows": lambda: iter(ROWS),
        "frame": lambda: pd.DataFrame(ROWS),
        "dataset": lambda: datasets.Dataset.from_list(ROWS),
        "file": lambda: tmp_path / "people.jsonl",
    }
    pd.DataFrame(ROWS).to_json(tmp_path / "people.jsonl", orient="records", lines=True)
    people = cl.load(given[kind]())
    assert [(t.study, t.participant, t.text, t.metadata["age"]) for t in people] == [
        (row["study"], row["participant"], row["text"], row["age"]) for row in ROWS
    ]
    assert len(people) == 9
    assert "3 studies, 9 sessions, 36 responses" in repr(people)
    assert len(cl.load(people, max_participants=1)) == 3


def test_missing_metadata_of_a_data_frame_are_missing() -> None:
    frame = pd.DataFrame(ROWS).assign(age=[21.0, math.nan, *[30.0] * 7], sex=[None, "f", *["m"] * 7])
    first, second, *_ = cl.load(frame)
    assert (first.metadata["age"], first.metadata.get("sex")) == (21.0, None)
    assert (second.metadata.get("age"), second.metadata["sex"]) == (None, "f")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([np.int64(3), (np.float32(0.5), np.nan)], [3, [0.5, None]]),
        ({"a": np.array([1, 2]), 4: [pd.NA]}, {"a": [1, 2], "4": [None]}),
        (pd.NaT, None),
        (np.float32("inf"), None),
        (pd.Timestamp("2020-01-02"), "2020-01-02 00:00:00"),
        ([np.bool_(True), "a", None], [True, "a", None]),
    ],
)
def test_metadata_may_be_of_numpy_and_pandas_all_the_way_down(given: object, kept: object) -> None:
    (session,) = cl.load([{"text": "<<a>>", "experiment": "e", "participant": "p", "given": given}])
    assert session.metadata.get("given") == kept


def test_metadata_do_not_count_as_responses() -> None:
    people = cl.load([{"text": "<<a>> <<b>>", "experiment": "e", "participant": n, "responses": 7} for n in "pq"])
    assert "2 sessions, 4 responses" in repr(people)
    assert people.to_frame()["responses"].tolist() == [2, 2]
    assert [t.metadata["responses"] for t in people] == [7, 7]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cl.load(ROWS, max_participant=1),
            "there is no option 'max_participant'; did you mean 'max_participants'",
        ),
        (lambda: cl.score("any", ROWS, protocoll="full"), "there is no option 'protocoll'; did you mean 'protocol'"),
        (lambda: cl.score("any", ROWS, protocol="half"), "protocol is 'half'"),
        (lambda: cl.load(["text"]), "session 0 is a str, not a dict"),
        (lambda: list(cl.load("nowhere.jsonl")), "nowhere.jsonl"),
        (lambda: cl.estimate(pd.DataFrame({"study": []}), pd.DataFrame()), "has no column"),
        (lambda: cl.report(["nowhere"]), "there is no folder nowhere"),
        (lambda: cl.report("nowhere"), "there is no folder nowhere"),
        (lambda: cl.report(cl.Comparison([])), "what is a Comparison has no folder to report on"),
        (lambda: cl.load(5), "people are not given as int"),
        (lambda: cl.report(["nowhere"], format="pdf"), "the format is 'pdf'"),
        (lambda: cl.read("nowhere"), "nowhere is not a finished run"),
    ],
)
def test_a_mistake_is_a_sentence(call, message: str) -> None:
    with pytest.raises(cl.UserError, match=message):
        call()


def test_scores_are_those_of_the_command(
    pair: tuple[cl.Scores, cl.Scores], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    _, base = pair
    pd.DataFrame(ROWS).to_json(tmp_path / "people.jsonl", orient="records", lines=True)
    options = ["--model", str(tiny_llama_dir), "--data", str(tmp_path / "people.jsonl"), "--report_to", "none"]
    find_command("score").main([*options, "--output_dir", str(tmp_path / "run")])
    pd.testing.assert_frame_equal(base.table(), cl.read(tmp_path / "run").table())
    means = base.means()
    assert means["study"].tolist() == ["all studies", "study0", "study1", "study2"]
    assert means["nll"][0] == pytest.approx(base.record.nll_mean)
    assert list(base.folder.glob("sessions-*.jsonl.gz")), "what was given as rows outlasts the notebook"
    assert "study2" in base._repr_html_()
    assert repr(base).startswith("Scores(")


def test_without_a_folder_scores_last_as_long_as_their_object(tiny_llama_dir: Path) -> None:
    scores = cl.score(tiny_llama_dir, ROWS, max_participants=1)
    folder = scores.folder
    assert scores.table().groupby("study", observed=True)["participant"].nunique().tolist() == [1, 1, 1]
    del scores
    assert not folder.exists()


def test_scores_and_simulations_are_never_those_of_a_later_run_into_their_folder(tmp_path: Path) -> None:
    def scored(name: str, nll: float) -> cl.Scores:
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        folder = score_folder(tmp_path / name, [(SessionKey(s, "e", "1"), {0: nll, 1: nll}) for s in "rs"])
        RunFolder(folder, "score").finish(run_json(folder))
        return cl.read(folder)

    again, *olds, other, new = [scored(name, nll) for name, nll in (("b", 2), ("a", 2), ("a", 2), ("b", 2), ("a", 3))]
    assert new.table()["nll"].tolist() == [3] * 4
    assert again.table()["nll"].tolist() == other.table()["nll"].tolist() == [2] * 4, "the same numbers once more"
    for old in olds:
        for use in (old.table, old.means, lambda old=old: cl.compare(old, other)):
            with pytest.raises(cl.UserError, match=r"a later run into .* has written scores.parquet anew"):
                use()
    simulations = []
    for answer in "JF":
        folder = RunFolder(tmp_path / "acted", "simulate")
        folder.write_table("simulated.parquet", pd.DataFrame({"answer": [answer]}))
        folder.finish({"job": "simulate", "model": {"name": answer}, "verdict": "done"})
        simulations.append(Simulation(folder.path))
    old, new = simulations
    assert new.table()["answer"].tolist() == ["F"]
    assert repr(old).startswith("Simulation(J: done")
    for use in (old.table, lambda: old.people, lambda: cl.fidelity([], old)):
        with pytest.raises(cl.UserError, match=r"has written simulated\.parquet anew"):
            use()


def test_a_comparison_is_first_minus_second_and_that_of_the_command(
    pair: tuple[cl.Scores, cl.Scores], tmp_path: Path
) -> None:
    post, base = pair
    effect = cl.compare(post, base)
    options = ["--base", str(base.folder), "--post", str(post.folder), "--report_to", "none"]
    find_command("misalignment").main([*options, "--output_dir", str(tmp_path / "effect")])
    pd.testing.assert_frame_equal(effect.table(), pd.read_parquet(tmp_path / "effect" / "effects.parquet"))
    assert effect.overall.d.value == pytest.approx(-cl.compare(base, post).overall.d.value)
    pd.testing.assert_frame_equal(cl.compare(post.folder, str(base.folder)).table(), effect.table())
    assert "d = " in effect.verdict
    assert "study1" in effect._repr_html_()
    assert effect.plot().axes
    assert cl.report([tmp_path / "effect"], tmp_path / "page.html").read_text().count("study1")


def test_two_data_frames_are_compared_without_a_folder(pair: tuple[cl.Scores, cl.Scores]) -> None:
    post, base = pair
    found = cl.estimate(post.table(), base.table(), names=(post.run.model, base.run.model))
    pd.testing.assert_frame_equal(found.table(), cl.compare(post, base).table())
    named = [
        scores.table().assign(item=lambda table: [f"item {item}" if pd.notna(item) else None for item in table["item"]])
        for scores in (post, base)
    ]
    items = cl.estimate(*named).table()[["d_low_items", "d_high_items"]]
    pd.testing.assert_frame_equal(items, found.table()[["d_low_items", "d_high_items"]])
    exact = post.run.table(["item"]).column("item").to_pylist()
    assert [None if pd.isna(item) else int(item) for item in post.table()["item"]] == exact
    columns = ["study", "participant", "nll"]
    fewer = cl.estimate(post.table()[columns], base.table()[columns])
    np.testing.assert_allclose(fewer.table()["d"], found.table()["d"])


def test_what_items_are_called_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        [("s", f"p{n}", i) for n in range(8) for i in range(5)], columns=["study", "participant", "i"]
    )
    tables = [people.assign(nll=rng.gamma(2, 1, 40) + people["i"] * shift) for shift in (0.3, 0.1)]
    names = {
        "from 0": lambda i: i,
        "from 1": lambda i: i + 1,
        "floats": lambda i: i.astype(float),
        "either": lambda i: pd.Series([float(one) if n % 2 else one for n, one in enumerate(i)], dtype=object),
        "below 0": lambda i: i - 3,
        "texts": lambda i: i.map("item {}".format),
    }
    found = {name: cl.estimate(*(table.assign(item=of(table["i"])) for table in tables)) for name, of in names.items()}
    for name in ("from 0", "below 0", "from 1"):  # as another program writes them into a folder of scores
        for side, table in zip("ab", tables, strict=True):
            keyed = table.assign(experiment="e", item=names[name](table["i"]), response=table["i"])
            table_folder(
                tmp_path / name / side, keyed[["study", "experiment", "participant", "response", "nll", "item"]]
            )
        found[f"{name}, in folders"] = cl.compare(*(tmp_path / name / side for side in "ab"))
    ends = {name: found[name].table()[["d_low_items", "d_high_items"]].iloc[-1].tolist() for name in found}
    assert ends == dict.fromkeys(ends, pytest.approx(ends["texts"]))
    assert np.isfinite(ends["texts"]).all()


def test_a_frame_with_an_nll_that_is_no_number_is_refused(pair: tuple[cl.Scores, cl.Scores]) -> None:
    post, base = pair
    broken = post.table().assign(nll=lambda table: table["nll"].where(table.index != 4))
    with pytest.raises(cl.UserError, match="the first table's NLL in row 4 is nan"):
        cl.estimate(broken, base.table())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"nll": "1,152"},
            "the first table: Unable to parse string .1,152. at position 0; NLLs and numbers of responses",
        ),
        ({"nll": True}, "the first table: NLLs are numbers, in nats"),
        ({"nll": -0.5}, "the first table: no NLL is above zero, down to -0.5; these are log-probabilities"),
        ({"nll": 1e300}, "the first table: the NLL of response 0 of .* is inf"),
        ({"participant": None}, "the first table has no participant in row 0"),
        ({"model": ["m", "other"]}, "the first table holds rows of several models .column 'model'.; give one a table"),
    ],
)
def test_a_frame_of_anything_else_is_a_sentence(changed: dict[str, object], said: str) -> None:
    frame = pd.DataFrame({"study": "s", "participant": ["1", "2"], "nll": [0.5, 0.7]})
    with pytest.raises(cl.UserError, match=said):
        cl.estimate(frame.assign(**changed), frame)


def test_what_one_side_lacks_is_said_with_the_verdict() -> None:
    second = pd.DataFrame({"study": "s", "participant": ["1", "2"] * 3, "response": [0, 0, 1, 1, 2, 2]})
    second["nll"] = [0.5, 0.7, 0.6, 0.4, 0.1, 0.2]
    found = cl.estimate(second.assign(nll=lambda frame: frame["nll"] + 0.1)[:4], second, ("a", "b"))
    assert found.verdict.endswith("; left out, in one alone: 0 responses of a and 2 responses of b")
    one = cl.estimate(second[:5], second, ("a", "b"))
    assert one.verdict.endswith(": 0 responses of a and 1 response of b")


def test_numbers_of_responses_are_whole() -> None:
    frame = pd.DataFrame({"study": "s", "participant": ["1", "2"], "nll": [0.5, 0.7], "response": [0.5, 1.5]})
    with pytest.raises(cl.UserError, match="responses are numbered 0, 1, 2"):
        cl.estimate(frame, frame)


def test_numbers_of_responses_are_of_both_tables_or_none() -> None:
    plain = pd.DataFrame({"study": "s", "participant": ["1", "2"] * 2, "nll": [0.5, 0.7, 0.6, 0.4]})
    from_one = plain.assign(response=[1, 1, 2, 2])
    for tables, name in (((from_one, plain), "a"), ((plain, from_one), "b")):
        with pytest.raises(cl.UserError, match=f"only the {name} table has a column 'response'"):
            cl.estimate(*tables, ("a", "b"))
    assert cl.estimate(from_one, from_one).overall.n_responses == 4


def test_rows_without_numbers_are_paired_only_where_both_tables_have_the_same() -> None:
    second = pd.DataFrame([(s, p, t) for s in "ab" for p in "123" for t in range(5)])
    second.columns = ["study", "participant", "response"]
    second["nll"] = np.random.default_rng(0).gamma(2, 1, len(second))
    first = second.assign(nll=second["nll"] + 0.2)
    fewer = first[(first["response"] > 0) | (first["study"] == "a")]
    right = cl.estimate(fewer, second)
    assert right.overall.nll_first - right.overall.nll_second == pytest.approx(0.2)
    with pytest.raises(cl.UserError, match="a session of b has more rows in one table than in the other"):
        cl.estimate(*(table.drop(columns="response") for table in (fewer, second)))
    whole = first["participant"] != "2"  # somebody who is not in the other table at all
    found = cl.estimate(*(table.drop(columns="response") for table in (first[whole], second)))
    assert found.overall.nll_first - found.overall.nll_second == pytest.approx(0.2)
    sorted_otherwise = first.assign(item=first["response"])[::-1].drop(columns="response")
    with pytest.raises(cl.UserError, match="other items for the same rows"):
        cl.estimate(sorted_otherwise, second.assign(item=second["response"]).drop(columns="response"))


@pytest.mark.parametrize("name", ["study", "experiment", "participant", "person"])
def test_a_number_is_one_name_with_and_without_decimals(name: str) -> None:
    frame = pd.DataFrame({"study": 7, "experiment": 8, "participant": [1, 1, 2, 2], "person": [5, 5, 6, 6]})
    frame["nll"] = [0.5, 0.7, 0.6, 0.4]
    other = frame.assign(**{name: frame[name].astype(float)}, nll=frame["nll"] + 0.1)
    found = cl.estimate(other, frame).overall
    assert (found.n_responses, found.n_participants, found.unmatched_first) == (4, 2, 0)


def test_parts_sum_to_the_difference(pair: tuple[cl.Scores, cl.Scores]) -> None:
    parts = cl.diagnose(*pair)
    table = parts.table()
    np.testing.assert_allclose(table["difference"], table[["calibration", "format", "preference"]].sum(axis=1))
    assert "study0" in parts._repr_html_()
    assert parts.plot().axes


def test_options_of_training_are_values_not_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(train, "COMMAND", replace(train.COMMAND, run=lambda *parsed: asked.append(parsed)))
    usual = {"model": "m", "data": tmp_path, "output_dir": tmp_path, "use_cpu": True, "bf16": False}
    values = {
        "studies": None,
        "max_participants": None,
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "novel_studies": "a b,c",
    }
    recipe = tmp_path / "recipe.yaml"
    written = usual | values | {"data": str(tmp_path), "output_dir": str(tmp_path)}
    recipe.write_text(yaml.safe_dump(written | {"max_participants": 3, "max_steps": 7}))
    cl.train(usual | values, max_steps=np.int64(7))
    cl.train(recipe, max_participants=None)
    cl.train({}, **usual, **values, max_steps="7")
    for data, training, model in asked:
        assert (data.data, data.studies, data.max_participants) == (str(tmp_path), None, None)
        assert (training.output_dir, training.max_steps, data.novel_studies) == (str(tmp_path), 7, "a b,c")
        assert training.lr_scheduler_kwargs == {"num_cycles": 2}
        assert (training.use_cpu, training.bf16, model.model_name_or_path) == (True, False, "m")
    assert len(asked) == 3
    for wrong, said in (
        ({"max_steps": None}, "max_steps is null, not int"),
        ({"max_step": 1}, "unknown key 'max_step'"),
    ):
        with pytest.raises(cl.UserError, match=f"options: {said}"):
            cl.train(usual | wrong)


def test_a_centaur_is_trained_and_scored(tiny_llama_dir: Path, tmp_path: Path) -> None:
    pd.DataFrame([row | {"participant": f"{row['participant']}-{n}"} for n in range(4) for row in ROWS]).to_json(
        tmp_path / "people.jsonl", orient="records", lines=True
    )
    trained = cl.train(
        "recipes/configs/gemma-3-270m-starter.yaml",
        model_name_or_path=tiny_llama_dir,
        data=tmp_path / "people.jsonl",
        novel_studies="study2",
        output_dir=tmp_path / "centaur",
        max_steps=2,
        eval_steps=2,
        save_steps=2,
        warmup_steps=0,
        report_to="none",
    )
    assert set(trained.held_out()["study"]) == {"study0", "study1"}
    assert len(cl.score(trained.folder, tmp_path / "people.jsonl", max_participants=1).table())
