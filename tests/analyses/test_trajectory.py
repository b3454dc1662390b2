import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from centaurlab.analyses import frontier
from centaurlab.analyses.frontier import Standing, frontier_table, on_frontier
from centaurlab.analyses.trajectory import Point, trajectory_table, verdict
from centaurlab.data.assistant.items import AssistantItem
from centaurlab.display.figures.posttraining import coinciding, frontier_figure, trajectory_figure
from centaurlab.jobs.frontier import named_models
from centaurlab.jobs.trajectory import base_model, checkpoints
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model
from centaurlab.prompts.chat import chat_tokenizer
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.assistant import answer_margins, assistant_quality, held_out_items, quality
from centaurlab.stats.accuracy import accuracy
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Accuracy, Estimate

ACCURACY = Accuracy(100, 0.5, 0.4, 0.6)


def effect(d: float, low: float, high: float, level: str = "overall", name: str = "all studies") -> Effect:
    return Effect(
        *("pair", "post", Contrast("post", "base"), level, name),
        d=Estimate(d, low, high),
        d_paired=Estimate(d),
        nll_difference=Estimate(d),
        nll_second=1.0,
        nll_first=1.0 + d,
        n_pairs=1,
        n_responses=10,
        n_participants=2,
        n_studies=1,
        n_studies_d=1,
        n_studies_paired=1,
        unmatched_second=0,
        unmatched_first=0,
    )


def points(d: Estimate, after: Accuracy) -> list[Point]:
    effects = [effect(d.value, d.low, d.high), effect(d.value, d.low, d.high, "study", "alpha")]
    return [Point(0, "base", [], ACCURACY), Point(10, "run/checkpoint-10", effects, after)]


def test_checkpoints_come_in_the_order_of_their_steps_and_torn_ones_not_at_all(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step != 3:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert [step for step, _ in checkpoints(tmp_path)] == [20, 100]
    with pytest.raises(UserError, match="holds no checkpoints"):
        checkpoints(tmp_path / "checkpoint-3")


def test_the_base_model_is_the_one_that_the_run_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="or name --base"):
        base_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"model_name_or_path": "some/base"}}))
    assert base_model(tmp_path) == "some/base"


def test_table_starts_at_the_base_model() -> None:
    table = trajectory_table(points(Estimate(0.2, 0.1, 0.3), ACCURACY))
    shown = table[["step", "level", "nll", "d", "assistant_accuracy"]].to_numpy().tolist()
    assert shown == [
        [0, "overall", 1.0, 0.0, 0.5],
        [0, "study", 1.0, 0.0, 0.5],
        [10, "overall", 1.2, 0.2, 0.5],
        [10, "study", 1.2, 0.2, 0.5],
    ]
    assert len(trajectory_figure(table).axes) == 2
    assert len(trajectory_figure(table.drop(columns="assistant_accuracy")).axes) == 1


@pytest.mark.parametrize(
    ("d", "after", "sentence"),
    [
        (
            Estimate(0.2, 0.1, 0.3),
            Accuracy(100, 0.8, 0.7, 0.9),
            "It is a better assistant than the base model (",
        ),
        (
            Estimate(0.2, 0.1, 0.3),
            ACCURACY,
            "people are predicted worse by the checkpoint of step 10 than by",
        ),
        (
            Estimate(-0.2, -0.3, -0.1),
            ACCURACY,
            "people are predicted better by the checkpoint of step 10 than by",
        ),
        (
            Estimate(0.2, -0.1, 0.3),
            ACCURACY,
            "no clear difference between the checkpoint of step 10 and",
        ),
        (Estimate(0.2, 0.1, 0.3), Accuracy(100, 0.3, 0.2, 0.39), "a worse assistant"),
        (Estimate(0.2, 0.1, 0.3), ACCURACY, "neither clearly a better nor a worse assistant"),
    ],
)
def test_verdict_says_no_more_than_the_intervals(d: Estimate, after: Accuracy, sentence: str) -> None:
    assert sentence in verdict(*points(d, after))


def test_without_an_interval_nobody_is_better_or_worse() -> None:
    said = verdict(*points(Estimate(0.2), ACCURACY))
    assert "predicted worse" not in said
    assert "(d = +0.200; no interval: it needs two people or more, so that it cannot be told from chance)" in said


def test_accuracy_and_wilson_interval() -> None:
    """Wilson's interval by its formula, with z = 1.959964."""
    z, n, p = 1.959964, 10, 0.7
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    found = accuracy([True] * 7 + [False] * 3)
    assert (found.n, found.value) == (10, 0.7)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-5)


def test_quality_by_split_and_topic() -> None:
    items = held_out_items(60)
    solved = [i < 30 for i in range(60)]
    found = quality(solved, items)
    assert (found.overall.value, found.by_split["new_cases"].value, found.by_split["new_templates"].value) == (
        0.5,
        1,
        0,
    )
    assert sum(part.n for part in found.by_topic.values()) == 60


@pytest.mark.parametrize("family", ["tiny_llama_dir", "tiny_gemma_dir"])
def test_margins_are_differences_of_log_probabilities(family: str, request: pytest.FixtureRequest) -> None:
    """Against a plain forward pass over question and answer."""
    args = ModelArguments(str(request.getfixturevalue(family)), dtype="float32")
    tokenizer, model = chat_tokenizer(args), load_model(args)

    def log_probability(item: AssistantItem, answer: str) -> float:
        question = tokenizer.apply_chat_template(
            [{"role": "user", "content": item.question}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(question + answer, add_special_tokens=False).input_ids
        n_question = len(tokenizer(question, add_special_tokens=False).input_ids)
        with torch.no_grad():
            log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return float(sum(log_p[i - 1, ids[i]] for i in range(n_question, len(ids))))

    items = held_out_items(19)
    expected = [log_probability(i, f"{i.answer}.") - log_probability(i, f"{i.foil}.") for i in items]
    assert answer_margins(model, tokenizer, items) == pytest.approx(expected, abs=1e-4)


def test_answers_are_asked_for_once(tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args, items = ModelArguments(str(tiny_llama_dir)), held_out_items(6)
    first = assistant_quality(args, items, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("centaurlab.scoring.assistant.load_model", lambda *_: pytest.fail("loaded again"))
        assert assistant_quality(args, items, tmp_path) == first
    assert assistant_quality(args, items[:4], tmp_path).overall.n == 4


def test_frontier_is_what_nothing_else_dominates() -> None:
    assert on_frontier([0.5, 0.8, 0.6, 0.8], [0.0, 0.3, 0.4, 0.2]) == [True, False, False, True]
    assert on_frontier([0.5, 0.5], [0.1, 0.1]) == [True, True]


def test_points_that_coincide_share_a_label() -> None:
    assert coinciding([0.5, 0.7, 0.501, 0.7], [0.0, 0.2, 0.001, 0.1]) == [[0, 2], [1], [3]]
    assert coinciding([0.5, 0.5], [0.0, 0.0]) == [[0, 1]]


def test_frontier_table_and_figure() -> None:
    standings = [
        Standing("base", "b", None, ACCURACY),
        Standing("sft", "s", effect(0.2, 0.1, 0.3), replace(ACCURACY, value=0.55)),
    ]
    table = frontier_table(standings)
    assert table[["name", "d", "nll", "accuracy"]].to_numpy().tolist() == [
        ["base", 0, 1.0, 0.5],
        ["sft", 0.2, 1.2, 0.55],
    ]
    figure = frontier_figure(table)
    (axes,) = figure.axes
    low, high = sorted(axes.get_ylim())
    assert low < 0 < 0.2 < high
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0  base", "1  sft"]


def test_frontier_verdict_says_no_more_than_the_intervals() -> None:
    standings = [
        Standing("base", "b", None, ACCURACY),
        Standing("sft", "s", effect(0.2, 0.1, 0.3), replace(ACCURACY, value=0.8)),
        Standing("kl", "k", effect(0.3, 0.2, 0.4), replace(ACCURACY, value=0.7)),
        Standing("half", "h", effect(0.1, -0.1, 0.3), replace(ACCURACY, value=0.6)),
        Standing("centaur", "c", effect(-0.2, -0.3, -0.1), replace(ACCURACY, value=0.55)),
    ]
    assert frontier.verdict(frontier_table(standings)) == (
        "on the frontier, where no other is at least as good in both: sft, half and centaur; "
        "people are predicted worse by sft and kl than by base; people are predicted better by centaur than by base; "
        "no clear difference of half from base"
    )


def test_frontier_verdict_says_where_there_is_no_interval() -> None:
    standings = [
        Standing("base", "b", None, ACCURACY),
        Standing("sft", "s", effect(0.2, float("nan"), float("nan")), replace(ACCURACY, value=0.8)),
    ]
    assert frontier.verdict(frontier_table(standings)).endswith(
        "; of sft, whether it differs from base cannot be told (no interval: it needs two studies or more)"
    )


def test_models_have_names_of_their_own() -> None:
    assert [(m.name, m.model) for m in named_models(["sft=runs/a", "runs/b"])] == [
        ("sft", "runs/a"),
        ("runs/b", "runs/b"),
    ]
    with pytest.raises(UserError, match="twice"):
        named_models(["a=x", "a=y"])
    with pytest.raises(UserError, match="NAME=MODEL"):
        named_models(["a="])
