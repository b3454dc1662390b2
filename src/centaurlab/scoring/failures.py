"""Sessions that could not be scored, and processes that died: the rest is kept, and the run ends by saying so."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object

from centaurlab.results.record import Coverage
from centaurlab.runtime.errors import IncompleteError, UserError


@dataclass(frozen=True)
class Failure:
    """Why a session has no scores, in one line that names it, and what became of its responses."""

    reason: str
    coverage: Coverage


def wait_for_all(state: PartialState) -> None:
    """Wait until every process of the launch is here; ``UserError`` where one has died."""
    with _together():
        state.wait_for_everyone()


def gather_failures(own: Mapping[str, Failure]) -> dict[str, Failure]:
    """Gather the failures of all processes, by the digest of the session, once every process is here."""
    with _together():
        parts: list[Mapping[str, Failure]] = gather_object([own])
    return {digest: failure for part in parts for digest, failure in part.items()}


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise UserError(
            "another process of this run has died or was stopped; what is scored is kept, give the same command again"
        ) from error


def check_complete(folder: Path, failures: Mapping[str, Failure]) -> None:
    """Raise ``IncompleteError`` where sessions could not be scored."""
    if failures:
        first = next(iter(failures.values())).reason
        raise IncompleteError(
            f"{len(failures)} session{'s' * (len(failures) > 1)} could not be scored, and {folder / 'scores.parquet'} "
            f"holds the others; {first}{' (run.json names all)' * (len(failures) > 1)}; the same command tries again"
        )
