"""Sessions read by the module of their study."""

from pathlib import Path

from centaurlab.catalog.studies import Trial, find_study, instructions, read_trials
from centaurlab.data.options import cut_at_responses


def read_session(study: str, text: str) -> list[Trial]:
    """The trials of a text that has instructions, as a study's module reads them."""
    module = find_study(study)
    assert module is not None
    segments, answers = cut_at_responses(text)
    assert instructions(module, segments[0])
    return read_trials(module, segments, answers)


def write_module(folder: Path, text: str) -> Path:
    """Write a module of a study of one's own."""
    path = folder / "my_study.py"
    path.write_text(text, encoding="utf-8")
    return path
