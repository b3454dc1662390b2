"""The command that predicts people without a language model: a folder of scores for each row, and one table of them."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from centaurlab.analyses.baselines import ANALYSIS, BaselineArguments, find_baselines
from centaurlab.analyses.standing import Standings
from centaurlab.catalog.studies import Study, load_studies
from centaurlab.cognitive.ceiling import Ceiling, ceiling
from centaurlab.cognitive.folder import Asked, Reading, Spool, session_row, write_row
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models.all import load_models, models_of
from centaurlab.cognitive.rows import COGNITIVE, TASK_FREE, ModelResult, study_rows
from centaurlab.cognitive.session import read_session
from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import SessionKey
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.jobs.job import Scored, write_finding
from centaurlab.jobs.people import People, StudyPeople, find_people, language_models
from centaurlab.prompts.prompt import session_prompt
from centaurlab.results.record import Coverage
from centaurlab.results.run import read_run, scored_models
from centaurlab.results.table import N_OPTIONS, NLL, OPTION_NLL
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.own_file import own_digest
from centaurlab.runtime.terminal import say
from centaurlab.stats.arguments import EstimateArguments

_COLUMNS = (NLL, OPTION_NLL, N_OPTIONS)
ROWS = (*(baseline.name for baseline in TASK_FREE), *COGNITIVE)


def run(
    asked: BaselineArguments, data: DataArguments, estimates: EstimateArguments, tracking: TrackingArguments
) -> None:
    """Learn, predict, write a folder for each row, and hold language models against them."""
    folder = RunFolder(Path(asked.output_dir), ANALYSIS.name)
    own_models = load_models(Path(asked.model_file)) if asked.model_file else ()
    own_studies = load_studies(Path(data.study_module)) if data.study_module else {}
    models = language_models(asked.models)
    tracking = tracking.grouped(asked.output_dir)
    config = asdict(data) | asdict(estimates) | asdict(asked)
    with folder.lock():
        people = find_people(data, asked.adapter, models, own_studies)
        say(f"note: {people.said}")
        folder.write_json("config.json", config)
        (folder.path / "metrics.jsonl").unlink(missing_ok=True)  # those of an earlier call, computed anew
        with Tracker(folder, tracking, config), ExitStack() as open_files:
            spools = {name: open_files.enter_context(closing(Spool())) for name in ROWS}
            results, ceilings, notes = _fill(spools, people, own_studies, own_models, bool(models))
            depends_on = _depends_on(people, data, own_models)
            for name, spool in spools.items():
                about = replace(people.asked, notes=(*people.asked.notes, *notes))
                write_row(RunFolder(folder.path / name, "score"), name, spool, about, depends_on, (people.said,))
            runs = {name: read_run(folder.path / name) for name in ROWS}
            told = {one.name: one.about for one in TASK_FREE} | COGNITIVE
            standings = Standings(
                rows={name: run.table(_COLUMNS) for name, run in runs.items()},
                models={one.name: [run.table(_COLUMNS) for run in one.runs] for one in models},
                with_model={one.key.study for one in results},
                ceilings=ceilings,
                novel=people.novel,
            )
            finding = find_baselines(runs, told, results, standings, estimates)
            of_models = {f"{one.name}={run.folder}": run for one in models for run in one.runs}
            record = {**finding.record, "models": scored_models(runs | of_models)}
            write_finding(folder, replace(finding, record=record), estimates, Scored({"": runs}))
    show(*finding.shown)
    say(f"baselines: {folder.path / 'baselines.csv'}")
    say_where(folder.path, tracking)


def _fill(
    spools: Mapping[str, Spool],
    people: People,
    own_studies: Mapping[str, Study],
    own_models: Sequence[CognitiveModel],
    with_ceilings: bool,
) -> tuple[list[ModelResult], list[Ceiling], list[str]]:
    """Every row over all studies, study by study; what cognitive models say, brackets, and what is to be noted."""
    results: list[ModelResult] = []
    ceilings: list[Ceiling] = []
    notes: list[str] = []
    for study in people.studies():
        sessions = {
            key: read_session(transcript, people.persons.unit(key), people.labels, own_studies)
            for key, transcript in study.texts.items()
        }
        asked = models_of(study.name, own_models)
        found = study_rows(sessions, study.predicted, study.training, people.persons, people.seed, asked)
        results += found.models
        readings = {key: reading(study, key, people.asked) for key in study.predicted}
        for name, predictions in found.predictions.items():
            for key in study.predicted:
                spools[name].add(session_row(sessions[key], predictions[key], readings[key]))
        if with_ceilings and (bracket := ceiling(study.name, list(sessions.values()))):
            ceilings.append(bracket.within(set(study.predicted)))
        problems = {key: sessions[key].problem for key in study.predicted if sessions[key].problem}
        notes += [
            f"{key}: the study's module cannot read it ({problem}); its options are the session's own answers"
            for key, problem in problems.items()
        ]
        if any(sessions[key].rule == "own answers" for key in study.predicted):
            notes.append(f"{study.name}: options are a session's own answers, which no language model is told")
    return results, ceilings, notes


def reading(study: StudyPeople, key: SessionKey, asked: Asked) -> Reading:
    """Which responses of a session the protocol scores."""
    prompt = session_prompt(study.texts[key].text, asked.protocol)
    numbers = tuple(response.number for response in prompt.responses)
    coverage = Coverage(
        responses=prompt.n_responses,
        cut=prompt.n_responses - len(numbers) - prompt.n_empty,
        empty=prompt.n_empty,
        malformed=prompt.n_malformed,
    )
    return Reading(numbers, coverage)


def _depends_on(people: People, data: DataArguments, own_models: Sequence[CognitiveModel]) -> dict[str, Any]:
    """What the rows depend on beside the sessions that are predicted."""
    studies = sorted(people.asked.of_sessions)
    return {
        "training": people.training_fingerprints(),
        "data_seed": people.seed,
        "study_module": own_digest(data.study_module),
        "models": {study: [model.name for model in models_of(study, own_models)] for study in studies},
    }


COMMAND = Command(ANALYSIS.description, (BaselineArguments, DataArguments, EstimateArguments, TrackingArguments), run)
