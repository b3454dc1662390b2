"""A model into its identity: fingerprints of weights, tokenizer and the way it is loaded."""

import dataclasses
from dataclasses import dataclass

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import TOKENIZER_FILES, Checkpoint, _find
from centaurlab.models.digests import content_digest, fingerprint, json_digest
from centaurlab.models.quantization import quantization_of


@dataclass(frozen=True)
class ModelIdentity:
    """What tells a model from every other: equal fingerprints give equal NLLs, up to the kernels' rounding.

    ``fingerprint``: SHA-256 over the contents of weights, config and adapter, the dtype and the quantisation.
    ``quantization``: 'none', 'nf4', 'int8', or the method that the checkpoint itself was quantised with.
    ``base``, ``adapter``: the two names where the model is an adapter on a base, else None.
    """

    name: str
    fingerprint: str
    tokenizer_fingerprint: str
    dtype: str
    quantization: str
    base: str | None
    adapter: str | None

    def as_dict(self) -> dict[str, str | None]:
        """For ``run.json``."""
        return dataclasses.asdict(self)


def identify(args: ModelArguments) -> ModelIdentity:
    """The identity of the model that ``args`` name, from its files alone: no weights are loaded."""
    found = _find(args, weights=True)
    digests = {file.name: content_digest(file) for file in found.base.weight_files(args.allow_pickle)}
    parts: dict[str, object] = {
        "weights": digests,
        "config": json_digest(found.base.folder / "config.json"),
        "dtype": args.dtype,
        "quantization": quantization_of(found.base, args),
    }
    if args.trust_remote_code:
        parts["code"] = {file.name: content_digest(file) for file in sorted(found.base.folder.glob("*.py"))}
    if found.adapter:
        files = found.adapter.weight_files(args.allow_pickle)
        parts["adapter"] = {file.name: content_digest(file) for file in files}
        parts["adapter_config"] = json_digest(found.adapter.folder / "adapter_config.json")
    return ModelIdentity(
        name=args.adapter_name_or_path or args.model_name_or_path,
        fingerprint=fingerprint(parts),
        tokenizer_fingerprint=_tokenizer_fingerprint(found.base),
        dtype=args.dtype,
        quantization=quantization_of(found.base, args),
        base=found.base.source if found.adapter else None,
        adapter=found.adapter.source if found.adapter else None,
    )


def quantization(args: ModelArguments) -> str:
    """As in ``ModelIdentity``, without the weights."""
    return quantization_of(_find(args, weights=False).base, args)


def _tokenizer_fingerprint(base: Checkpoint) -> str:
    files = sorted({file for pattern in TOKENIZER_FILES for file in base.folder.glob(pattern) if file.is_file()})
    return fingerprint(
        {f.name: json_digest(f) if f.name == "tokenizer_config.json" else content_digest(f) for f in files}
    )
