"""Transcripts from a data set on the Hugging Face hub.

The repository's files are downloaded once into the hub's own cache and read from there as any other folder:
parquet row group by row group, never all in memory, and without casting the columns of different studies to
one type.
"""

from pathlib import Path

from centaurlab.data.files import SUFFIXES, Listing, list_files, splits
from centaurlab.runtime.errors import UserError

# Published in two repositories, whose only split is called 'train' or 'test' regardless of which half it is.
PUBLISHED_HALVES = {
    "marcelbinz/Psych-101": "train",
    "marcelbinz/Psych-101-test": "test",
    "marcelbinz/Psych-201": "train",
    "marcelbinz/Psych-201-test": "test",
}


def open_hub(repository: str, split: str | None, revision: str | None = None) -> tuple[Listing, str | None]:
    """The transcript files of one split of a hub data set, and which half of its own split this is, if it has
    one.

    Raises ``UserError`` where the data set is gated, missing, out of reach, or has several splits and none is
    named.
    """
    return choose_split(download(repository, revision), repository, split)


def choose_split(root: Path, repository: str, split: str | None) -> tuple[Listing, str | None]:
    """The files in ``root`` that belong to ``split``, or to the only split where none is named."""
    listing = list_files(root)
    by_split = splits(listing.paths, root)
    half = PUBLISHED_HALVES.get(repository, split if len(by_split) > 1 else None)
    if split is None and len(by_split) <= 1:
        return listing, half
    if split not in by_split:
        named = f"no split {split!r} in {repository}" if split else f"{repository} has several splits"
        available = ", ".join(f"--data_split {name}" for name in sorted(by_split)) or "no --data_split"
        raise UserError(f"{named}; choose {available}")
    return Listing(tuple(by_split[split]), listing.notes), half


def download(repository: str, revision: str | None = None) -> Path:
    """The local folder with a hub data set's transcript files; downloads what the cache does not have."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RevisionNotFoundError
    from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]

    patterns = [f"*{suffix}" for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES))]
    try:
        return Path(snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except RevisionNotFoundError as error:
        page = f"https://huggingface.co/datasets/{repository}/commits/main"
        raise UserError(f"{repository} has no revision {revision!r}; {page} lists them") from error
    except (OSError, TransportError, HFValidationError) as error:
        raise UserError(explain(error, repository)) from error


def explain(error: Exception, repository: str) -> str:
    """One sentence for a hub error: what happened and what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        page = f"https://huggingface.co/datasets/{repository}"
        return f"{repository} is gated: ask for access at {page}, then run 'hf auth login' or set HF_TOKEN"
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return f"no file, folder or hub data set {repository!r}; a private data set needs 'hf auth login'"
    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError)):
        return f"{repository} is no file or folder, not in the cache, and the hub cannot be reached; connect once"
    return f"{repository} cannot be downloaded ({' '.join(str(error).split())})"
