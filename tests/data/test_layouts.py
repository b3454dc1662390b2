"""Layouts of sister collections: names of fields of PsychLing-101, other markers by option, images that are named."""

import json
import zipfile
from pathlib import Path

import pytest

import centaurlab as cl
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import HUMAN_RESPONSE, Transcript, count_images, find_responses, in_angles
from centaurlab.results.record import Coverage
from centaurlab.runtime.errors import UserError
from helpers.commands import centaurlab
from helpers.json_files import run_json
from helpers.transcripts import write_transcripts

OPEN, CLOSE = HUMAN_RESPONSE
TASK = "You see a picture, then a word. Press {0} if the word names it, {1} if it does not.\n"


def lines() -> list[dict[str, object]]:
    """Sessions as the README of PsychLing-101 has them: ``participant_id``, ``rt``, ``<image>``."""
    return [
        {
            "text": TASK.format(*letters)
            + "".join(f"Trial {i}: <image> 'dog'. You press <<{letters[i % 2]}>>.\n" for i in range(3)),
            "experiment": "doe2020_naming/exp1",
            "participant_id": person,
            "rt": [512, None, 430],
            "age": 30 + person,
        }
        for person, letters in enumerate(("QB", "XK", "UM"), start=1)
    ]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "PsychLing-101" / "doe2020_naming"
    (folder / "original_data").mkdir(parents=True)
    (folder / "original_data" / "raw.csv").write_text("a,b\n1,2\n")
    (folder / "README.md").write_text("Doe (2020)")
    with zipfile.ZipFile(folder / "prompts.jsonl.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prompts.jsonl", "\n".join(map(json.dumps, lines())))
    return folder.parent


def read(**arguments: str) -> list[Transcript]:
    return list(open_source(DataArguments(**arguments)))


def test_a_checkout_of_psychling_is_read_like_one_of_psych_201(checkout):
    found = read(data=str(checkout))
    assert [(t.study, t.experiment, t.participant) for t in found] == [
        ("doe2020_naming", "doe2020_naming/exp1", str(person)) for person in (1, 2, 3)
    ]
    assert found[0].metadata == {"rt": [512, None, 430], "age": 31}
    assert [t.text for t in found] == [line["text"] for line in lines()]
    assert len(read(data=str(checkout), participants="test")) == 1
    assert centaurlab("data", "validate", checkout).returncode == 0


def test_participant_goes_before_participant_id_which_is_then_metadata(tmp_path):
    rows = [row | {"participant": f"p{row['participant_id']}"} for row in lines()]
    found = read(data=str(write_transcripts(tmp_path / "s.jsonl", rows)))
    assert [(t.participant, t.metadata["participant_id"]) for t in found] == [("p1", 1), ("p2", 2), ("p3", 3)]


def test_images_that_are_named_are_counted_as_not_shown(checkout, tiny_llama_dir, tmp_path, offline):
    run = cl.score(tiny_llama_dir, str(checkout), tmp_path / "run")
    assert run_json(run.folder)["coverage"]["doe2020_naming"]["images"] == 9
    assert run.record.coverage["doe2020_naming"] == Coverage(responses=9, scored=9, images=9)
    assert "9 images that the texts name were not shown to the model" in run._repr_html_()


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("<image> and <image: a/b.png> and dog_1.JPG, cat.jpeg.", 4),
        ("<image>dog.png</image>, <image>: the one of before, <image> cat.png; then dog.png <image>", 5),
        ("<images> of 3.5 images, a .png, x.pngs and file.csv", 0),
    ],
)
def test_images_are_named_by_a_token_or_a_file(text, n):
    assert count_images(text) == n


def other_markers(text: str) -> str:
    return text.replace("<<", OPEN).replace(">>", CLOSE)


def test_other_markers_are_read_where_they_are_asked_for_and_never_guessed(tmp_path):
    rows = [row | {"text": other_markers(str(row["text"]))} for row in lines()]
    path = write_transcripts(tmp_path / "s.jsonl", rows)
    found = read(data=str(path), markers="human_response")
    assert [t.text for t in found] == [line["text"] for line in lines()]
    with pytest.raises(UserError, match=r"s.jsonl:1: no '<<…>>', but the text has .* --markers human_response"):
        read(data=str(path))
    assert centaurlab("data", "validate", path, "--markers", "human_response").returncode == 0
    assert centaurlab("data", "lint", path, "--markers", "human_response").returncode == 0
    with pytest.raises(UserError, match="--markers is 'square'; choose angles, human_response"):
        read(data=str(path), markers="square")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"a <<J>> {OPEN}F{CLOSE}", "'<<' that belongs to no"),
        (f"a {OPEN}F{CLOSE} {OPEN}J", "'[HUMAN_RESPONSE]' that belongs to no"),
        (f"a {OPEN}F{CLOSE} J{CLOSE}", "'[/HUMAN_RESPONSE]' that belongs to no"),
        (f"a <{OPEN}F{CLOSE}", "stands beside"),
        (f"a {OPEN}x>>y{CLOSE}", "stands beside"),
        (f"a {OPEN}F>{CLOSE}", "stands beside"),
    ],
)
def test_what_is_doubtful_in_other_markers_is_refused_with_its_line(text, said, tmp_path):
    row = {"text": text, "experiment": "e", "participant": 1}
    with pytest.raises(UserError) as caught:
        read(data=str(write_transcripts(tmp_path / "s.jsonl", [row])), markers="human_response")
    assert said in str(caught.value)
    assert "s.jsonl:1" in str(caught.value)


@pytest.mark.parametrize("name", ["s.jsonl", "s.parquet"])
def test_a_doubtful_session_is_somebodys_and_of_its_own_study(name, tmp_path):
    """Who is held out is the same whatever is wrong with a text; and what is wrong elsewhere is nobody's."""
    told = f"You press {OPEN}A{CLOSE}."
    rows = [{"text": told, "experiment": "me2026", "participant": f"p{i}"} for i in range(20)]
    test = {"markers": "human_response", "participants": "test"}
    held_out = {t.participant for t in read(data=str(write_transcripts(tmp_path / name, rows)), **test)}
    (first, *_) = held_out
    rows = [row | {"text": f"<< {told}"} if row["participant"] == first else row for row in rows]
    path = write_transcripts(tmp_path / name, [*rows, {"text": f"<< {told}", "experiment": "o", "participant": "q"}])
    assert len(held_out) == 2
    found = {t.participant for t in read(data=str(path), studies="me2026", on_malformed="skip", **test)}
    assert found == held_out - {first}
    path = write_transcripts(tmp_path / name, [{**rows[0], "text": told}, {**rows[1], "text": told, "experiment": "o"}])
    assert len(read(data=str(path), studies="o", markers="human_response")) == 1


def test_both_markers_in_a_text_are_refused(tmp_path):
    row = {"text": f"a <<J>> {OPEN}F{CLOSE}", "experiment": "e", "participant": 1}
    with pytest.raises(UserError, match=r"the text has .* beside '<<…>>'"):
        read(data=str(write_transcripts(tmp_path / "s.jsonl", [row])))


def test_every_response_keeps_its_characters():
    text = f"a {OPEN}x > y{CLOSE}{OPEN}\n{CLOSE} b >> c {OPEN}[J]{CLOSE}"
    told, reason = in_angles(text)
    assert reason is None
    assert [told[r.start : r.end] for r in find_responses(told)] == ["x > y", "\n", "[J]"]
