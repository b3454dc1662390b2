"""A model into its identity: fingerprints of weights, tokenizer and the way it is loaded."""

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import TOKENIZER_FILES, Checkpoint, _find
from centaurlab.models.digests import content_digest, fingerprint, json_digest
from centaurlab.models.quantization import quantization_of
from centaurlab.models.tokenizers import tokenizer_home
from centaurlab.results.record import ModelIdentity


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
        tokenizer_fingerprint=_tokenizer_fingerprint(tokenizer_home(found.base, found.adapter)),
        dtype=args.dtype,
        quantization=quantization_of(found.base, args),
        base=found.base.source if found.adapter else None,
        adapter=found.adapter.source if found.adapter else None,
    )


def weights_fingerprint(args: ModelArguments) -> str:
    """SHA-256 over the weights of the model (of an adapter: of its base) alone, however they are loaded."""
    return _find(args, weights=True).base.weights_fingerprint(args.allow_pickle)


def quantization(args: ModelArguments) -> str:
    """As in ``ModelIdentity``, without the weights."""
    return quantization_of(_find(args, weights=False).base, args)


def _tokenizer_fingerprint(home: Checkpoint) -> str:
    files = sorted({file for pattern in TOKENIZER_FILES for file in home.folder.glob(pattern) if file.is_file()})
    return fingerprint(
        {f.name: json_digest(f) if f.name == "tokenizer_config.json" else content_digest(f) for f in files}
    )
