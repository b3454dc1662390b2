"""Post-training with people's responses mixed in, kept near its base, resumed, and refused where it makes no sense."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from centaurlab.data.held_out import check_held_out, read_split
from centaurlab.data.source import DataArguments, open_source
from centaurlab.models.loading import load_model
from centaurlab.prompts.chat import PLAIN_TEMPLATE, chat_tokenizer
from centaurlab.runs.integrity import read_json, write_manifest
from centaurlab.runtime.errors import UserError
from centaurlab.training.data import IGNORED
from centaurlab.training.options import PostTrainArguments
from centaurlab.training.posttrain import posttrain
from helpers.json_files import metrics, run_json
from helpers.tiny_models import in_float32, named
from helpers.trainings import start_posttraining
from helpers.transcripts import sessions_of, write_transcripts


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Six people in each of two studies, who choose one key five times."""
    rows = sessions_of(
        ("alpha", "beta"), 6, lambda _, person: "Choose J or F. " + f"You choose <<{'JF'[person % 2]}>>. " * 5
    )
    return write_transcripts(tmp_path / "people.jsonl", rows)


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_replay_of_nothing_is_plain_post_training_bit_for_bit(
    tiny_llama_dir: Path, tmp_path: Path, people: Path
) -> None:
    posttrain(start_posttraining(tiny_llama_dir, tmp_path / "plain"))
    posttrain(start_posttraining(tiny_llama_dir, tmp_path / "none", replay_share=0.0, replay_data=str(people)))
    posttrain(start_posttraining(tiny_llama_dir, tmp_path / "half", replay_share=0.5, replay_data=str(people)))
    plain, none, half = (adapter(tmp_path / name) for name in ("plain", "none", "half"))
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert any(not torch.equal(plain[name], half[name]) for name in plain)


def test_replay_mixes_in_training_participants_responses(tiny_llama_dir: Path, tmp_path: Path, people: Path) -> None:
    run = start_posttraining(tiny_llama_dir, tmp_path / "run", replay_share=0.25, replay_data=str(people))
    rows, tokenizer = run.trainer.train_dataset, run.trainer.processing_class
    replayed = [row for row in rows if tokenizer.decode(row["input_ids"]).startswith("Choose J or F.")]
    assert (len(rows), len(replayed)) == (16, 4)
    for row in replayed:
        learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
        assert tokenizer.decode(learned) in ("JJJJJ", "FFFFF")
    assert run.about["replay"]["examples"] == 4
    studies = read_json(tmp_path / "run" / "split.json")["studies"]
    assert sum(len(known["train"]) for known in studies.values()) == 4, "none of those who were not replayed"


def test_replay_leaves_out_whom_evaluations_call_held_out(tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = sessions_of(["alpha"], 40, lambda _, person: f"Person {person}. You choose <<J>>.")
    data = write_transcripts(tmp_path / "forty.jsonl", rows)
    run = start_posttraining(tiny_llama_dir, tmp_path / "run", replay_share=0.8, replay_data=str(data), seed=3)
    texts = [run.trainer.processing_class.decode(row["input_ids"]) for row in run.trainer.train_dataset]
    replayed = {text.partition(".")[0] for text in texts if text.startswith("Person")}
    test = open_source(DataArguments(str(data), participants="test"))
    held_out = {transcript.text.partition(".")[0] for transcript in test}
    assert len(replayed) == 36
    assert len(held_out) == 4
    assert not replayed & held_out
    split = read_split(tmp_path / "run")
    assert {f"Person {key.participant}" for key in split.train} == replayed
    assert {f"Person {key.participant}" for key in split.test} == held_out
    for seed in (0, 1):  # those of another seed are other people
        asked = DataArguments(str(data), participants="test", data_seed=seed)
        with nullcontext() if seed == 0 else pytest.raises(UserError, match="held out other people"):
            check_held_out([str(tmp_path / "run")], asked, open_source(asked))


def test_kl_penalty_keeps_the_model_nearer_to_its_base(tiny_llama_dir: Path, tmp_path: Path) -> None:
    runs = {
        weight: start_posttraining(tiny_llama_dir, tmp_path / str(weight), kl_to_base=weight) for weight in (1e-6, 5.0)
    }
    last = {}
    for weight, run in runs.items():
        posttrain(run)
        kl = metrics(run.folder.path, "train/kl_to_base")
        assert kl[0] == pytest.approx(0, abs=1e-6)  # a fresh adapter is the base model
        last[weight] = kl[-1]
    assert last[5.0] < 0.7 * last[1e-6]


@pytest.mark.parametrize(
    ("method", "peft"),
    [
        ("sft", False),
        ("dpo", True),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in (("sft", True), ("dpo", False))),
    ],
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    method: str, peft: bool, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    posttrain(start_posttraining(tiny_llama_dir, tmp_path / "whole", method=method, peft=peft))
    first = start_posttraining(tiny_llama_dir, tmp_path / "parts", method=method, peft=peft)
    first.trainer.train()
    for path in (tmp_path / "parts").glob("checkpoint-4/*"):
        path.unlink()
    again = start_posttraining(tiny_llama_dir, tmp_path / "parts", method=method, peft=peft)
    assert again.checkpoint == tmp_path / "parts" / "checkpoint-2"
    posttrain(again)
    name = "adapter_model.safetensors" if peft else "model.safetensors"
    whole, parts = (load_file(tmp_path / run / name) for run in ("whole", "parts"))
    base = load_model(in_float32(tiny_llama_dir)).state_dict()
    assert whole.keys() == parts.keys()
    for tensor in whole:
        torch.testing.assert_close(whole[tensor], parts[tensor])
    moved = [key for key in whole if key not in base or not torch.equal(whole[key], base[key])]
    assert moved
    about = run_json(tmp_path / "parts")
    assert (about["job"], about["steps"], about["conversations"]) == ("posttrain", 4, 12)
    assert chat_tokenizer(named(tmp_path / "parts")).chat_template == PLAIN_TEMPLATE
    (tmp_path / "parts" / "run.json").unlink()  # as if it had been killed between its last step and its end
    posttrain(start_posttraining(tiny_llama_dir, tmp_path / "parts", method=method, peft=peft))
    assert run_json(tmp_path / "parts")["steps"] == 4


def test_a_folder_of_another_run_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    posttrain(start_posttraining(tiny_llama_dir, tmp_path / "run", max_steps=2))
    with pytest.raises(UserError, match="whose learning_rate differs"):
        start_posttraining(tiny_llama_dir, tmp_path / "run", max_steps=2, learning_rate=2e-2)
    with pytest.raises(UserError, match="whose conversations differs"):
        start_posttraining(tiny_llama_dir, tmp_path / "run", max_steps=2, max_examples=10)
    write_manifest(tmp_path / "run" / "checkpoint-2", "of a version with other settings")
    with pytest.raises(UserError, match=r"checkpoint-2 is of another training, or was written with another version"):
        start_posttraining(tiny_llama_dir, tmp_path / "run", max_steps=2)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"replay_share": 1.0}, "below 1"),
        ({"kl_to_base": -1.0}, "at least 0"),
        ({"method": "dpo", "kl_to_base": 0.1}, "--beta"),
        ({"method": "ppo"}, "choose sft or dpo"),
        ({"method": "dpo", "beta": 0.0}, "above 0"),
        ({"on_malformed": "ignore"}, "choose error or skip"),
        ({"max_examples": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        PostTrainArguments(**options)


def test_full_training_with_a_kl_penalty_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set use_peft: true"):
        start_posttraining(tiny_llama_dir, tmp_path / "run", peft=False, kl_to_base=0.1)
