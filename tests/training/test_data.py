"""Sessions become examples with each response once, studies have equal shares, and nobody tested is trained on."""

import re
from pathlib import Path

import numpy as np
import pytest

from centaurlab.data.persons import Persons
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import person_order
from centaurlab.data.transcripts import SessionKey
from centaurlab.models.loading import load_config, load_tokenizer
from centaurlab.prompts.encoding import encode
from centaurlab.runtime.errors import UserError
from centaurlab.training.batches import check_tokens
from centaurlab.training.data import IGNORED, _subset, balanced_order, prepare_data, whole, windows
from centaurlab.training.options import CentaurArguments
from helpers.tiny_models import named
from helpers.transcripts import sessions_of, two_keys, write_transcripts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"novel_studies": "gama"}, "did you mean 'gamma'"),
        ({"studies": "alpha,gamma", "novel_studies": "gamma"}, "'gamma' is in --studies and in --novel_studies"),
    ],
)
def test_bad_studies_are_named(change: dict[str, str], message: str, data_file: Path, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_llama_dir))
    with pytest.raises(UserError, match=message):
        prepare_data(CentaurArguments(data=str(data_file), **change), tokenizer, 2048, seed=0)


def test_people_both_trained_and_tested_on_are_named(data_file: Path, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_llama_dir))
    with pytest.raises(UserError, match=r"participant '0' of 'alpha'.*to be tested"):
        prepare_data(CentaurArguments(data=str(data_file), eval_data=str(data_file)), tokenizer, 2048, seed=0)


def test_a_session_without_a_response_left_is_named(data_file: Path, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_llama_dir))
    with pytest.raises(UserError, match=r"no response of .* is left within 4 tokens"):
        prepare_data(CentaurArguments(data=str(data_file)), tokenizer, 4, seed=0)


def test_tokens_that_the_model_does_not_know_are_named_before_it_is_loaded(
    data_file: Path, tiny_llama_dir: Path
) -> None:
    tokenizer, config = load_tokenizer(named(tiny_llama_dir)), load_config(named(tiny_llama_dir))
    data = prepare_data(CentaurArguments(data=str(data_file)), tokenizer, 2048, seed=0)
    check_tokens(config, tokenizer, data.train, data.held_out)
    config.vocab_size = most = max(max(ids) for ids in data.train["input_ids"])
    piece = re.escape(repr(tokenizer.convert_ids_to_tokens(most)))
    with pytest.raises(UserError, match=f"the sessions hold {piece}: its token {most} is none of the {most} "):
        check_tokens(config, tokenizer, data.held_out.select([]), data.train)


def test_windows_keep_the_instructions_and_each_response_once(tiny_gemma_dir: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_gemma_dir))
    text = two_keys(0, n_trials=40)
    encoding = encode(text, tokenizer)
    pieces = windows(encoding, text, max_length=120)
    instructions = whole(encode(text, tokenizer)).input_ids_T[:5]
    assert len(pieces) > 2
    assert all(len(p.input_ids_T) <= 120 and (p.input_ids_T[:5] == instructions).all() for p in pieces)
    labelled = np.concatenate([p.labels_T[p.labels_T != IGNORED] for p in pieces])
    assert (labelled == whole(encoding).labels_T[whole(encoding).labels_T != IGNORED]).all()


def test_instructions_longer_than_a_window_begin_the_first_one_too(tiny_gemma_dir: Path) -> None:
    """The first half of it is their beginning, the rest the tokens up to the first response."""
    text = "You will see two machines. " * 40 + "\n" + "You choose <<J>>.\n" * 30
    encoding = encode(text, load_tokenizer(named(tiny_gemma_dir)))
    ids_T, first_end = encoding.input_ids_T, int(encoding.end_R[0])
    assert first_end > 120
    pieces = windows(encoding, text, max_length=120)
    assert pieces[0].input_ids_T.tolist() == [*ids_T[:60], *ids_T[first_end - 60 : first_end]]
    assert all(piece.input_ids_T[:60].tolist() == ids_T[:60].tolist() for piece in pieces)
    labelled = np.concatenate([piece.labels_T[piece.labels_T != IGNORED] for piece in pieces])
    assert labelled.tolist() == [
        token for start, end in zip(encoding.start_R, encoding.end_R, strict=True) for token in ids_T[start:end]
    ]


@pytest.mark.parametrize("room", [0, 1, 500])
def test_a_session_that_fits_is_one_window_and_read_once(tiny_gemma_dir: Path, room: int) -> None:
    text = two_keys(0)
    encoding = encode(text, load_tokenizer(named(tiny_gemma_dir)))
    (piece,) = windows(encoding, text, len(encoding.input_ids_T) + room)
    assert piece.input_ids_T.tolist() == encoding.input_ids_T.tolist()
    assert len(piece.labels_T) == len(piece.input_ids_T)


def test_other_markers_and_another_order_of_people_are_read_as_elsewhere(tiny_llama_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_llama_dir))
    plain = sessions_of(["alpha"], 20, lambda _, i: two_keys(i))
    marked = [
        row | {"text": row["text"].replace("<<", "[HUMAN_RESPONSE]").replace(">>", "[/HUMAN_RESPONSE]")}
        for row in plain
    ]
    first, other = tmp_path / "plain.jsonl", tmp_path / "marked.jsonl"
    write_transcripts(first, plain)
    write_transcripts(other, marked)
    read = {}
    for name, data, options in (
        ("plain", first, {}),
        ("marked", other, {"markers": "human_response"}),
        ("order", first, {"people_seed": 5}),
    ):
        asked = CentaurArguments(data=str(data), max_participants=3, **options)
        read[name] = prepare_data(asked, tokenizer, 2048, seed=0)
    assert read["plain"].train["labels"] == read["marked"].train["labels"]
    people = {name: of.split["studies"]["alpha"] for name, of in read.items()}
    assert people["plain"]["test"] == people["order"]["test"]
    training = open_source(DataArguments(str(first), participants="train"))
    order = person_order(training.ranked_keys(), training.persons, 5)
    expected = {key.participant for one in order["alpha"][:3] for key in one}
    assert {who for _, who in people["order"]["train"]} == expected


def test_what_windows_train_on_and_evaluations_do_not_read_is_noted(tiny_llama_dir: Path, tmp_path: Path) -> None:
    tokenizer, path = load_tokenizer(named(tiny_llama_dir)), tmp_path / "sessions.jsonl"
    write_transcripts(path, sessions_of(["alpha"], 20, lambda _, i: "Go.\n" + "You press <<J>>.\n" * 9))
    once = len(tokenizer("Go.\n" + "You press <<J>>.\n" * 6)["input_ids"])
    for how, n_rows in (("cut", 18), ("split", 36)):
        data = prepare_data(CentaurArguments(data=str(path), long_sessions=how), tokenizer, once, seed=0)
        assert len(data.train) == n_rows
        scored, held_out = sum(data.held_out["responses"]), len(data.held_out) * 9
        said = f"{held_out - scored} of {held_out} responses of held-out people lie beyond {once} tokens"
        assert any(note.startswith(said) for note in data.notes) == (how == "split")


def test_balanced_order_gives_every_study_the_same_share() -> None:
    studies = ["large"] * 90 + ["small"] * 10
    drawn = [studies[i] for i in balanced_order(studies, seed=0)]
    assert drawn.count("small") == drawn.count("large") == 50


def test_who_is_named_is_who_comes(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Of a large study beside a small one not everybody; of long instructions nobody, nor a study of these alone."""
    tokenizer = load_tokenizer(named(tiny_llama_dir))
    rows = sessions_of(["large"], 40, lambda _, i: two_keys(i)) + sessions_of(["small"], 5, lambda _, i: two_keys(i))
    long = sessions_of(["large", "long"], range(90, 94), lambda _, i: "Read on. " * 400 + two_keys(i))
    path = write_transcripts(tmp_path / "sessions.jsonl", rows + long)
    asked = CentaurArguments(data=str(path), study_weighting="balanced", on_malformed="skip")
    data = prepare_data(asked, tokenizer, 400, seed=0)
    come = {(key.study, key.participant) for key in data.train_keys}
    told = {(study, who) for study, known in data.split["studies"].items() for _, who in known["train"]}
    assert data.studies == ("large", "small")
    assert told == come
    assert data.split["coverage"]["responses"] == 12 * len(come)
    by_study = {study: known["sessions"] for study, known in data.trained_on["studies"].items()}
    assert by_study == {study: sum(one == study for one, _ in come) for study in by_study}
    assert any("sessions have no response within 400 tokens" in note for note in data.notes)
    left = [note for note in data.notes if "balanced" in note]
    assert len(left) == (by_study["large"] < 36)


def test_the_people_held_out_are_those_that_an_evaluation_selects(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Also where a session is malformed and left out: it keeps its rank among the others."""
    tokenizer, path = load_tokenizer(named(tiny_llama_dir)), tmp_path / "sessions.jsonl"
    for malformed in range(20):
        rows = sessions_of(
            ["alpha"], 20, lambda _, i, malformed=malformed: two_keys(i) if i != malformed else "nothing"
        )
        write_transcripts(path, rows)
        data = prepare_data(CentaurArguments(data=str(path), on_malformed="skip"), tokenizer, 2048, seed=0)
        trained = {person for _, person in data.split["studies"]["alpha"]["train"]}
        evaluated = open_source(DataArguments(str(path), participants="test", on_malformed="skip"))
        tested = {transcript.key.participant for transcript in evaluated}
        assert tested
        assert trained.isdisjoint(tested)
        assert trained | tested == {str(person) for person in range(20)} - {str(malformed)}


@pytest.mark.parametrize(("share", "people"), [(0.55, 55), (0.07, 7), (0.551, 56), (1.0, 100)])
def test_a_share_of_people_is_exact(share: float, people: int) -> None:
    keys = frozenset(SessionKey("study", "exp", str(person)) for person in range(100))
    asked = CentaurArguments(train_share=share)
    assert len(_subset(keys, Persons(), dict.fromkeys(keys, 1), asked)) == people
