"""People from wherever a notebook has them: a name, a file, a list of dicts, a data frame, a data set."""

import gzip
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import Transcript, find_responses
from centaurlab.library.options import options_of
from centaurlab.runs.integrity import file_digest
from centaurlab.runtime.disk import disk_errors, replace_durably
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import counted

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    Sessions: TypeAlias = str | Path | Iterable[Mapping[str, Any]] | pd.DataFrame | datasets.Dataset
    """What people may be given as."""

_SESSIONS = "sessions.jsonl.gz"
_PREFIX = "centaurlab-people-"


@dataclass(frozen=True)
class People:
    """Sessions of an experiment, as ``load`` gives them: iterable, the same ones in the same order each time.

    ``arguments`` say where they are and which of them are meant.
    """

    arguments: DataArguments

    def __iter__(self) -> Iterator[Transcript]:
        return iter(open_source(self.arguments))

    @property
    def name(self) -> str:
        """What the data are called: their name, or that of their file."""
        return Path(self.arguments.data).name if Path(self.arguments.data).exists() else self.arguments.data

    def kept_in(self, folder: Path) -> DataArguments:
        """Where the sessions are; those that were given as rows are copied into ``folder``, to outlast this process.

        Others give another name there: ``folder`` may hold a run on these, and refuse this one.
        """
        path = Path(self.arguments.data)
        if not path.parent.name.startswith(_PREFIX):
            return self.arguments
        with disk_errors(folder):
            kept = folder / f"sessions-{file_digest(path)[:8]}.jsonl.gz"
            folder.mkdir(parents=True, exist_ok=True)
            temporary = kept.with_name(f".{kept.name}.tmp")
            shutil.copyfile(path, temporary)
            replace_durably(temporary, kept)
        return replace(self.arguments, data=str(kept))

    def __len__(self) -> int:
        return len(self.to_frame())

    def to_frame(self) -> "pd.DataFrame":
        """A row per session: study, experiment, participant, text, number of responses, and other metadata.

        Examples
        --------
        >>> cl.load(sessions).to_frame()[["participant", "responses", "age"]].to_dict("records")
        [{'participant': 'p1', 'responses': 2, 'age': 31}, {'participant': 'p2', 'responses': 2, 'age': 24}]
        """
        return self._frame.copy()

    @cached_property
    def _frame(self) -> "pd.DataFrame":
        import pandas as pd

        rows = []
        for t in self:
            row: dict[str, Any] = {
                "study": t.study,
                "experiment": t.experiment,
                "participant": t.participant,
                "text": t.text,
            }
            row |= {"responses": len(find_responses(t.text))}
            rows.append(row | dict(t.metadata) | row)
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"People({self.name!r}: {self._size()})"

    def _repr_html_(self) -> str:
        counts = self._frame.groupby("study", sort=False).agg(sessions=("text", "size"), responses=("responses", "sum"))
        return f"<p>{self._size()}</p>{counts.to_html()}"

    def _size(self) -> str:
        frame = self._frame
        n_studies = frame["study"].nunique()
        said = [f"{n_studies} {'study' if n_studies == 1 else 'studies'}", counted(len(frame), "session")]
        return ", ".join([*said, counted(int(frame["responses"].sum()), "response")])


def load(data: "Sessions | People" = "starter", **options: Any) -> People:
    """Open transcripts of experiments.

    Parameters
    ----------
    data : str, path, iterable of dicts, pandas.DataFrame or datasets.Dataset
        ``"starter"``, an id on the hub, a file or folder, or the sessions themselves: one row each, with ``text`` (the
        responses between ``<<`` and ``>>``), ``experiment`` or ``study``, ``participant``, and any metadata. Sessions
        that are given so are written to a temporary file, from which they are read like any others.
    **options
        Which of the sessions: ``studies``, ``domains``, ``participants`` (``"train"`` or ``"test"``),
        ``max_participants``, ``on_malformed`` and whatever else ``--help`` of every command lists under *data*.

    Returns
    -------
    People
        Iterable of ``Transcript``; ``to_frame()`` gives a table.

    Raises
    ------
    UserError
        Where there are no such data, or a session is malformed: when they are first read.

    Examples
    --------
    >>> people = cl.load(sessions, max_participants=1)
    >>> people
    People('sessions.jsonl.gz': 1 study, 1 session, 2 responses)
    >>> [transcript.participant for transcript in people]
    ['p1']
    """
    if isinstance(data, People):
        return People(replace(data.arguments, **options_of(options, DataArguments)))
    place = data if isinstance(data, str | Path) else _written(_rows(data))
    return People(DataArguments(str(place), **options_of(options, DataArguments, but=("data",))))


def _rows(data: "Iterable[Mapping[str, Any]] | pd.DataFrame | datasets.Dataset") -> Iterator[Mapping[str, Any]]:
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        data = data.to_dict("records")
    if not isinstance(data, Iterable):
        raise UserError(
            f"people are not given as {type(data).__name__} but as a name, a path, a list of dicts, a data frame or a "
            "data set"
        )
    for number, row in enumerate(data):
        if not isinstance(row, Mapping):
            raise UserError(
                f"session {number} is a {type(row).__name__}, not a dict with text, experiment and participant; give a "
                "name, a path, a list of dicts, a data frame or a data set"
            )
        yield row


def _written(rows: Iterable[Mapping[str, Any]]) -> Path:
    """Sessions in a file of the process' temporary folder; equal ones give an equal file."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    path = folder / _SESSIONS
    with disk_errors(folder), path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        for row in rows:
            packed.write(json.dumps({str(name): _plain(value) for name, value in row.items()}).encode() + b"\n")
    return path


def _plain(value: Any) -> Any:
    """A value as JSON has it: arrays as lists, numbers of NumPy as Python's, what is missing or not finite as null."""
    import pandas as pd

    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if pd.api.types.is_list_like(value, allow_sets=False):
        return [_plain(one) for one in value]
    if pd.api.types.is_scalar(value) and (pd.isna(value) or value in (float("inf"), float("-inf"))):
        return None
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | int | float) else str(value)
