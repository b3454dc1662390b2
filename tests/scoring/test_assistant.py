"""What a model answers as an assistant: margins as a plain forward pass gives them, each asked for once."""

from pathlib import Path

import pytest
import torch

from centaurlab.data.assistant.items import AssistantItem
from centaurlab.models.loading import load_model
from centaurlab.prompts.chat import chat_tokenizer
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.assistant import answer_margins, assistant_quality, held_out_items, quality
from helpers.tiny_models import in_float32, named


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
    args = in_float32(request.getfixturevalue(family))
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
    args, items = named(tiny_llama_dir), held_out_items(6)
    first = assistant_quality(args, items, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("centaurlab.scoring.assistant.load_model", lambda *_: pytest.fail("loaded again"))
        assert assistant_quality(args, items, tmp_path) == first
    assert assistant_quality(args, items[:4], tmp_path).overall.n == 4


def test_a_question_with_a_token_that_the_model_does_not_know_is_refused(tiny_llama_dir: Path) -> None:
    args = named(tiny_llama_dir)
    tokenizer, model = chat_tokenizer(args), load_model(args)
    n = len(tokenizer)
    tokenizer.add_tokens([" the "])
    with pytest.raises(UserError, match=f"its token {n} is none of the {n} that the model has embeddings of"):
        answer_margins(model, tokenizer, held_out_items(2))
