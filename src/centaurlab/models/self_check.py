"""Which ways of feeding a model give what a whole sequence alone gives; found out once, on the model itself.

A cache that loses its state between chunks, a copied prefix, a neighbour in a packed row, padding, or an attention of
our own changes NLLs by nats in some architectures, and nothing else shows it. So each is tried on a few dozen tokens:
what agrees may be used, what does not is left out. The result is kept with the model's identity.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from centaurlab.models.attention import attend_in_blocks
from centaurlab.models.digests import _read_note, _write_note, fingerprint
from centaurlab.models.passes import evaluating
from centaurlab.models.positions import counts_from_the_row, length_of_short_rope
from centaurlab.models.sharding import is_divided, n_shards, of_the_first
from centaurlab.models.trial import FLOAT32_TOLERANCE, HALF_TOLERANCE, Trial
from centaurlab.runtime.disk import user_cache
from centaurlab.runtime.errors import UserError

_FLOAT32_PARAMETERS = 500_000_000
"""Smaller models are tried in float32, where rounding hides nothing; larger ones where there is doubt."""

BATCHES = ("packed", "left_padded", "right_padded")
"""Ways that scoring does not need, which cost more than those that it does."""

_VERSION = 2  # goes up where what is tried changes


@dataclass(frozen=True)
class SelfCheck:
    """What a model may be fed with; each is True where it gives what the whole sequence alone gives, None: not tried.

    ``causal``: the beginning, whatever follows it. ``chunks``: a sequence in parts that a cache connects.
    ``prefixes``: a part that continues a copy of another session's cache. ``blocks``: our attention on a CPU in place
    of the model's own (on a GPU it is not tried). ``whole_beyond``: sequences of more tokens are computed whole and
    alone, since the rotary embedding depends on their length; None: it does not. ``packed``: several sequences in a
    row, told apart by their positions. ``left_padded``, ``right_padded``: batches with padding.
    """

    causal: bool
    chunks: bool
    prefixes: bool
    blocks: bool | None
    whole_beyond: int | None = None
    packed: bool | None = None
    left_padded: bool | None = None
    right_padded: bool | None = None

    def is_whole(self, n_tokens: int) -> bool:
        """Whether a sequence of so many tokens has to be computed in one piece."""
        return not self.chunks or self.is_whole_by_length(n_tokens)

    def is_whole_by_length(self, n_tokens: int) -> bool:
        """Whether so many tokens have another rotary embedding than a part of them."""
        return self.whole_beyond is not None and n_tokens > self.whole_beyond

    @property
    def all_agree(self) -> bool:
        """Whether all that was tried may be used."""
        return all(getattr(self, f.name) is not False for f in fields(self))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is switched off in scoring, a sentence each."""
        off = []
        if not self.chunks:
            off.append("self-check: this model's cache loses what came before, so every session is computed whole")
        elif not self.prefixes:
            off.append("self-check: a copied cache changes this model's NLLs, so shared beginnings are computed anew")
        if self.chunks and self.whole_beyond is not None:
            off.append(
                "self-check: this model's rotary embedding depends on how much is computed at once, so sessions of "
                f"more than {self.whole_beyond:,} tokens are computed whole, up to their last response"
            )
        if self.blocks is False:
            off.append("self-check: attention in blocks changes this model's NLLs, so it attends in its own way")
        return tuple(off)


def self_check(model: PreTrainedModel, model_fingerprint: str | None = None, also: Sequence[str] = ()) -> SelfCheck:
    """Find out what a model may be fed with; afterwards it attends in blocks where it may.

    Parameters
    ----------
    model
        With its weights, on its device.
    model_fingerprint
        Of its identity: what is known of it is read, and what is found is kept, in the user's cache. None: neither.
    also
        Which of ``BATCHES`` are asked for besides.

    Returns
    -------
    SelfCheck
        What agrees with the whole sequence alone.

    Raises
    ------
    UserError
        Where the model cannot be computed, draws at random, or what follows a token changes its prediction.
    """
    if "lsh" in (getattr(model.config, "attn_layers", None) or ()):  # Reformer, beyond the tokens tried here
        raise UserError(f"{model.name_or_path} draws hashes in each pass: a response has another probability each time")
    note = _note(model, model_fingerprint) if model_fingerprint else None
    check = of_the_first(model, _read(note) if note else None)
    if check is None or any(getattr(check, name) is None for name in also):
        with evaluating(model):
            check = _find_out(model, also)
        if note:
            _keep(note, check)
    if not check.causal:
        raise UserError(
            f"in {model.name_or_path} what follows a token changes its prediction: it is not a causal language model, "
            "or not in this version of transformers, and gives a response no probability"
        )
    if check.blocks:
        attend_in_blocks(model)
    return check


def _find_out(model: PreTrainedModel, also: Sequence[str]) -> SelfCheck:
    if not any(p.dtype in (torch.bfloat16, torch.float16) for p in model.parameters()):
        return _tried(Trial(model, FLOAT32_TOLERANCE), model, also)
    n_parameters = sum(p.numel() for p in model.parameters())
    if n_parameters > _FLOAT32_PARAMETERS or not fits_in_float32(model):
        check = _tried(Trial(model, HALF_TOLERANCE), model, also)
        if check.all_agree or not fits_in_float32(model):
            return check
    with in_float32(model):
        return _tried(Trial(model, FLOAT32_TOLERANCE), model, also)


def _tried(trial: Trial, model: PreTrainedModel, also: Sequence[str]) -> SelfCheck:
    blocks = True if trial.can_attend_in_blocks else None
    trial.attend(in_blocks=bool(blocks))
    causal = chunks = prefixes = trial.copied_chunks()  # shows all of it at once, in most models
    if not chunks:
        if blocks and not trial.whole():
            blocks = False
            trial.attend(in_blocks=False)
        causal = trial.is_causal()
        chunks = trial.chunks()
        prefixes = chunks and trial.copied_chunks()
    check = SelfCheck(causal, chunks, prefixes, blocks, length_of_short_rope(model.config))
    if "packed" in also:
        check = replace(check, packed=not counts_from_the_row(model.config) and trial.packed())
    if "left_padded" in also:
        check = replace(check, left_padded=trial.padded(on_the_left=True))
    if "right_padded" in also:
        check = replace(check, right_padded=trial.padded(on_the_left=False))
    return check


def _note(model: PreTrainedModel, model_fingerprint: str) -> Path:
    """Where the result is kept for these weights, this device and attention, and these libraries."""
    parts = {
        "model": model_fingerprint,
        "device": next(model.parameters()).device.type,
        "attention": model.config._attn_implementation,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "version": _VERSION,
    }
    if is_divided(model):
        parts["shards"] = n_shards(model)
    return user_cache() / "self-checks" / f"{fingerprint(parts)}.json"


def _read(note: Path) -> SelfCheck | None:
    """What was kept, if it is whole."""
    known = _read_note(note)
    found = known.get("found")
    if not isinstance(found, dict) or known.get("digest") != _digest(note, found):
        return None
    return SelfCheck(**found)


def _keep(note: Path, check: SelfCheck) -> None:
    """A cache that cannot be written only costs time."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        _write_note(note, {"found": asdict(check), "digest": _digest(note, asdict(check))})
    except OSError:
        return


def _digest(note: Path, found: dict[str, Any]) -> str:
    """Of a result and of what it is kept as, so that another model's is not believed."""
    return fingerprint({"found": found, "note": note.stem})


def fits_in_float32(model: PreTrainedModel) -> bool:
    """Whether weights in half precision are whole, lie on one device, and have room beside them in float32."""
    if is_divided(model):
        return False  # each process would have to find the same room
    parameters = list(model.parameters())
    devices = {p.device for p in parameters}
    if len(devices) > 1 or not all(p.is_floating_point() and p.element_size() >= 2 for p in parameters):
        return False
    device = devices.pop()
    if device.type == "cpu":
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    elif device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        return False
    return 2 * 4 * sum(p.numel() for p in parameters) < free


@contextmanager
def in_float32(model: PreTrainedModel) -> Iterator[None]:
    """The weights as float32 for a while; afterwards they are the very tensors that they were."""
    whole = [t for t in (*model.parameters(), *model.buffers()) if t.dtype in (torch.bfloat16, torch.float16)]
    known = [t.data for t in whole]
    try:
        for tensor in whole:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, data in zip(whole, known, strict=True):
            tensor.data = data
