"""Which models can be named, and which of them are on this machine: ``centaurlab models``."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path

from centaurlab.catalog.pairs import model_pairs, pairs_of
from centaurlab.display.tables import rows_of
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.models.gguf import GEMMA, converted_models, gemma_is_installed

DESCRIPTION = """List the models that can be named, and those that are on this machine.

examples:
  centaurlab models
  centaurlab models --family qwen3
"""


@dataclass
class ModelsArguments:
    """Which of them."""

    family: str | None = field(
        default=None, metadata={"help": "only models of this family of the catalog, such as qwen3"}
    )


@dataclass(frozen=True)
class ListedModel:
    """A row of the table: ``name`` goes into ``--model_name_or_path``, ``here`` is empty unless it is here."""

    name: str
    kind: str
    family: str
    size: str
    base: str
    here: str


def print_models(family: str | None = None) -> None:
    """Print the models of the catalog (or of one ``family`` of it) and all others that are on this machine.

    Raises ``UserError`` for a family that the catalog does not have.
    """
    cached = _hub_models()
    listed = list(_catalog(family, cached))
    if family is None:
        listed.insert(0, _gemma())
    columns = ("model", "kind", "family", "base size", "post-trained from", "on this machine")
    rows = [[cell or None for cell in astuple(model)] for model in listed]
    show(rows_of("", columns, rows))
    if family is None:
        for name, kind, size in _others({model.name for model in listed}, cached):
            show(f"{name} ({kind}, {size})")
    show("--model_name_or_path takes these names, any hub id, a folder, a *.gguf file or an adapter's folder.")


def _catalog(family: str | None, cached: dict[str, int]) -> Iterator[ListedModel]:
    """Base models and, after each, what was post-trained from it."""
    chosen = model_pairs() if family is None else pairs_of(family)
    for base in dict.fromkeys(pair.base for pair in chosen):
        of_base = [pair for pair in chosen if pair.base == base]
        size = f"{of_base[0].size_b:g} B"
        yield ListedModel(base, "base", of_base[0].family, size, "", _gigabytes(cached.get(base)))
        for pair in of_base:
            here = _gigabytes(cached.get(pair.post_trained))
            yield ListedModel(pair.post_trained, pair.post_training, pair.family, size, base, here)


def _gemma() -> ListedModel:
    converted = [path for path in _converted() if path.name.startswith(f"{GEMMA}-")]
    here = _gigabytes(_bytes_in(converted[0])) if converted else ""
    waiting = "installed" if gemma_is_installed() else ""
    return ListedModel(GEMMA, "base (starter)", "gemma3", "0.27 B", "", here or waiting)


def _others(listed: set[str], cached: dict[str, int]) -> Iterator[tuple[str, str, str]]:
    """Name, kind and size of what else is here: hub models outside the catalog and GGUF files converted earlier."""
    for name in sorted(cached.keys() - listed):
        yield name, "from the hub", _gigabytes(cached[name])
    for path in _converted():
        if not path.name.startswith(f"{GEMMA}-"):
            yield str(path), "converted GGUF", _gigabytes(_bytes_in(path))


def _hub_models() -> dict[str, int]:
    """Models in the hub's cache and their bytes on disk."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    return {found.repo_id: found.size_on_disk for found in repositories if found.repo_type == "model"}


def _converted() -> list[Path]:
    return sorted(path.parent for path in converted_models().glob("[!.]*/config.json"))


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _gigabytes(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"{n_bytes / 1e9:.2f} GB"


COMMAND = Command(DESCRIPTION, (ModelsArguments,), lambda asked: print_models(asked.family))
