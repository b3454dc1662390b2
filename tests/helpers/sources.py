"""What a source of transcripts yields, leaves out, and says."""

from pathlib import Path

import pytest

from centaurlab.data.records import Problem
from centaurlab.data.source import DataArguments, TranscriptSource, open_source
from centaurlab.data.transcripts import Transcript
from centaurlab.runtime.errors import UserError


def read(path: Path, **settings: object) -> list[Transcript]:
    """Every session at ``path``."""
    return list(open_source(DataArguments(data=str(path), **settings)))


def skipped_in(source: TranscriptSource) -> list[Problem]:
    """What is wrong with each session that ``source`` leaves out."""
    return [session for session in source.read() if isinstance(session, Problem)]


def error_of(path: Path) -> str:
    """What the ``UserError`` says that reading ``path`` ends in."""
    with pytest.raises(UserError) as caught:
        read(path)
    return str(caught.value)
