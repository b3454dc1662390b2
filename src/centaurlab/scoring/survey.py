"""A source read once into what has to be known of every session: its key, the digest of its text, its length.

Reading all of it first tells a malformed session in the last line before the first hour of computing, says how much
there is to do, and gives the fingerprints that runs are compared by. Texts are not kept, but where all of them fit in
one window: then they need not be read again.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from centaurlab.catalog.studies import Study
from centaurlab.data.lookalikes import Lookalikes
from centaurlab.data.options import LabelsSeen
from centaurlab.data.source import TranscriptSource
from centaurlab.data.transcripts import SessionKey, Transcript, study_fingerprint, text_digest, told
from centaurlab.results.table import EXPERIMENT, PARTICIPANT, STUDY
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.options import OptionRules
from centaurlab.scoring.order import fits_window, session_size, windows

_BATCH_SESSIONS = 1_000
_SCHEMA = pa.schema(
    [
        (STUDY, pa.dictionary(pa.int32(), pa.string())),
        (EXPERIMENT, pa.dictionary(pa.int32(), pa.string())),
        (PARTICIPANT, pa.string()),
        ("text_digest", pa.binary(32)),
        ("n_characters", pa.int64()),
    ]
)


class SurveyedSession(NamedTuple):
    """What is known of a session: ``text_digest`` (SHA-256, hex) and ``n_characters`` are those of its text."""

    key: SessionKey
    text_digest: str
    n_characters: int


class Survey:
    """The sessions of a source in its own order, kept in about 60 bytes of memory each.

    ``skipped`` says of each session that the source leaves out as malformed where it stands and what is wrong with it.
    ``n_sessions`` counts the others, ``doubts`` says what is doubtful in them, ``options`` what could be answered.
    """

    def __init__(self, source: TranscriptSource, own_studies: Mapping[str, Study] | None = None) -> None:
        """Read ``source``; raises ``UserError`` as ``TranscriptSource.read`` does."""
        self.source = source
        self._batches: list[pa.RecordBatch] = []
        self._held: list[Transcript] | None = []
        rows: list[tuple[str, str, str, bytes, int]] = []
        skipped, doubts, labels = [], Lookalikes(), LabelsSeen(own_studies or {})
        held_size = 0
        for session in source.read():
            if not isinstance(session, Transcript):
                skipped.append(str(session))
                continue
            doubts.add(session)
            labels.add(session)
            digest = bytes.fromhex(text_digest(session.text))
            rows.append((session.study, session.experiment, session.participant, digest, len(session.text)))
            if len(rows) == _BATCH_SESSIONS:
                self._batches.append(_batch(rows))
                rows = []
            if self._held is not None:
                self._held.append(session)
                held_size += session_size(session)
                if not fits_window(held_size):
                    self._held = None
        if rows:
            self._batches.append(_batch(rows))
        self.skipped, self.doubts = tuple(skipped), (*doubts.notes, *_recurring(source.persons.n_across_studies))
        self.options = OptionRules(labels.shared(), own_studies)
        self.n_sessions = sum(map(len, self._batches))

    def __iter__(self) -> Iterator[SurveyedSession]:
        for batch in self._batches:
            for study, experiment, participant, digest, n_characters in _rows(batch):
                yield SurveyedSession(SessionKey(study, experiment, participant), digest.hex(), n_characters)

    @property
    def is_one_window(self) -> bool:
        """Whether all texts fit in one window, and are kept."""
        return self._held is not None

    def windows(self) -> Iterator[list[Transcript]]:
        """The transcripts, window by window; they are read again where they do not fit in one.

        Raises ``UserError`` where the data are then not what they were.
        """
        return windows(self._again() if self._held is None else self._held)

    def n_characters(self, sessions: Collection[SessionKey] | None = None) -> int:
        """Characters of the texts of ``sessions``; None: of all."""
        return sum(session.n_characters for session in self if sessions is None or session.key in sessions)

    def n_by_study(self) -> dict[str, int]:
        """Numbers of sessions, by study in alphabetical order."""
        counts: dict[str, int] = {}
        for batch in self._batches:
            for found in pc.value_counts(batch.column(STUDY)).to_pylist():
                counts[found["values"]] = counts.get(found["values"], 0) + found["counts"]
        return dict(sorted(counts.items()))

    def fingerprint(self, study: str) -> str:
        """SHA-256 over the study's sessions as told, whatever their order in the source."""
        of_study = (batch.filter(pc.equal(batch.column(STUDY), study)) for batch in self._batches)
        rows = (row for batch in of_study for row in _rows(batch))
        return study_fingerprint(
            sorted(
                told(SessionKey(study, experiment, participant), d.hex()) for _, experiment, participant, d, _ in rows
            )
        )

    def _again(self) -> Iterator[Transcript]:
        for transcript, known in zip_longest(self.source, self):
            if not (transcript and known) or (transcript.key, text_digest(transcript.text)) != known[:2]:
                where = transcript.origin if transcript else self.source.name
                raise UserError(
                    f"{where} has changed since the run began; what is scored is kept, give the command again"
                )
            yield transcript


def _recurring(n_people: int) -> tuple[str, ...]:
    """What has to be said of people who have sessions in several studies."""
    if not n_people:
        return ()
    who = "1 person takes" if n_people == 1 else f"{n_people:,} people take"
    return (
        f"{who} part in several studies; intervals over several studies count each time as another person, and are too "
        "narrow where people differ in the same way in all of them",
    )


def _batch(rows: Sequence[tuple[str, str, str, bytes, int]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA
    )


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, str, str, bytes, int]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)
