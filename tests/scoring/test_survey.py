"""A survey knows of every session what a second reading would tell, without its text."""

import random
from pathlib import Path

import pytest

from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import study_fingerprint, text_digest, told
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import order
from centaurlab.scoring import survey as module
from centaurlab.scoring.survey import Survey
from helpers.transcripts import session, write_transcripts


def people(folder: Path, n: int = 50) -> Path:
    draw = random.Random(0)
    texts = [f"You see {draw.randint(0, 9)}. You press <<{draw.choice('JF')}>>." * draw.randint(1, 4) for _ in range(n)]
    rows = [session(i, text=text, study=f"study{i % 3}") for i, text in enumerate(texts)]
    draw.shuffle(rows)
    return write_transcripts(folder / "people.jsonl", rows)


@pytest.mark.parametrize("batch", [7, 1_000])
@pytest.mark.parametrize("window", [300, 64_000_000])
def test_it_is_what_the_transcripts_say(
    batch: int, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_SESSIONS", batch)
    monkeypatch.setattr(order, "WINDOW_CHARACTERS", window)
    source = open_source(DataArguments(str(people(tmp_path))))
    survey, transcripts = Survey(source), list(source)
    assert survey.n_sessions == 50
    assert [(s.key, s.text_digest, s.n_characters) for s in survey] == [
        (t.key, text_digest(t.text), len(t.text)) for t in transcripts
    ]
    assert survey.n_by_study() == {"study0": 17, "study1": 17, "study2": 16}
    some = {t.key for t in transcripts[::3]}
    assert survey.n_characters() == sum(len(t.text) for t in transcripts)
    assert survey.n_characters(some) == sum(len(t.text) for t in transcripts[::3])
    for study in survey.n_by_study():
        every = sorted(told(t.key, text_digest(t.text)) for t in transcripts if t.study == study)
        assert survey.fingerprint(study) == study_fingerprint(every)
    assert survey.is_one_window == (window == 64_000_000)
    assert [t for one in survey.windows() for t in one] == transcripts


def test_sessions_left_out_are_told_and_the_first_malformed_one_ends_it_where_none_is(tmp_path: Path) -> None:
    path = write_transcripts(tmp_path / "people.jsonl", [session(1), session(2, text="You press <<J"), session(3)])
    survey = Survey(open_source(DataArguments(str(path), on_malformed="skip")))
    assert [s.key.participant for s in survey] == ["1", "3"]
    (skipped,) = survey.skipped
    assert skipped.startswith(f"{path}:2: unclosed")
    with pytest.raises(UserError, match=f"{path}:2: unclosed"):
        Survey(open_source(DataArguments(str(path))))


@pytest.mark.parametrize("change", ["another text", "one more", "one less", "another order"])
def test_data_that_change_between_two_readings_are_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "WINDOW_CHARACTERS", 3_000)
    path = people(tmp_path, 6)
    survey = Survey(open_source(DataArguments(str(path))))
    assert not survey.is_one_window
    assert sum(map(len, survey.windows())) == 6
    lines = path.read_text().splitlines()
    lines = {
        "another text": [*lines[:-1], lines[-1].replace("You see", "You saw")],
        "one more": [*lines, lines[-1].replace('"participant": ', '"participant": 9')],
        "one less": lines[:-1],
        "another order": [*lines[:-2], lines[-1], lines[-2]],
    }[change]
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(UserError, match="has changed since the run began"):
        list(survey.windows())


@pytest.mark.parametrize(
    ("people_of", "said"),
    [
        ({"lotteries": "abc", "bandits": "bcd"}, ["2 people take part in several studies"]),
        ({"lotteries": "abc", "bandits": "c"}, ["1 person takes part in several studies"]),
        ({"lotteries": "abc", "bandits": "de"}, []),
    ],
)
def test_people_of_several_studies_are_named(tmp_path: Path, people_of: dict[str, str], said: list[str]) -> None:
    rows = [
        session(i, text="You press <<J>>.", study=study, person=person)
        for study, people in people_of.items()
        for i, person in enumerate(people)
    ]
    rows.append(session("b", text="You press <<J>>.", study="alone"))
    survey = Survey(open_source(DataArguments(str(write_transcripts(tmp_path / "people.jsonl", rows)))))
    assert [doubt.split(";")[0] for doubt in survey.doubts if "several studies" in doubt] == said
