"""Who is predicted without a language model, who is learned from, and their texts, some studies at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from centaurlab.catalog.studies import Study
from centaurlab.cognitive.folder import Asked
from centaurlab.data.held_out import check_people, read_split
from centaurlab.data.options import LabelsSeen
from centaurlab.data.persons import Persons, find_persons
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import partition
from centaurlab.data.transcripts import SessionKey, Transcript, study_fingerprint, text_digest, told
from centaurlab.results.run import ScoreRun, check_engines, check_options, read_run
from centaurlab.results.table import SESSION
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.survey import Survey

_AT_A_TIME = 16_000_000
"""Characters of texts that are held at once, unless a single study has more."""


@dataclass(frozen=True)
class LanguageModel:
    """A language model's runs of scoring, which hold different sessions, and the keys of these."""

    name: str
    runs: tuple[ScoreRun, ...]
    sessions: frozenset[SessionKey]


@dataclass(frozen=True)
class StudyPeople:
    """One study: texts of all who are predicted or learned from, and which sessions are which."""

    name: str
    texts: Mapping[SessionKey, Transcript]
    predicted: Sequence[SessionKey]
    training: Sequence[SessionKey]


@dataclass(frozen=True)
class People:
    """Who is predicted and who is learned from.

    ``seed``: of the split. ``labels``: those of ``data.options.shared_labels``. ``novel``: studies that a Centaur was
    not trained on, None without one. ``told``: a line for each session, which its fingerprint is made of.
    """

    asked: Asked
    persons: Persons
    seed: int
    said: str
    labels: Mapping[str, tuple[str, ...]]
    novel: frozenset[str] | None
    predicted: Mapping[str, tuple[SessionKey, ...]]
    training: Mapping[str, tuple[SessionKey, ...]]
    told: Mapping[SessionKey, bytes] = field(repr=False)
    _sources: tuple[DataArguments, ...] = ()
    _groups: tuple[tuple[str, ...], ...] = ()
    _held: Mapping[SessionKey, Transcript] | None = field(default=None, repr=False)

    def studies(self) -> Iterator[StudyPeople]:
        """Study by study; texts are read again, some studies at a time, where they are too many to be held."""
        for group in self._groups:
            wanted = {key for study in group for key in (*self.predicted[study], *self.training.get(study, ()))}
            texts = self._held if self._held is not None else self._read(wanted)
            for study in group:
                keys = dict.fromkeys((*self.predicted[study], *self.training.get(study, ())))
                of_study = {key: texts[key] for key in keys}
                yield StudyPeople(study, of_study, self.predicted[study], self.training.get(study, ()))

    def fingerprints(self, chosen: Mapping[str, Sequence[SessionKey]]) -> dict[str, str]:
        """Of the texts of those sessions of each study."""
        told_of = self.told
        return {
            study: study_fingerprint(sorted(told_of[key] for key in keys if key in told_of))
            for study, keys in chosen.items()
        }

    def training_fingerprints(self) -> dict[str, str]:
        """Of the training people of each study."""
        return self.fingerprints({study: self.training.get(study, ()) for study in self.predicted})

    def _read(self, wanted: set[SessionKey]) -> dict[SessionKey, Transcript]:
        found: dict[SessionKey, Transcript] = {}
        for arguments in self._sources:
            missing = frozenset(wanted - found.keys())
            if missing:
                found |= {transcript.key: transcript for transcript in open_source(arguments, missing)}
        return found


def language_models(given: Sequence[str]) -> list[LanguageModel]:
    """``NAME=FOLDER`` or ``FOLDER`` each; folders of one name are of one model and hold different sessions."""
    folders: dict[str, list[Path]] = {}
    for text in given:
        name, separator, folder = text.partition("=")
        folders.setdefault(name.strip(), []).append(Path(folder.strip() if separator else text))
    models = []
    for name, of_model in folders.items():
        runs = tuple(map(read_run, of_model))
        keys = [_sessions(run) for run in runs]
        if twice := next(
            iter(frozenset.union(*keys) if sum(map(len, keys)) > len(frozenset.union(*keys)) else ()), None
        ):
            raise UserError(f"--models: two folders of {name} hold {twice}; give each model a name of its own")
        models.append(LanguageModel(name, runs, frozenset.union(*keys)))
    of_all = [run for model in models for run in model.runs]
    check_engines(of_all)
    check_options(of_all)
    return models


def _sessions(run: ScoreRun) -> frozenset[SessionKey]:
    rows = run.table([]).select(list(SESSION)).group_by(list(SESSION)).aggregate([])
    return frozenset(SessionKey(*row) for row in zip(*(rows.column(name).to_pylist() for name in SESSION), strict=True))


def find_people(
    data: DataArguments,
    adapter: str | None,
    models: Sequence[LanguageModel],
    own_studies: Mapping[str, Study],
    sessions: frozenset[SessionKey] | None = None,
) -> People:
    """Who is predicted, and who is learned from: the training people of a Centaur, or of the data's own split.

    The split is that of all people of the data, whoever of them is predicted. With ``models`` those are predicted whom
    all of them scored; with ``sessions`` these, whatever ``data`` say of people. Studies that a Centaur did not train
    on have no training people of its; a cognitive model of such a study learns from the training people of the data's
    split.
    """
    everything = replace(data, participants="all", max_participants=None)
    everybody = open_source(everything)
    sources: tuple[DataArguments, ...] = (everything,)
    if models:
        common = frozenset.intersection(*(model.sessions for model in models))
        wanted = frozenset(key for key in open_source(data).ranked_keys() if key in common)
        if not wanted:
            raise UserError(f"--models and --data {data.data} have no session in common; give the data they scored")
        survey = Survey(open_source(data, wanted))
    else:
        survey = Survey(open_source(data, sessions))
    studies = survey.n_by_study()
    novel, seed = None, data.data_seed
    persons = everybody.persons
    if adapter is None:
        chosen = partition((key for key, _ in everybody.everybody()), persons, seed).train
        whom = f"the training people of the split with --data_seed {seed}"
        if everybody.half:  # of which --participants selects all
            whom += f" of this {everybody.half} half of the data's own split, all of whose people are predicted"
    else:
        split = read_split(Path(adapter))
        seed = split.split_seed
        trained = split.trained_data(data)
        if trained != replace(everything, studies=None, domains=None):
            sources = (everything, trained)
            persons = find_persons(chain(open_source(trained).everybody(), everybody.everybody()))
        check_people(split.train, open_source(trained), split.named)
        novel = frozenset(studies) - {key.study for key in split.train}
        others = partition((key for key, _ in everybody.everybody()), persons, seed).train
        chosen = split.train | {key for key in others if key.study in novel}
        whom = f"the people that {adapter} was trained on"
        if novel:
            whom += f" and, in {', '.join(sorted(novel))}, which it never saw, other people of the study"
    training = frozenset(key for key in chosen if key.study in studies)
    predicted = [session.key for session in survey]
    read = _read_once(sources, {*predicted, *training}, own_studies)
    lost = training - read.told.keys()
    training -= lost
    n_both = len(training.intersection(predicted))
    said = f"learned from {whom}, {len(training):,} sessions"
    if lost:
        said += f", and none of {len(lost):,} more, whose sessions are malformed"
    if n_both:
        said += f"; {n_both:,} of them are predicted too, by the training people of the other folds"
    asked = Asked(
        name=survey.source.name,
        protocol=_protocol(models, read.told, survey),
        fingerprints={study: survey.fingerprint(study) for study in studies},
        of_sessions=studies,
        person_of=persons.joined if any(persons.joined(key) is not None for key in predicted) else None,
        notes=(*survey.source.notes, *survey.doubts),
        skipped=survey.skipped,
    )
    return People(
        *(asked, persons, seed, said, read.labels, novel),
        predicted={study: tuple(key for key in predicted if key.study == study) for study in studies},
        training={study: tuple(key for key in sorted(training, key=str) if key.study == study) for study in studies},
        told=read.told,
        _sources=sources,
        _groups=read.groups,
        _held=read.held,
    )


@dataclass(frozen=True)
class _ReadOnce:
    """What is known after one reading: fingerprint lines, labels, studies to be read together, texts if few."""

    told: Mapping[SessionKey, bytes]
    labels: Mapping[str, tuple[str, ...]]
    groups: tuple[tuple[str, ...], ...]
    held: Mapping[SessionKey, Transcript] | None


def _read_once(
    sources: Sequence[DataArguments], wanted: set[SessionKey], own_studies: Mapping[str, Study]
) -> _ReadOnce:
    labels = LabelsSeen(own_studies)
    lines: dict[SessionKey, bytes] = {}
    sizes: dict[str, int] = {}
    held: dict[SessionKey, Transcript] | None = {}
    for arguments in sources:
        missing = frozenset(wanted - lines.keys())
        for transcript in open_source(arguments, missing) if missing else ():
            key = transcript.key
            labels.add(transcript)
            lines[key] = told(key, text_digest(transcript.text))
            sizes[key.study] = sizes.get(key.study, 0) + len(transcript.text)
            if held is not None:
                held[key] = transcript
                held = held if sum(sizes.values()) <= _AT_A_TIME else None
    return _ReadOnce(lines, labels.shared(), _groups(sizes), held)


def _groups(sizes: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Studies, in alphabetical order, to be read together."""
    groups: list[list[str]] = []
    size = 0
    for study in sorted(sizes):
        if not groups or size + sizes[study] > _AT_A_TIME:
            groups.append([])
            size = 0
        groups[-1].append(study)
        size += sizes[study]
    return tuple(map(tuple, groups))


def _protocol(models: Sequence[LanguageModel], told_of: Mapping[SessionKey, bytes], survey: Survey) -> str:
    """The protocol that all models were scored with; ``UserError`` where they differ, or scored other texts."""
    known = set(told_of)
    protocols: dict[str, Path] = {}
    for run in (run for model in models for run in model.runs):
        protocols.setdefault(run.record.protocol.name, run.folder)
        of_study: dict[str, list[SessionKey]] = {}
        for key in _sessions(run):
            of_study.setdefault(key.study, []).append(key)
        for study, keys in of_study.items():
            about = run.record.data.studies.get(study)
            if about is None or len(keys) != about.of_sessions or not known.issuperset(keys):
                continue  # the run has more sessions than are read here
            if study_fingerprint(sorted(told_of[key] for key in keys)) != about.fingerprint:
                raise UserError(f"{run.folder} was scored on other texts of {study} than --data has; score it again")
    if len(protocols) > 1:
        (one, first), (other, second) = list(protocols.items())[:2]
        raise UserError(f"{first} was scored with protocol {one!r} and {second} with {other!r}; score both alike")
    return next(iter(protocols), "full")
