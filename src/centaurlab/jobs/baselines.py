"""The command that predicts people without a language model: a folder of scores for each row, and one table of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from centaurlab.analyses.baselines import ANALYSIS, BaselineArguments, find_baselines
from centaurlab.catalog.studies import Study, load_studies
from centaurlab.cognitive.folder import Asked, Reading, write_row
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models.all import load_models, models_of
from centaurlab.cognitive.prediction import Prediction
from centaurlab.cognitive.rows import COGNITIVE, TASK_FREE, ModelResult, StudyRows, study_rows
from centaurlab.cognitive.session import Session, read_session
from centaurlab.data.held_out import read_split
from centaurlab.data.options import shared_labels
from centaurlab.data.persons import Persons, find_persons
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import partition
from centaurlab.data.transcripts import SessionKey, Transcript, study_fingerprint, text_digest, told
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.jobs.job import Scored, write_finding
from centaurlab.prompts.prompt import session_prompt
from centaurlab.results.record import Coverage
from centaurlab.results.run import read_run
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.terminal import say
from centaurlab.scoring.survey import Survey
from centaurlab.stats.arguments import EstimateArguments


@dataclass(frozen=True)
class People:
    """Who is predicted (``survey``), who is learned from, and the texts of both, by study."""

    survey: Survey
    training: frozenset[SessionKey]
    persons: Persons
    texts: Mapping[str, Mapping[SessionKey, Transcript]]
    said: str


def run(
    asked: BaselineArguments, data: DataArguments, estimates: EstimateArguments, tracking: TrackingArguments
) -> None:
    """Learn, predict, and write a folder for each row."""
    folder = RunFolder(Path(asked.output_dir), ANALYSIS.name)
    own_studies = load_studies(Path(data.study_module)) if data.study_module else {}
    own_models = load_models(Path(asked.model_file)) if asked.model_file else ()
    tracking = tracking.grouped(asked.output_dir)
    config = asdict(data) | asdict(estimates) | asdict(asked)
    with folder.lock():
        people = _people(data, asked.adapter)
        say(f"note: {people.said}")
        sessions = _sessions(people, own_studies)
        about = _asked(people, sessions, read_run(Path(asked.like)).record.protocol.name if asked.like else "full")
        folder.write_json("config.json", config)
        (folder.path / "metrics.jsonl").unlink(missing_ok=True)  # those of an earlier call, computed anew
        with Tracker(folder, tracking, config):
            rows = _rows(people, sessions, data.data_seed, own_models)
            depends_on = _depends_on(people, data, own_models)
            for name, predictions in rows.predictions.items():
                write_row(RunFolder(folder.path / name, "score"), name, predictions, about, depends_on, (people.said,))
            runs = {name: read_run(folder.path / name) for name in rows.predictions}
            told = {one.name: one.about for one in TASK_FREE} | COGNITIVE
            finding = find_baselines(runs, told, rows.models, estimates)
            write_finding(folder, finding, estimates, Scored({"": runs}))
    show(*finding.shown)
    say(f"baselines: {folder.path / 'baselines.csv'}")


def _people(data: DataArguments, adapter: str | None) -> People:
    """Who is predicted and who is learned from; their texts are held in memory.

    The split is that of all people of the data, whoever of them is predicted: that of a Centaur with the same seed.
    """
    survey = Survey(open_source(data))
    everybody = open_source(replace(data, participants="all", max_participants=None))
    if adapter is None:
        source, persons = everybody, everybody.persons
        training = partition((key for key, _ in everybody.everybody()), persons, data.data_seed).train
        whom = f"the training people of the split with --data_seed {data.data_seed}"
    else:
        split = read_split(Path(adapter))
        source = open_source(DataArguments(split.data, on_malformed=data.on_malformed), split.train)
        persons = find_persons(chain(source.everybody(), everybody.everybody()))
        training, whom = split.train, f"the people that {adapter} was trained on"
    studies = survey.n_by_study()
    predicted = {session.key for session in survey}
    wanted = predicted | {key for key in training if key.study in studies}
    texts: dict[str, dict[SessionKey, Transcript]] = {study: {} for study in studies}
    for transcript in chain(source, everybody if adapter else ()):
        if transcript.key in wanted:
            texts[transcript.study][transcript.key] = transcript
    training = frozenset(key for key in training if key.study in studies and key in texts[key.study])
    n_both = len(predicted & training)
    said = f"learned from {whom}, {len(training):,} sessions"
    if n_both:
        said += f"; {n_both:,} of them are predicted too, by the training people of the other folds"
    return People(survey, training, persons, texts, said)


def _sessions(people: People, own_studies: Mapping[str, Study]) -> dict[SessionKey, Session]:
    every = [transcript for of_study in people.texts.values() for transcript in of_study.values()]
    labels = shared_labels(every, own_studies)
    return {one.key: read_session(one, people.persons.unit(one.key), labels, own_studies) for one in every}


def _asked(people: People, sessions: Mapping[SessionKey, Session], protocol: str) -> Asked:
    survey = people.survey
    predicted = {session.key: sessions[session.key] for session in survey}
    texts = {key: people.texts[key.study][key].text for key in predicted}
    studies = survey.n_by_study()
    notes = [
        f"{key}: the study's module cannot read it ({session.problem}); its options are the session's own answers"
        for key, session in predicted.items()
        if session.problem
    ]
    told_own = sorted({key.study for key, session in predicted.items() if session.rule == "own answers"})
    notes += [f"{study}: options are a session's own answers, which no language model is told" for study in told_own]
    return Asked(
        name=survey.source.name,
        protocol=protocol,
        fingerprints={study: survey.fingerprint(study) for study in studies},
        of_sessions=studies,
        sessions=predicted,
        readings={key: _reading(text, protocol) for key, text in texts.items()},
        notes=(*survey.source.notes, *survey.doubts, *notes),
        skipped=survey.skipped,
    )


def _reading(text: str, protocol: str) -> Reading:
    prompt = session_prompt(text, protocol)
    numbers = tuple(response.number for response in prompt.responses)
    coverage = Coverage(
        responses=prompt.n_responses,
        cut=prompt.n_responses - len(numbers) - prompt.n_empty,
        empty=prompt.n_empty,
        malformed=prompt.n_malformed,
    )
    return Reading(numbers, coverage)


def _rows(
    people: People, sessions: Mapping[SessionKey, Session], seed: int, own_models: Sequence[CognitiveModel]
) -> StudyRows:
    """Every row over all studies."""
    predictions: dict[str, dict[SessionKey, Prediction]] = {}
    models: list[ModelResult] = []
    training = _by_study(people.training)
    for study, keys in _by_study(session.key for session in people.survey).items():
        asked = models_of(study, own_models)
        found = study_rows(sessions, keys, training.get(study, ()), people.persons, seed, asked)
        for name, of_study in found.predictions.items():
            predictions.setdefault(name, {}).update(of_study)
        models += found.models
    return StudyRows(predictions, models)


def _by_study(keys: Iterable[SessionKey]) -> dict[str, list[SessionKey]]:
    found: dict[str, list[SessionKey]] = {}
    for key in keys:
        found.setdefault(key.study, []).append(key)
    return found


def _depends_on(people: People, data: DataArguments, own_models: Sequence[CognitiveModel]) -> dict[str, Any]:
    """What the rows depend on beside the sessions that are predicted."""
    return {
        "training": {study: _fingerprint(people, study) for study in people.texts},
        "data_seed": data.data_seed,
        "study_module": data.study_module,
        "models": {study: [model.name for model in models_of(study, own_models)] for study in people.texts},
    }


def _fingerprint(people: People, study: str) -> str:
    texts: Mapping[SessionKey, Transcript] = people.texts[study]
    keys: Collection[SessionKey] = [key for key in texts if key in people.training]
    return study_fingerprint(sorted(told(key, text_digest(texts[key].text)) for key in keys))


COMMAND = Command(ANALYSIS.description, (BaselineArguments, DataArguments, EstimateArguments, TrackingArguments), run)
