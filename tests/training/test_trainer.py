import json
from pathlib import Path

import numpy as np
import pytest
import torch
from trl import ModelConfig, SFTConfig

from centaurlab.data.source import DataArguments, open_source
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.encoding import encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.scorer import SessionScorer
from centaurlab.training.base_model import check_quantised_device, load_base
from centaurlab.training.centaur import prepare_run, train
from centaurlab.training.data import IGNORED, balanced_order, prepare_data, whole, windows
from centaurlab.training.options import CentaurArguments
from centaurlab.training.resume import last_complete_checkpoint
from centaurlab.training.trainer import SessionCollator, sequence_nll

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def session(person: int, trials: int = 12) -> str:
    rng = np.random.default_rng(person)
    answers = "".join(f"Trial {i}: you choose <<{'JF'[rng.integers(2)]}>>.\n" for i in range(trials))
    return f"You will be shown two slot machines, J and F.\n{answers}"


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "sessions.jsonl"
    rows = [
        {"text": session(person), "experiment": f"{study}/exp1.csv", "participant": person}
        for study in ("alpha", "beta", "gamma")
        for person in range(6)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(
    model: Path, data: Path, output: Path, **training: object
) -> tuple[CentaurArguments, SFTConfig, ModelConfig]:
    defaults = {
        "max_steps": 4,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "save_steps": 2,
        "disable_tqdm": True,
        "report_to": "none",
        "per_device_eval_batch_size": 2,
        "seed": 3,
    }
    four_bit = bool(training.pop("load_in_4bit", False))
    return (
        CentaurArguments(data=str(data), novel_studies="gamma"),
        SFTConfig(output_dir=str(output), **(defaults | training)),
        ModelConfig(
            str(model),
            dtype="float32",
            load_in_4bit=four_bit,
            use_peft=True,
            lora_r=4,
            lora_alpha=4,
            lora_dropout=0.0,
            lora_target_modules=TARGETS,
        ),
    )


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["train/loss"] for line in lines if "train/loss" in line]


@pytest.mark.parametrize("tiny", ["tiny_llama_dir", "tiny_gemma_dir"])
@pytest.mark.parametrize("four_bit", [False, True])
def test_loss_of_a_batch_is_the_scorers_token_mean(tiny: str, four_bit: bool, request: pytest.FixtureRequest) -> None:
    args = ModelArguments(str(request.getfixturevalue(tiny)), dtype="float32", load_in_4bit=four_bit)
    tokenizer, model = load_tokenizer(args), load_model(args)
    encodings = [encode(session(person, trials), tokenizer) for person, trials in ((0, 3), (1, 12))]
    examples = [{"input_ids": whole(e).input_ids_T, "labels": whole(e).labels_T} for e in encodings]
    batch = SessionCollator(0)(examples)
    with torch.no_grad():
        nll_BN = sequence_nll(model, batch)
    scores = [SessionScorer(model).score(e).scores for e in encodings]
    assert nll_BN.sum(1).numpy() == pytest.approx([s.nll_R.sum() for s in scores], rel=1e-4)
    n_tokens = sum(int(s.n_tokens_R.sum()) for s in scores)
    assert nll_BN.sum() / n_tokens == pytest.approx(sum(s.nll_R.sum() for s in scores) / n_tokens, abs=1e-4)


def test_lm_head_is_applied_at_labelled_positions_alone(tiny_gemma_dir: Path) -> None:
    args = ModelArguments(str(tiny_gemma_dir), dtype="float32")
    model, encoding = load_model(args), encode(session(0), load_tokenizer(args))
    rows = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[-2]))
    example = whole(encoding)
    sequence_nll(model, SessionCollator(0)([{"input_ids": example.input_ids_T, "labels": example.labels_T}]))
    assert rows == [int((encoding.end_R - encoding.start_R).sum())]


@pytest.mark.parametrize("tiny", ["tiny_llama_dir", "tiny_gemma_dir"])
@pytest.mark.parametrize("together", ["packed", "padded"])
def test_sessions_of_a_batch_do_not_see_each_other(tiny: str, together: str, request: pytest.FixtureRequest) -> None:
    args = ModelArguments(str(request.getfixturevalue(tiny)), dtype="float32")
    tokenizer, model = load_tokenizer(args), load_base(args, torch.device("cpu"))
    examples = [whole(encode(session(person, trials), tokenizer)) for person, trials in ((0, 2), (1, 20))]
    rows = [{"input_ids": e.input_ids_T, "labels": e.labels_T} for e in examples]
    apart = sum(sequence_nll(model, SessionCollator(0)([row])).sum().item() for row in rows)
    if together == "packed":
        packed = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        rows = [packed | {"seq_lengths": [len(e.input_ids_T) for e in examples]}]
    assert sequence_nll(model, SessionCollator(0)(rows)).sum().item() == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize("tiny", ["tiny_llama_dir", "tiny_gemma_dir"])
def test_gradients_of_a_padded_batch_equal_those_of_sdpa(tiny: str, request: pytest.FixtureRequest) -> None:
    args = ModelArguments(str(request.getfixturevalue(tiny)), dtype="float32")
    tokenizer = load_tokenizer(args)
    examples = [whole(encode(session(person, trials), tokenizer)) for person, trials in ((0, 2), (1, 20))]
    batch = SessionCollator(0)([{"input_ids": e.input_ids_T, "labels": e.labels_T} for e in examples])
    gradients = []
    for model in (load_model(args), load_base(args, torch.device("cpu"))):
        weight = model.get_input_embeddings().weight.requires_grad_(True)
        sequence_nll(model, batch).sum().backward()
        gradients.append(weight.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("four_bit", [False, True])
def test_evaluation_changes_no_gradient(four_bit: bool, tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    curves = []
    for name, extra in (("with", {"eval_strategy": "steps", "eval_steps": 1}), ("without", {})):
        run = prepare_run(*settings(tiny_llama_dir, data_file, tmp_path / name, load_in_4bit=four_bit, **extra))
        run.trainer.train()
        curves.append(losses(tmp_path / name))
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)
    assert len(set(curves[0])) == len(curves[0])


def test_a_resumed_run_equals_an_uninterrupted_one(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    whole_run = prepare_run(*settings(tiny_llama_dir, data_file, tmp_path / "whole", max_steps=6))
    train(whole_run)
    (tmp_path / "cut").mkdir()
    first = prepare_run(*settings(tiny_llama_dir, data_file, tmp_path / "cut", max_steps=6))
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            if state.global_step == 3:
                raise KeyboardInterrupt

    first.trainer.add_callback(Stop())
    with pytest.raises(KeyboardInterrupt):
        train(first)
    torn = tmp_path / "cut" / "checkpoint-3"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": 3')
    second = prepare_run(*settings(tiny_llama_dir, data_file, tmp_path / "cut", max_steps=6))
    assert second.checkpoint == tmp_path / "cut" / "checkpoint-2"
    train(second)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    from safetensors.torch import load_file

    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_result_is_a_plain_adapter_with_a_card(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    results = train(prepare_run(*settings(tiny_llama_dir, data_file, tmp_path)))
    AutoPeftModelForCausalLM.from_pretrained(tmp_path)
    load_model(ModelArguments(str(tmp_path), dtype="float32"))
    card = (tmp_path / "README.md").read_text()
    assert all(word in card for word in ("alpha", "Held-out participants", "learning_rate", "limits"))
    assert {r.study for r in results} == {"alpha", "beta"}
    split = json.loads((tmp_path / "split.json").read_text())
    for study in split["studies"].values():
        assert not set(map(tuple, study["train"])) & set(map(tuple, study["test"]))
    assert "gamma" not in split["studies"]


def test_another_data_set_in_the_same_folder_is_refused(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    prepare_run(*settings(tiny_llama_dir, data_file, tmp_path)).trainer.train()
    args, training, model = settings(tiny_llama_dir, data_file, tmp_path)
    args.train_share = 0.4
    with pytest.raises(UserError, match="another --output_dir"):
        prepare_run(args, training, model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"novel_studies": "gama"}, "did you mean 'gamma'"),
        ({"studies": "alpha,gamma", "novel_studies": "gamma"}, "'gamma' is in --studies and in --novel_studies"),
    ],
)
def test_bad_studies_are_named(change: dict[str, str], message: str, data_file: Path, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    with pytest.raises(UserError, match=message):
        prepare_data(CentaurArguments(data=str(data_file), **change), tokenizer, 2048, seed=0)


def test_people_both_trained_and_tested_on_are_named(data_file: Path, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    with pytest.raises(UserError, match=r"participant '0' of 'alpha'.*to be tested"):
        prepare_data(CentaurArguments(data=str(data_file), eval_data=str(data_file)), tokenizer, 2048, seed=0)


def test_a_session_without_a_response_left_is_named(data_file: Path, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    with pytest.raises(UserError, match=r"no response of .* is left within 4 tokens"):
        prepare_data(CentaurArguments(data=str(data_file)), tokenizer, 4, seed=0)


def test_four_bit_weights_are_nf4_or_nothing(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    args, training, model = settings(tiny_llama_dir, data_file, tmp_path)
    model.bnb_4bit_quant_type = "fp4"
    with pytest.raises(UserError, match="bnb_4bit_quant_type is 'fp4'"):
        prepare_run(args, training, model)


def test_four_bit_on_a_device_without_support() -> None:
    with pytest.raises(UserError, match="do not work on mps"):
        check_quantised_device("mps")


def test_windows_keep_the_instructions_and_each_response_once(tiny_gemma_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_gemma_dir)))
    text = session(0, trials=40)
    encoding = encode(text, tokenizer)
    pieces = windows(encoding, text, max_length=120)
    instructions = whole(encode(text, tokenizer)).input_ids_T[:5]
    assert len(pieces) > 2
    assert all(len(p.input_ids_T) <= 120 and (p.input_ids_T[:5] == instructions).all() for p in pieces)
    labelled = np.concatenate([p.labels_T[p.labels_T != IGNORED] for p in pieces])
    assert (labelled == whole(encoding).labels_T[whole(encoding).labels_T != IGNORED]).all()


def test_balanced_order_gives_every_study_the_same_share() -> None:
    studies = ["large"] * 90 + ["small"] * 10
    drawn = [studies[i] for i in balanced_order(studies, seed=0)]
    assert drawn.count("small") == drawn.count("large") == 50


def test_torn_checkpoints_are_not_complete(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    assert last_complete_checkpoint(tmp_path) is None


def test_the_people_held_out_are_those_that_an_evaluation_selects(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Also where a session is malformed and left out: it keeps its rank among the others."""
    tokenizer, path = load_tokenizer(ModelArguments(str(tiny_llama_dir))), tmp_path / "sessions.jsonl"
    for malformed in range(20):
        texts = [session(person) if person != malformed else "no response" for person in range(20)]
        rows = [{"text": text, "experiment": "alpha/exp1.csv", "participant": i} for i, text in enumerate(texts)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = prepare_data(CentaurArguments(data=str(path), on_malformed="skip"), tokenizer, 2048, seed=0)
        trained = {person for _, person in data.split["studies"]["alpha"]["train"]}
        evaluated = open_source(DataArguments(str(path), participants="test", on_malformed="skip"))
        tested = {transcript.key.participant for transcript in evaluated}
        assert tested
        assert trained.isdisjoint(tested)
        assert trained | tested == {str(person) for person in range(20)} - {str(malformed)}


def test_a_run_where_nobody_is_held_out_ends_well(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "sessions.jsonl"
    rows = [{"text": session(0), "experiment": f"{study}/exp1.csv", "participant": 0} for study in ("alpha", "gamma")]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert train(prepare_run(*settings(tiny_llama_dir, data, tmp_path / "run"))) == []
    assert json.loads((tmp_path / "run" / "run.json").read_text())["held_out"] == []


def test_a_run_goes_on_with_its_own_settings_alone(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    train(prepare_run(*settings(tiny_llama_dir, data_file, tmp_path)))
    prepare_run(*settings(tiny_llama_dir, data_file, tmp_path, save_steps=1, logging_steps=2))
    with pytest.raises(UserError, match="whose learning_rate differs"):
        prepare_run(*settings(tiny_llama_dir, data_file, tmp_path, learning_rate=2e-2))
    with pytest.raises(UserError, match="leave resume_from_checkpoint away"):
        prepare_run(*settings(tiny_llama_dir, data_file, tmp_path, resume_from_checkpoint="true"))
