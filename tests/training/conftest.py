"""People to train on."""

from pathlib import Path

import pytest

from helpers.transcripts import sessions_of, two_keys, write_transcripts


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people in each of three studies; read only."""
    rows = sessions_of(("alpha", "beta", "gamma"), 6, lambda _, person: two_keys(person))
    return write_transcripts(tmp_path_factory.mktemp("data") / "sessions.jsonl", rows)
