"""The command that says how predictable people are: the people of the data into the bracket of each item study."""

from dataclasses import asdict
from pathlib import Path

from centaurlab.analyses.ceiling import ANALYSIS, CeilingArguments, find_ceiling
from centaurlab.catalog.studies import load_studies
from centaurlab.cognitive.ceiling import ceiling
from centaurlab.cognitive.session import Session, read_session
from centaurlab.data.options import shared_labels
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import data_fingerprint
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.jobs.job import write_files
from centaurlab.results.run import ScoreRun, check_engines, read_run, scored_models
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import WRITTEN, RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say
from centaurlab.scoring.survey import Survey


def run(asked: CeilingArguments, data: DataArguments, tracking: TrackingArguments) -> None:
    """Find the brackets, and place the models."""
    folder = RunFolder(Path(asked.output_dir), ANALYSIS.name)
    own_studies = load_studies(Path(data.study_module)) if data.study_module else {}
    runs = {name: read_run(Path(name)) for name in asked.models}
    check_engines(runs.values())
    config = asdict(data) | asdict(asked)
    with folder.lock():
        source = open_source(data)
        survey = Survey(source)
        prints = {study: survey.fingerprint(study) for study in survey.n_by_study()}
        for name, scored in runs.items():
            _check_data(name, scored, prints)
        labels = shared_labels(source, own_studies)
        sessions: dict[str, list[Session]] = {study: [] for study in prints}
        for transcript in source:
            person = source.persons.unit(transcript.key)
            sessions[transcript.study].append(read_session(transcript, person, labels, own_studies))
        found = {study: ceiling(study, of_study) for study, of_study in sessions.items()}
        finding = find_ceiling(
            [one for one in found.values() if one], [study for study, one in found.items() if not one], runs
        )
        folder.write_json("config.json", config)
        with Tracker(folder, tracking.grouped(asked.output_dir), config):
            written = write_files(folder, finding)
            studies = {study: {"fingerprint": fingerprint} for study, fingerprint in prints.items()}
            read = {"name": source.name, "fingerprint": data_fingerprint(prints), "studies": studies}
            about = {"job": folder.job, "data": read, "models": scored_models(runs), WRITTEN: written}
            folder.finish(provenance() | about | dict(finding.record))
    show(*finding.shown)
    say(f"ceiling: {folder.path / 'ceiling.csv'}")
    say_where(folder.path, tracking)


def _check_data(name: str, scored: ScoreRun, prints: dict[str, str]) -> None:
    known = {study: about.fingerprint for study, about in scored.record.data.studies.items()}
    differing = sorted(study for study in known.keys() & prints.keys() if known[study] != prints[study])
    if differing or not known.keys() & prints.keys():
        where = differing[0] if differing else "any study"
        raise UserError(
            f"{name} was scored on other sessions of {where} than --data has; give the --data, --studies and "
            "--participants that it was scored with"
        )


COMMAND = Command(ANALYSIS.description, (CeilingArguments, DataArguments, TrackingArguments), run)
