"""A folder of scores into a run with its record and its table, and whether runs may be compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from centaurlab.data.transcripts import data_fingerprint
from centaurlab.results.record import JOB, ScoreRecord
from centaurlab.results.table import MEASURES, SCORES, read_scores
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import RECORD, check_unchanged, read_sealed, read_sound_json, written_digest
from centaurlab.runtime.errors import UserError

_NAMED = 5  # studies named in an error


@dataclass(frozen=True)
class ScoreRun:
    """A finished run of scoring: its folder, what it says of itself, and by which digest it knows its table."""

    folder: Path
    record: ScoreRecord
    digest: str | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return self.record.model.name

    @property
    def fingerprint(self) -> str:
        """The model's fingerprint: equal for the same weights in the same precision, whatever the name."""
        return self.record.model.fingerprint

    @property
    def n_failed(self) -> int:
        """Sessions of the data that could not be scored, hence are in no comparison."""
        return len(self.record.failed_sessions)

    @property
    def about(self) -> dict[str, Any]:
        """The record as it stands in ``run.json``."""
        return self.record.as_dict()

    def table(self, columns: Sequence[str] = MEASURES, if_there: Sequence[str] = ()) -> pa.Table:
        """The run's scores, a row per response; ``read_scores`` says which columns, and what it raises.

        Raises ``UserError``, too, where the folder has been scored anew since, and its numbers are another run's.
        """
        check_unchanged(self.folder / SCORES, self.digest)
        return read_scores(self.folder, columns, if_there)


def names_apart(first: ScoreRun, second: ScoreRun) -> tuple[str, str]:
    """The names of two runs' models; where they are one, with the precision or else the folder that tells them apart.

    Examples
    --------
    One model in bfloat16 and in float32 is ``gemma-3-270m (bfloat16)`` and ``gemma-3-270m (float32)``.
    """
    if first.model != second.model:
        return first.model, second.model
    identities = [run.record.model for run in (first, second)]
    precise = [i.dtype if i.quantization == "none" else i.quantization for i in identities]
    apart = precise if precise[0] != precise[1] else [str(run.folder) for run in (first, second)]
    names = [f"{first.model} ({which})" for which in apart]
    return names[0], names[1]


def without_folders(told: Any) -> Any:
    """The same with the last part of each path alone: the rest is of one machine."""
    if isinstance(told, Mapping):
        return {name: without_folders(value) for name, value in told.items()}
    if isinstance(told, list):
        return [without_folders(value) for value in told]
    if isinstance(told, str) and (Path(told).is_absolute() or ("/" in told and Path(told).exists())):
        return Path(told).name
    return told


def is_score_folder(path: Path) -> bool:
    """Whether ``path`` is the folder of a score run, finished or not."""
    return (path / SCORES).exists() or (path / "store").is_dir()


def write_record(folder: RunFolder, record: ScoreRecord) -> None:
    """Write a run's ``run.json``, whole or not at all; ``UserError`` where the disk refuses it."""
    folder.finish(record.as_dict())


def read_run(folder: Path) -> ScoreRun:
    """Read what a folder of scores says of itself; its table is read when it is asked for.

    Parameters
    ----------
    folder
        The ``--output_dir`` of a finished run of scoring.

    Returns
    -------
    ScoreRun
        The run; fields that the version which wrote it did not know have their defaults.

    Raises
    ------
    UserError
        Where the folder is not there, holds no finished run or one of another job, or its record is damaged.
    """
    job = read_sound_json(folder / RECORD).get("job")
    if job not in (None, JOB):
        raise UserError(f"{folder} is a run of {job!r}, not of 'centaurlab score'; give a folder of scores")
    for name in (RECORD, SCORES):
        if not (folder / name).exists():
            remedy = "give its 'centaurlab score' command again to finish it" if folder.is_dir() else "check the name"
            raise UserError(f"{folder} is not a finished run of 'centaurlab score' (it holds no {name}); {remedy}")
    path = folder / RECORD
    try:
        about = read_sealed(path)
        record = ScoreRecord.from_dict(about)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path} is damaged ({reason}); give its 'centaurlab score' command again") from error
    return ScoreRun(folder, record, written_digest(folder, SCORES))


def scored_data(runs: Iterable[ScoreRun]) -> dict[str, Any]:
    """Name and fingerprints of the data that ``runs`` scored between them, as a comparison's ``run.json`` has them."""
    scored = [run.record.data for run in runs]
    prints = {study: about.fingerprint for data in scored for study, about in data.studies.items()}
    return {
        "name": scored[0].name,
        "fingerprint": data_fingerprint(prints),
        "studies": {study: {"fingerprint": prints[study]} for study in sorted(prints)},
    }


def scored_models(runs: Mapping[str, ScoreRun]) -> list[dict[str, Any]]:
    """Each model of a comparison as its ``run.json`` has it.

    By what name it was asked for, where its scores are, how it was scored and on which data, how many sessions failed,
    and what it is.
    """
    return [
        {"asked": name, "folder": str(run.folder), "protocol": asdict(run.record.protocol), "failed": run.n_failed}
        | {"data": run.record.data.fingerprint}
        | run.record.model.as_dict()
        for name, run in runs.items()
    ]


def check_whole(runs: Iterable[ScoreRun]) -> None:
    """Check that runs know what temperatures would make of their NLLs, which an engine that keeps its logits does not.

    Raises ``UserError`` that names the first which does not.
    """
    for run in runs:
        if run.record.engine:
            raise UserError(
                f"{run.folder} was scored by {run.record.engine}, which does not say NLLs at other temperatures; "
                "score it without --engine, into another folder"
            )


def check_same(runs: Iterable[ScoreRun], same_context: bool = True) -> None:
    """Check that runs scored the same sessions alike, so that they may be compared.

    Parameters
    ----------
    runs
        The runs of a comparison, at least one.
    same_context
        Whether the context (persona, chat template) has to be the same, too: not where it is what is compared.

    Raises
    ------
    UserError
        Where two differ in protocol, engine, data or context, naming the difference; where one has been scored anew
        since it was read.
    """
    first, *others = runs
    for run in (first, *others):
        check_unchanged(run.folder / SCORES, run.digest)
    for other in others:
        _check_protocol_and_data(first, other)
        contexts = [run.record.context for run in (first, other)]
        if same_context and contexts[0] != contexts[1]:
            raise UserError(
                f"{first.folder} was scored with context {contexts[0]} and {other.folder} with {contexts[1]}; score "
                "both alike"
            )


def check_options(runs: Iterable[ScoreRun]) -> None:
    """Check that runs which scored the same sessions of a study knew the same options for them, as far as they say.

    Raises ``UserError`` that names two which did not: what one gives to the options is not held against what another
    gives to others.
    """
    first: dict[tuple[str, str], tuple[ScoreRun, str]] = {}
    for run in runs:
        for study, about in run.record.data.studies.items():
            if not about.options_fingerprint:
                continue
            one, known = first.setdefault((study, about.fingerprint), (run, about.options_fingerprint))
            if known != about.options_fingerprint:
                raise UserError(
                    f"{one.folder} and {run.folder} were scored with different options for the sessions of {study}; "
                    "score both with the same --study_module and version of centaurlab, into other folders"
                )


def check_engines(runs: Iterable[ScoreRun]) -> None:
    """Raise ``UserError`` where two of them were scored by different engines: a difference would hold these', too.

    Baselines are none's.
    """
    by_engine: dict[str, ScoreRun] = {}
    for run in (run for run in runs if not run.record.model.is_baseline):
        by_engine.setdefault(run.record.engine or "our own scorer", run)
    if len(by_engine) > 1:
        (one, first), (another, other), *_ = by_engine.items()
        raise UserError(
            f"{first.folder} was scored by {one} and {other.folder} by {another}, which round differently; "
            "score both with the same --engine"
        )


def _check_protocol_and_data(first: ScoreRun, other: ScoreRun) -> None:
    protocols = [run.record.protocol.name for run in (first, other)]
    if protocols[0] != protocols[1]:
        raise UserError(
            f"{first.folder} was scored with protocol {protocols[0]!r} and {other.folder} with {protocols[1]!r}; "
            "score one of them again with the other's --protocol"
        )
    check_engines([first, other])
    prints = [{study: about.fingerprint for study, about in run.record.data.studies.items()} for run in (first, other)]
    differing = sorted(
        study for study in prints[0].keys() | prints[1].keys() if prints[0].get(study) != prints[1].get(study)
    )
    if differing:
        named = ", ".join(differing[:_NAMED]) + (f" and {len(differing) - _NAMED} more" * (len(differing) > _NAMED))
        raise UserError(
            f"{first.folder} and {other.folder} were scored on different sessions of {named}; "
            "score both with the same --data, --studies, --participants and --max_participants"
        )
