"""A NaN or infinite number of the model: named by model, study, participant and response, never among the scores."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from centaurlab.analyses.misalignment import find_misalignment, pair_effects
from centaurlab.catalog.pairs import single_pair
from centaurlab.data.source import DataArguments
from centaurlab.jobs.job import Round
from centaurlab.jobs.precision import score_until_precise
from centaurlab.jobs.scoring import score_rounds
from centaurlab.prompts.encoding import encode
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import IncompleteError
from centaurlab.scoring.arguments import ScoringArguments
from centaurlab.scoring.responses import NonFiniteError
from centaurlab.scoring.scorer import SessionScorer
from centaurlab.stats.arguments import EstimateArguments
from helpers.commands import error_in, evaluate
from helpers.json_files import run_json
from helpers.score_runs import command, ended, n_stored, start, table_bytes
from helpers.tiny_models import in_float32, named, save_tiny_llama
from helpers.transcripts import bandit, write_bandits, write_transcripts

pytestmark = pytest.mark.usefixtures("offline")


def broken(folder: Path, beginning: str, value: float) -> Path:
    """A tiny Llama whose embedding of the first token holds ``value``: whoever reads it gets NaN from there on."""
    save_tiny_llama(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    token, *_ = AutoTokenizer.from_pretrained(folder).encode(beginning)
    with torch.no_grad():
        model.get_input_embeddings().weight[token, 3] = value
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_session_with_a_number_that_is_none_is_named_and_the_others_are_scored(
    tmp_path: Path, tiny_llama_dir: Path, value: float
) -> None:
    model = broken(tmp_path / "broken", "~", value)
    data, run = write_bandits(tmp_path / "data.jsonl", 5), tmp_path / "run"
    sane = data.read_text()
    bad = bandit(7, n_trials=4).replace("and win 1.", "and win 1~.")
    bad_row = {"text": bad, "study": "study1", "experiment": "exp1.csv", "participant": "p7"}
    data.write_text(sane + json.dumps(bad_row) + "\n")
    (tmp_path / "sane.jsonl").write_text(sane)
    by_token = ("--chunk_tokens", "1")  # in a chunk, NaN spreads to earlier tokens: a masked weight of 0 times NaN
    assert ended(start(command(tiny_llama_dir, tmp_path / "sane.jsonl", tmp_path / "whole", *by_token))) == 0

    for _ in range(2):
        assert ended(start(command(model, data, run, *by_token), tmp_path / "log")) == 1
        sentence = error_in((tmp_path / "log").read_text())
        assert f"{model}: {data}:6: participant 'p7' of 'study1' (experiment 'exp1.csv'): response 2 (" in sentence
        assert "NaN or infinite" in sentence
        assert n_stored(run) == 5

    assert table_bytes(run) == table_bytes(tmp_path / "whole")
    about, sane_about = run_json(run), run_json(tmp_path / "whole")
    assert len(about["failed_sessions"]) == 1
    for study in ("study0", "study1"):
        assert about["data"]["studies"][study]["nll"] == sane_about["data"]["studies"][study]["nll"]
    counts = about["coverage"]["study1"]
    assert (counts["responses"], counts["scored"], counts["failed"]) == (14, 10, 4)
    assert about["data"]["studies"]["study1"]["sessions"] == 3
    assert about["data"]["fingerprint"] != sane_about["data"]["fingerprint"], "these are not all the data"


def test_a_comparison_leaves_out_what_one_model_could_not_score_and_says_so(
    tmp_path: Path, tiny_llama_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 4)
    data.write_text(data.read_text().replace("person 3. You", "person 3~. You"))
    model = broken(tmp_path / "broken", "~", torch.nan)
    base, post = tmp_path / "base", tmp_path / "post"
    assert ended(start(command(tiny_llama_dir, data, base))) == 0
    assert ended(start(command(model, data, post))) == 1
    models = {str(folder): named(folder) for folder in (base, post)}
    rounds = {"": Round(models, DataArguments(""), tmp_path / "scores")}
    runs = score_rounds(rounds, ScoringArguments(), TrackingArguments(["none"])).runs
    assert f"note: {post} lacks 1 session" in capsys.readouterr().out
    pairs = [single_pair(str(base), str(post))]
    compared = pair_effects(pairs, runs, EstimateArguments(20))
    effects = compared.effects
    assert (effects[0].n_responses, effects[0].unmatched_second, effects[0].unmatched_first) == (15, 5, 0)
    assert [model["failed"] for model in find_misalignment(pairs, runs, compared).record["models"]] == [0, 1]


def test_both_models_keep_their_scores_where_a_session_of_one_fails_under_precision(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 8)
    data.write_text(data.read_text().replace("person 3. You", "person 3~. You"))
    folders = (tiny_llama_dir, broken(tmp_path / "broken", "~", torch.nan))
    models = {str(folder): in_float32(folder) for folder in folders}
    where = (ScoringArguments(), tmp_path / "run")
    with pytest.raises(IncompleteError, match="1 session could not be scored"):
        score_until_precise(models, DataArguments(str(data)), *where, 1e-6, TrackingArguments(["none"]))
    counts = {folder.name: run_json(folder)["coverage"]["study1"] for folder in (tmp_path / "run").iterdir()}
    assert len(counts) == 2
    assert sorted(count["failed"] > 0 for count in counts.values()) == [False, True]
    assert all(count["scored"] > 0 for count in counts.values())


@pytest.mark.parametrize(
    ("script", "options", "table"),
    [
        ("misalignment", "--base {sound} --post {broken} --dtype float32", "effects.csv"),
        ("misalignment", "--base {sound} --post {broken} --dtype float32 --precision 1e-6", "effects.csv"),
        ("diagnosis", "--base {sound} --post {broken}", "diagnosis.csv"),
        ("generations", "--pairs {pairs}", "generations.csv"),
        ("frontier", "--base {sound} --models other={broken} --items 2", "frontier.csv"),
        ("trajectory", "--run {broken}/.. --base {sound} --items 0", "trajectory.csv"),
        ("personas", "--model_name_or_path {broken}", "personas.csv"),
        ("templates", "--model_name_or_path {broken}", "templates.csv"),
    ],
)
def test_the_other_sessions_are_analysed_before_the_exit_code_says_that_some_failed(
    script: str,
    options: str,
    table: str,
    tmp_path: Path,
    tiny_llama_dir: Path,
) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 8)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    for age, row in enumerate(rows, 20):
        choices = row["text"].replace("<<-3>>", "<<J>>").replace("<<left>>", "<<F>>")
        row |= {"text": choices.replace("person 3. You", "person 3~. You"), "age": age}
    write_transcripts(data, rows)
    model = broken(tmp_path / "trained" / "checkpoint-1", "~", torch.nan)
    (model / "trainer_state.json").write_text("{}")
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(f"post_trained,base,post_training,family,size_b\n{model},{tiny_llama_dir},instruct,tiny,0.001\n")
    given = options.format(sound=tiny_llama_dir, broken=model, pairs=pairs).split()
    common = ("--data", data, "--output_dir", tmp_path / "run", "--resamples", "20")
    done = evaluate(f"{script}.py", *given, *common)
    assert done.returncode == 1, done.stderr
    assert "sessions could not be scored, and are in no comparison: 1 of" in done.stderr
    assert (tmp_path / "run" / table).exists()
    assert run_json(tmp_path / "run")["job"] == script
    for scores in (tmp_path / "run").rglob("scores.parquet"):
        people = set(pq.read_table(scores)["participant"].to_pylist())
        assert len(people) == 8 - len(run_json(scores.parent)["failed_sessions"])
    if script == "misalignment":
        assert run_json(tmp_path / "run")["overall"]["n_participants"] == 7


def test_where_every_session_fails_the_table_is_empty(tmp_path: Path) -> None:
    model = broken(tmp_path / "broken", bandit(0), torch.nan)
    data, run = write_bandits(tmp_path / "data.jsonl", 3), tmp_path / "run"
    assert ended(start(command(model, data, run), tmp_path / "log")) == 1
    assert "3 sessions could not be scored" in (tmp_path / "log").read_text()
    assert pq.read_table(run / "scores.parquet").num_rows == 0
    assert len(run_json(run)["failed_sessions"]) == 3
    assert run_json(run)["nll_mean"] is None


@pytest.fixture
def model(tiny_llama_dir: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32).eval()


@pytest.mark.parametrize("position", ["of the response", "of another token"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_bad_logit_is_found_wherever_it_stands(
    value: float, position: str, model: PreTrainedModel, tiny_llama_dir: Path
) -> None:
    """At the second response alone: also a logit of minus infinity that only the entropy shows."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    encoding = encode("You press <<J>>. You press <<left>>. You press <<F>>.", tokenizer)
    expected = SessionScorer(model).score(encoding).scores
    second = int(encoding.end_R[0] - encoding.start_R[0])  # row of its first token among the response tokens
    token = int(encoding.input_ids_T[encoding.start_R[1]])

    def spoil(_module: torch.nn.Module, _inputs: tuple[torch.Tensor], logits_1NV: torch.Tensor) -> torch.Tensor:
        logits_1NV[0, second, token if position == "of the response" else token - 1] = value
        return logits_1NV

    scorer = SessionScorer(model)
    hook = model.get_output_embeddings().register_forward_hook(spoil)
    with pytest.raises(NonFiniteError, match=rf"response 1 \(tokens {encoding.start_R[1]} to {encoding.end_R[1]}\)"):
        scorer.score(encoding)
    hook.remove()
    np.testing.assert_array_equal(scorer.score(encoding).scores.nll_R, expected.nll_R)
