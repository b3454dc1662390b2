"""``centaurlab data convert``: whole files or none, with where they come from; the starter studies are its gallery."""

import csv
import hashlib
import json
from pathlib import Path

import pytest

from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.starter.studies import STUDIES, StarterStudy, read_starter, starter_table
from helpers.commands import centaurlab

TABLE = """id,n,task,answer,rt,age
b,2,choice,right,0.512,
b,1,choice,left,0.4,
b,0,hello,,,31
a,1,choice,left,,
a,2,choice,timeout,,
"""
TEMPLATE = """{% set letters = labels("left", "right") %}
Press {{ letters.left }} for left, {{ letters.right }} for right.

{% for trial in trials %}
{% if trial.answer is missing %}
Too slow.
{% else %}
You press {{ respond(letters[trial.answer], trial.rt) }}.
{% endif %}
{% endfor %}
"""
USUAL = ("--participant", "id", "--study", "me2026/one", "--order", "n", "--where", "task == 'choice'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "t.jinja").write_text(TEMPLATE)
    return tmp_path


def convert(folder: Path, *more: str):
    return centaurlab("data", "convert", "t.csv", "--template", "t.jinja", *USUAL, *more, cwd=folder)


WHOLE = ("--missing", "timeout", "--rt_unit", "s", "--metadata", "age", "--output", "out.jsonl")


def test_people_are_told_with_times_metadata_and_where_they_come_from(folder):
    done = convert(folder, *WHOLE)
    assert done.returncode == 0, done.stderr
    assert "2 people, 3 responses (1 to 2 per person) of 4 rows (1 more are left out by --where)" in done.stdout
    assert "age: known of 1 of 2 people" in done.stdout
    b, a = map(json.loads, (folder / "out.jsonl").read_text().splitlines())
    assert (b["participant"], b["experiment"], b["RTs"], b["age"]) == ("b", "me2026/one", [400, 512], 31)
    assert (a["participant"], "RTs" in a, "age" in a) == ("a", False, False)
    left, right = b["text"].split("Press ")[1][0], b["text"].split("left, ")[1][0]
    assert b["text"].endswith(f"\n\nYou press <<{left}>>.\nYou press <<{right}>>.")
    assert a["text"].endswith(">>.\nToo slow.")
    about = json.loads((folder / "out.jsonl.provenance.json").read_text())
    assert about["inputs"] == {"t.csv": hashlib.sha256(TABLE.encode()).hexdigest()}
    assert about["output"]["sha256"] == hashlib.sha256((folder / "out.jsonl").read_bytes()).hexdigest()
    assert about["template"]["source"] == TEMPLATE
    read = list(open_source(DataArguments(data=str(folder / "out.jsonl"))))
    assert [(t.study, t.participant) for t in read] == [("me2026", "b"), ("me2026", "a")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--rt_unit", "s"), "'timeout' is none of the entries"),
        (("--rt_unit", "s", "--metadata", "n", "--missing", "timeout"), "'n' of participant 'b' is '2' (t.csv:2)"),
        (("--missing", "timeout"), "say --rt_unit ms or --rt_unit s"),
        (("--metadata", "aeg"), "did you mean 'age'"),
        (("--participant", "idd"), "did you mean 'id'"),
        (("--study", "../x"), "cannot name a study"),
        (("--output", "t.csv"), "written as .jsonl"),
        (("--template", "no.jinja"), "cannot read the template"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(folder, change, said):
    before = sorted(path.name for path in folder.iterdir())
    done = convert(folder, "--output", "out.jsonl", *change)
    assert said in done.error
    assert sorted(path.name for path in folder.iterdir() if path.name != "cache") == before


def test_a_file_of_somebody_else_is_not_overwritten_and_our_own_is(folder):
    (folder / "out.jsonl").write_text("mine")
    assert "not written by this command" in convert(folder, *WHOLE).error
    (folder / "out.jsonl").unlink()
    for _ in range(2):
        assert convert(folder, *WHOLE).returncode == 0
    assert "is none of" in convert(folder, "--output", "out.jsonl", "--rt_unit", "s").error
    written = (folder / "out.jsonl").read_text().splitlines()
    assert len(written) == 2  # as it was
    edited = "\n".join([*written, written[0].replace('"a"', '"by hand"')]) + "\n"
    (folder / "out.jsonl").write_text(edited)
    assert "changed after it was written" in convert(folder, *WHOLE).error
    assert (folder / "out.jsonl").read_text() == edited


def test_a_person_without_a_response_is_named(folder):
    (folder / "t.csv").write_text(TABLE + "c,1,choice,timeout,,\n")
    assert "participant 'c' has 1 rows (t.csv:7 …)" in convert(folder, *WHOLE).error


def test_answers_that_look_like_none_are_pointed_out(folder):
    (folder / "t.jinja").write_text("{% for t in trials %}{{ respond(t.answer) }} {% endfor %}")
    done = convert(folder, "--output", "out.jsonl")
    assert "look: 'timeout' is the answer 1 times; if it means none, say --missing timeout" in done.stdout


def test_a_preview_shows_markers_and_counts_and_writes_nothing(folder):
    done = convert(folder, "--preview", "1", "--missing", "timeout", "--rt_unit", "s")
    assert "participant b" in done.stdout
    assert "2 responses; 2 reaction times from 400 to 512 ms" in done.stdout
    assert "participant a" not in done.stdout
    assert not (folder / "out.jsonl").exists()


def test_a_first_template_can_be_told_as_it_is(folder):
    done = centaurlab("data", "convert", "t.csv", "--init", "--participant", "id", cwd=folder)
    assert "is there already" in done.error
    done = centaurlab("data", "convert", "t.csv", "--init", "--participant", "id", "--output", "n.jinja", cwd=folder)
    assert done.returncode == 0, done.stderr
    first = (folder / "n.jinja").read_text()
    assert "trial.age: '31'; 4 of 5 missing; one value per person (--metadata?)" in first
    assert """--where "task == 'choice'" """ in first
    assert "look: 'timeout' stands in 1 cells; if it means no value, say --missing timeout" in done.stdout
    done = centaurlab(
        *("data", "convert", "t.csv", "--template", "n.jinja", *USUAL[:4], "--rt_unit", "s", "--output", "n.jsonl"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert "2 people, 4 responses" in done.stdout


def test_a_first_template_without_an_answer_says_what_it_lacks(folder):
    (folder / "t.csv").write_text("vp,stimulus,taste\n007,a,sweet\n007,b,sour\n")
    named = ("data", "convert", "t.csv", "--participant", "vp")
    done = centaurlab(*named, "--init", "--output", "n.jinja", cwd=folder)
    assert "then give --template n.jinja --participant vp --preview 2" in done.stdout
    refused = centaurlab(*named, "--template", "n.jinja", "--preview", "1", cwd=folder)
    assert refused.returncode == 2
    assert "n.jinja: the template tells no response: write the column that holds the answer into it" in refused.error


def test_a_first_template_shows_what_people_saw(folder):
    row = "3,<p>F: 1 point</p><p>J: <b>2</b></p>,f,html-keyboard-response"
    (folder / "t.csv").write_text(f"id,stimulus,response,trial_type\n{row}\n{row.replace('F', 'G')}\n")
    centaurlab("data", "convert", "t.csv", "--init", "--participant", "id", "--output", "n.jinja", cwd=folder)
    done = centaurlab(
        "data", "convert", "t.csv", "--template", "n.jinja", "--participant", "id", "--preview", "1", cwd=folder
    )
    assert "Trial 1: stimulus: F: 1 point J: 2. You answer <<f>>." in done.stdout
    assert "--study is not given" in done.stdout


def test_which_column_names_the_person_is_asked_for_with_a_guess(folder):
    done = centaurlab("data", "convert", "t.csv", "--init", cwd=folder)
    assert "perhaps --participant id?" in done.error
    (folder / "t.csv").write_text("id,session,file,answer\na,1,cat,left\na,2,dog,left\n")
    assert "perhaps --participant id?" in centaurlab("data", "convert", "t.csv", "--init", cwd=folder).error


@pytest.mark.parametrize("name", ["elsewhere/prompts.jsonl", "badham2017deficits/a.jsonl", "badham2017deficits.jsonl"])
def test_the_study_is_read_back_whatever_the_file_is_called(folder, name):
    assert convert(folder, *WHOLE[:-1], name).returncode == 0
    assert {session.key.study for session in open_source(DataArguments(str(folder / name)))} == {"me2026"}


def test_who_is_who_is_said_where_no_column_is_named(folder):
    (folder / "t.json").write_text(json.dumps([[{"answer": "left", "rt": 1}], [{"answer": "right", "rt": 2}] * 2]))
    asked = ("t.json", "--template", "t.jinja", "--study", "me2026", "--rt_unit", "s", "--output", "out.jsonl")
    done = centaurlab("data", "convert", *asked, cwd=folder)
    assert "2 people, 3 responses" in done.stdout, done.stderr
    assert "told by files or lists, in the column 'session'" in done.stdout


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_the_starter_studies_come_out_of_their_templates(study: StarterStudy, tmp_path: Path) -> None:
    """From a CSV file, with the options that their templates name, the lines are those of ``--data starter``."""
    table = starter_table(study)
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows([row.cells[column] or "" for column in table.columns] for row in table.rows)
    done = centaurlab(
        *("data", "convert", tmp_path / "t.csv", "--template", f"recipes/tables/{study.template}.jinja"),
        *("--participant", study.participant, "--study", f"{study.name}/{study.item}"),
        *(("--order", *study.order) if study.order else ()),
        *("--output", tmp_path / "t.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    ours = [record.fields for record in read_starter() if record.fields["experiment"] == f"{study.name}/{study.item}"]
    assert told == ours


def test_converted_sessions_pass_validation(folder):
    assert convert(folder, *WHOLE).returncode == 0
    assert centaurlab("data", "validate", "out.jsonl", cwd=folder).returncode == 0
