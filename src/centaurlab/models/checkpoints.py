"""A model's name into a folder of its files: an alias, a folder, a GGUF file, a hub id or one of MLflow's.

Everything after this works on local files, so that a model is downloaded, fingerprinted and loaded from one
and the same state of its repository, and nothing later depends on a network.
"""

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.digests import content_digest, fingerprint
from centaurlab.models.gguf import (
    GEMMA,
    GEMMA_ON_HUB,
    converted_models,
    gemma_folder,
    gemma_is_installed,
    gguf_folder,
    is_lost_gemma,
)
from centaurlab.models.sizes import check_config
from centaurlab.runs.folder import CONFIG
from centaurlab.runs.found import BASE_WEIGHTS as BASE_WEIGHTS
from centaurlab.runs.found import MADE_OF, base_weights
from centaurlab.runs.integrity import MANIFEST, RECORD, check_file, check_there, read_sound_json
from centaurlab.runs.mlflow_model import SCHEME, model_folder
from centaurlab.runtime.errors import UserError, failure
from centaurlab.runtime.unique_keys import once_each

ALIASES = (GEMMA,)

QUANTISED = {"load_in_4bit": "a 4-bit base (load_in_4bit)", "load_in_8bit": "an 8-bit base (load_in_8bit)"}

_SAFETENSORS, _PICKLED = "model.safetensors", "pytorch_model.bin"
_ADAPTER_SAFETENSORS, _ADAPTER_PICKLED = "adapter_model.safetensors", "adapter_model.bin"
TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
)
_SMALL_FILES = ("config.json", "generation_config.json", "adapter_config.json", "chat_template*", "*.py")
_WEIGHT_FILES = ("model*.safetensors*", _ADAPTER_SAFETENSORS)
_LEFT_AWAY = (
    "take it from a copy or, where it was left away on purpose, copy the rest elsewhere without "
    f"{RECORD} and {MANIFEST}"
)
_MAX_CONFIG_BYTES = 1 << 26
_PICKLED_FILES = ("pytorch_model*.bin*", _ADAPTER_PICKLED)


@dataclass(frozen=True)
class Checkpoint:
    """The files of a model or adapter.

    ``source`` names it wherever a command is run: alias, hub id or full path.
    """

    source: str
    folder: Path

    @property
    def is_adapter(self) -> bool:
        """Whether this is a PEFT adapter, to be put on a base model."""
        return (self.folder / "adapter_config.json").is_file()

    @property
    def config_file(self) -> Path:
        """``config.json`` or, of an adapter, ``adapter_config.json``."""
        return self.folder / ("adapter_config.json" if self.is_adapter else "config.json")

    def config(self) -> dict[str, Any]:
        """What the ``config_file`` says."""
        path = self.config_file
        try:
            if path.stat().st_size > _MAX_CONFIG_BYTES:
                raise UserError(f"{path} is larger than {_MAX_CONFIG_BYTES >> 20} MiB; it is no model configuration")
            config = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once_each)
        except FileNotFoundError as error:
            raise UserError(f"{self.source} holds no config.json: it is not a model folder") from error
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"cannot read {path}: {failure(error)}") from error
        if not isinstance(config, dict):
            raise UserError(f"{path} is not a model configuration")
        check_config(config, path)
        return config

    def check_files(self) -> None:
        """Raise ``UserError`` where a run or checkpoint of ours lacks a file, or it is not as it was written."""
        is_converted = self.folder.is_relative_to(converted_models())
        remedy = {"remedy": f"delete {self.folder}, and the next command converts it anew"} if is_converted else {}
        names = (*_WEIGHT_FILES, *TOKENIZER_FILES, *_SMALL_FILES)
        check_there(self.folder, names, **(remedy or {"remedy": _LEFT_AWAY}))
        for path in sorted(self.folder.glob("*")):
            check_file(path, **remedy, digest=content_digest)

    def weight_files(self, allow_pickle: bool = False) -> list[Path]:
        """The weight files that loading reads, in the order of their names.

        Raises ``UserError`` where there are none, only pickled ones (unless ``allow_pickle``), or one is
        missing.
        """
        pickled = _ADAPTER_PICKLED if self.is_adapter else _PICKLED
        for name in (
            _ADAPTER_SAFETENSORS if self.is_adapter else _SAFETENSORS,
            *([pickled] if allow_pickle else []),
        ):
            if (self.folder / name).is_file():
                return [self.folder / name]
            index = self.folder / f"{name}.index.json"
            if index.is_file():
                shards = sorted(set(_read_index(index).values()))
                if outside := [shard for shard in shards if Path(shard).anchor or ".." in Path(shard).parts]:
                    raise UserError(f"{index} names a file outside its folder, {outside[0]}; do not use this model")
                files = [self.folder / shard for shard in shards]
                if missing := [file.name for file in files if not file.is_file()]:
                    raise UserError(f"{self.source} is incomplete: {missing[0]} is missing; download it again")
                return files
        raise UserError(
            f"{self.source} holds no safetensors weights; convert it with save_pretrained, or, since pickled "
            "weights can run code when they are read, pass --allow_pickle only if you trust who made them"
        )

    def weights_fingerprint(self, allow_pickle: bool = False) -> str:
        """SHA-256 over what the weight files hold, whatever these are called and however they are loaded."""
        return fingerprint({"weights": sorted(map(content_digest, self.weight_files(allow_pickle)))})

    def base_weights(self) -> str | None:
        """The ``weights_fingerprint`` of the base that an adapter was trained on; None where nobody noted it."""
        return base_weights(self.folder)

    def asked_of_base(self) -> dict[str, Any]:
        """Which base the run of an adapter or of its checkpoint asked for, and how loaded; empty: unknown."""
        files = (folder / name for folder in (self.folder, self.folder.parent) for name in (CONFIG, MADE_OF))
        found = (read_sound_json(file).get("model") for file in files)
        return next((asked for asked in found if isinstance(asked, dict)), {})


def find_checkpoint(name: str, revision: str | None, weights: bool, allow_pickle: bool) -> Checkpoint:
    """The files that ``name`` stands for; without ``weights`` a hub model's weights are not downloaded.

    Raises ``UserError`` when ``name`` is nothing that can be found or reached, with the nearest alias or the
    page to ask for access at, or when the folder holds no model.
    """
    checkpoint = _locate(name, revision, weights, allow_pickle)
    if weights:
        checkpoint.check_files()
    checkpoint.config()
    return checkpoint


def _locate(name: str, revision: str | None, weights: bool, allow_pickle: bool) -> Checkpoint:
    if name == GEMMA:
        return Checkpoint(GEMMA, gemma_folder())
    if name.startswith(SCHEME):
        return Checkpoint(name, model_folder(name, converted_models()))
    path = Path(name).expanduser()
    if is_lost_gemma(path):
        return Checkpoint(str(path), gemma_folder())
    if os.path.isdir(path):  # false too where the user may not look, unlike pathlib's
        return Checkpoint(str(path.resolve()), path.resolve())
    if os.path.isfile(path):
        if path.suffix != ".gguf":
            raise UserError(f"{name} is a file but not *.gguf; name the model's folder, a *.gguf file or a hub id")
        return Checkpoint(str(path.resolve()), gguf_folder(path))
    if path.suffix == ".gguf" or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"there is no model at {name}: the folder or file does not exist or may not be read")
    return Checkpoint(name, _hub_snapshot(name, revision, weights, allow_pickle))


def _hub_snapshot(name: str, revision: str | None, weights: bool, allow_pickle: bool) -> Path:
    """The folder of a hub model in the hub's own cache; downloaded where it is not there yet."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
        XetDownloadError,
    )

    patterns = [*TOKENIZER_FILES, *_SMALL_FILES]
    if weights:
        patterns += [*_WEIGHT_FILES, *(_PICKLED_FILES if allow_pickle else ())]
    nearest = difflib.get_close_matches(name, ALIASES, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except GatedRepoError as error:
        raise UserError(
            f"{name} is gated: ask for access at https://huggingface.co/{name}, then log in: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{name} has no revision {revision!r}; https://huggingface.co/{name} lists them") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(f"model {name!r} is not a folder, a *.gguf file or a public hub id{hint}") from error
    except (OSError, RevisionResolutionError, XetDownloadError) as error:
        raise UserError(
            f"model {name!r} is not a folder, not in the hub's cache and the hub cannot be reached{hint}"
        ) from error


def _read_index(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(tensor): str(file) for tensor, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index} is no index of weights ({failure(error)}); download it again") from error


@dataclass(frozen=True)
class _Found:
    base: Checkpoint
    adapter: Checkpoint | None


def _find(args: ModelArguments, weights: bool) -> _Found:
    """The checkpoints of the base model and, where there is one, of the adapter."""
    model = find_checkpoint(args.model_name_or_path, args.model_revision, weights, args.allow_pickle)
    if args.adapter_name_or_path is None:
        if not model.is_adapter:
            return _Found(model, adapter=None)
        base = _base_of(model, weights, args.allow_pickle)
        if weights and not _is_trained_on(base, model, args.allow_pickle):
            raise UserError(
                f"adapter {model.source} was trained on other weights than {base.source} holds now, which its "
                "adapter_config.json names; give it the base that it was trained on or, to put it on this one all the "
                "same where a command takes both, --model_name_or_path BASE --adapter_name_or_path ADAPTER"
            )
        return _Found(base, adapter=model)
    adapter = find_checkpoint(args.adapter_name_or_path, None, weights, args.allow_pickle)
    if not adapter.is_adapter:
        raise UserError(f"{adapter.source} holds no adapter_config.json: it is not a PEFT adapter")
    if model.is_adapter:
        raise UserError(f"{model.source} is an adapter itself; give the base as --model_name_or_path")
    return _Found(model, adapter)


def base_notes(args: ModelArguments) -> tuple[str, ...]:
    """Sentences where an adapter is put on another base than it was trained on, or on one quantised otherwise.

    Another by the weights where its training noted them, else by the name and its revision; so too where the copy of a
    model that the alias stands for is all there is of it.
    """
    found = _find(args, weights=False)
    return (*_other_base(args, found), *_otherwise_quantised(args, found))


def _otherwise_quantised(args: ModelArguments, found: _Found) -> tuple[str, ...]:
    asked = found.adapter.asked_of_base() if found.adapter else {}
    if not found.adapter or not asked.keys() >= QUANTISED.keys() or found.base.config().get("quantization_config"):
        return ()
    trained, used = (
        next((kind for name, kind in QUANTISED.items() if about[name]), "an unquantised base")
        for about in (asked, vars(args))
    )
    if trained == used:
        return ()
    return (f"adapter {found.adapter.source} was trained on {trained}; it is used on {used}",)


def _other_base(args: ModelArguments, found: _Found) -> tuple[str, ...]:
    adapter = found.adapter
    if not adapter or not (args.adapter_name_or_path or found.base.source == GEMMA):
        return ()
    if adapter.base_weights():
        base = _find(args, weights=True).base
        if _is_trained_on(base, adapter, args.allow_pickle):
            return ()
        return (
            f"adapter {adapter.source} was trained on other weights than those of {base.source}; it is used on these",
        )
    trained_on = _trained_on(adapter)
    revisions = [revision or "main" for revision in (adapter.config().get("revision"), args.model_revision)]
    if trained_on == found.base.source and not _is_path(trained_on) and revisions[0] != revisions[1]:
        return (
            f"adapter {adapter.source} was trained on revision {revisions[0]} of {trained_on}; it is used on "
            f"{revisions[1]}",
        )
    if not trained_on or trained_on == found.base.source or _is_path(trained_on) or _is_path(found.base.source):
        return ()
    return (f"adapter {adapter.source} names {trained_on} as its base; it is used on {found.base.source}",)


def _is_trained_on(base: Checkpoint, adapter: Checkpoint, allow_pickle: bool) -> bool:
    """Whether the base holds the weights that the adapter was trained on; also where nobody noted these."""
    known = adapter.base_weights()
    return known is None or known == base.weights_fingerprint(allow_pickle)


def _is_path(source: str) -> bool:
    """Whether a checkpoint's source is a place on some disk, which says nothing about what lies there."""
    return Path(source).is_absolute() or Path(source).exists()


def _trained_on(adapter: Checkpoint) -> str | None:
    """The base that an adapter names; the alias where that is what it was trained on.

    The adapter itself names the model on the hub, which a reader elsewhere has, of which the alias is a copy. Its run,
    whose folder this or the one above is, knows better; so do the weights that it noted.
    """
    name = adapter.config().get("base_model_name_or_path")
    if name == GEMMA_ON_HUB:
        if adapter.asked_of_base().get("model_name_or_path") == GEMMA:
            return GEMMA
        known = adapter.base_weights()
        if known and gemma_is_installed() and known == Checkpoint(GEMMA, gemma_folder()).weights_fingerprint():
            return GEMMA
    return str(name) if name else None


def _base_of(adapter: Checkpoint, weights: bool, allow_pickle: bool) -> Checkpoint:
    config = adapter.config()
    name = _trained_on(adapter)
    remedy = (
        "name it in its adapter_config.json (base_model_name_or_path) or, where a command takes both, give "
        "--model_name_or_path BASE --adapter_name_or_path ADAPTER"
    )
    if not name:
        raise UserError(f"adapter {adapter.source} does not say which base model it is for; {remedy}")
    try:
        base = find_checkpoint(name, config.get("revision"), weights, allow_pickle)
    except UserError as error:
        if name == GEMMA_ON_HUB and gemma_is_installed():
            return find_checkpoint(GEMMA, None, weights, allow_pickle)  # which ``base_notes`` says
        raise UserError(f"the base of adapter {adapter.source} was not found: {error}; {remedy}") from error
    if base.is_adapter:
        raise UserError(f"the base of adapter {adapter.source} is itself an adapter, {name}; merge that one first")
    return base
