"""The loss in training is the scorer's NLL, whatever is padded or packed, and sessions do not see each other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.chat import chat_tokenizer
from centaurlab.prompts.encoding import encode
from centaurlab.scoring.scorer import SessionScorer
from centaurlab.training.base_model import load_base
from centaurlab.training.conversations import (
    encode_conversations,
    read_conversations,
)
from centaurlab.training.data import whole
from centaurlab.training.options import CentaurArguments, PostTrainArguments
from centaurlab.training.trainer import SessionCollator, sequence_nll
from helpers.tiny_models import in_float32
from helpers.trainings import start_centaur
from helpers.transcripts import sessions_of, two_keys, write_transcripts


@pytest.mark.parametrize("tiny", ["tiny_llama_dir", "tiny_gemma_dir"])
@pytest.mark.parametrize("four_bit", [False, True])
def test_loss_of_a_batch_is_the_scorers_token_mean(tiny: str, four_bit: bool, request: pytest.FixtureRequest) -> None:
    args = in_float32(request.getfixturevalue(tiny), load_in_4bit=four_bit)
    tokenizer, model = load_tokenizer(args), load_model(args)
    encodings = [encode(two_keys(person, trials), tokenizer) for person, trials in ((0, 3), (1, 12))]
    examples = [{"input_ids": whole(e).input_ids_T, "labels": whole(e).labels_T} for e in encodings]
    batch = SessionCollator(0)(examples)
    with torch.no_grad():
        nll_BN = sequence_nll(model, batch)
    scores = [SessionScorer(model).score(e).scores for e in encodings]
    assert nll_BN.sum(1).numpy() == pytest.approx([s.nll_R.sum() for s in scores], rel=1e-4)
    n_tokens = sum(int(s.n_tokens_R.sum()) for s in scores)
    assert nll_BN.sum() / n_tokens == pytest.approx(sum(s.nll_R.sum() for s in scores) / n_tokens, abs=1e-4)


def test_lm_head_is_applied_at_labelled_positions_alone(tiny_gemma_dir: Path) -> None:
    args = in_float32(tiny_gemma_dir)
    model, encoding = load_model(args), encode(two_keys(0), load_tokenizer(args))
    rows = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[-2]))
    example = whole(encoding)
    sequence_nll(model, SessionCollator(0)([{"input_ids": example.input_ids_T, "labels": example.labels_T}]))
    assert rows == [int((encoding.end_R - encoding.start_R).sum())]


@pytest.mark.parametrize("tiny", ["tiny_llama_dir", "tiny_gemma_dir"])
@pytest.mark.parametrize("together", ["packed", "padded"])
def test_sessions_of_a_batch_do_not_see_each_other(tiny: str, together: str, request: pytest.FixtureRequest) -> None:
    args = in_float32(request.getfixturevalue(tiny))
    tokenizer, model = load_tokenizer(args), load_base(args, torch.device("cpu"))
    examples = [whole(encode(two_keys(person, trials), tokenizer)) for person, trials in ((0, 2), (1, 20))]
    rows = [{"input_ids": e.input_ids_T, "labels": e.labels_T} for e in examples]
    apart = sum(sequence_nll(model, SessionCollator(0)([row])).sum().item() for row in rows)
    if together == "packed":
        packed = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        rows = [packed | {"seq_lengths": [len(e.input_ids_T) for e in examples]}]
    assert sequence_nll(model, SessionCollator(0)(rows)).sum().item() == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize("tiny", ["tiny_llama_dir", "tiny_gemma_dir"])
def test_gradients_of_a_padded_batch_equal_those_of_sdpa(tiny: str, request: pytest.FixtureRequest) -> None:
    args = in_float32(request.getfixturevalue(tiny))
    tokenizer = load_tokenizer(args)
    examples = [whole(encode(two_keys(person, trials), tokenizer)) for person, trials in ((0, 2), (1, 20))]
    batch = SessionCollator(0)([{"input_ids": e.input_ids_T, "labels": e.labels_T} for e in examples])
    gradients = []
    for model in (load_model(args), load_base(args, torch.device("cpu"))):
        weight = model.get_input_embeddings().weight.requires_grad_(True)
        sequence_nll(model, batch).sum().backward()
        gradients.append(weight.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", ["tiny_llama_dir", "tiny_gemma_dir"])
def test_without_padding_each_conversation_still_sees_itself_alone(model: str, request: pytest.FixtureRequest) -> None:
    args = in_float32(request.getfixturevalue(model))
    tokenizer, loaded = chat_tokenizer(args), load_base(args, torch.device("cpu"))
    conversations = read_conversations(PostTrainArguments(max_examples=5), seed=0)
    rows = list(encode_conversations(conversations, "sft", tokenizer, 512).examples)
    joined = SessionCollator(0, padding_free=True)(rows)
    assert joined["input_ids"].shape == (1, sum(len(row["input_ids"]) for row in rows))
    with torch.no_grad():
        alone = torch.cat([sequence_nll(loaded, SessionCollator(0)([row]))[0] for row in rows])
        torch.testing.assert_close(sequence_nll(loaded, joined)[0], alone, atol=1e-5, rtol=1e-5)


def test_held_out_results_are_of_whom_they_are_said_to_be(tiny_llama_dir: Path, tmp_path: Path) -> None:
    trials = {"alpha": 2, "beta": 20}
    rows = sessions_of(trials, 4, lambda study, person: two_keys(person, trials[study]))
    asked = CentaurArguments(data=str(write_transcripts(tmp_path / "sessions.jsonl", rows)))
    run = start_centaur(tiny_llama_dir, tmp_path / "run", asked, train_sampling_strategy="group_by_length")
    assert {key.study for key in run.data.held_out_keys} == set(trials)
    assert run.trainer.base_session_nll().responses == [trials[key.study] for key in run.data.held_out_keys]
