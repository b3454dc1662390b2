"""What scoring computes, from a model's shape: floating-point operations and bytes, session by session.

Only what scoring cannot do without is counted: a multiply-add (two operations) for every weight and token, for every
query and key that it sees in each layer, and in the LM head at response tokens alone. Normalisation, softmax and
rotary embeddings, under a hundredth of the rest in real models, are left to the utilisation that a plan assumes.
The shape is read off the model itself, built from its config without weights, and off the cache that it fills, layer by
layer. A model whose shape cannot be read is scored all the same, without these counts.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_without_weights
from centaurlab.models.positions import length_of_yarn, stretch
from centaurlab.models.sharding import divided_weights, divides_attention
from centaurlab.runtime.errors import UserError, one_line

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class AttentionLayer:
    """What a layer's attention costs.

    ``window``: how many tokens a query sees; None: all that came before. ``pair_flops``: operations for a query and a
    key that it sees. ``cache_elements``: numbers that a token leaves in the cache; 0: those of another layer are used.
    """

    window: int | None
    pair_flops: int
    cache_elements: int


@dataclass(frozen=True)
class ModelShape:
    """What the cost of a model depends on; sizes are in numbers, whatever their dtype.

    ``n_parameters``: all of them, each once. ``body_weights``: of these, the ones that a token is multiplied with on
    its way to the LM head (in a mixture of experts: those of the experts that it is sent to); ``head_weights``: those
    of the LM head. ``matrix_parameters``: entries of all matrices but embeddings and LM head, which is what
    quantisation shrinks.
    ``layers``: how many attend in which way. ``n_heads``: query heads of the layer that has most.
    ``hidden_size`` and ``widest``: numbers per token between the layers, and in the widest place within one.
    """

    n_parameters: int
    body_weights: int
    head_weights: int
    matrix_parameters: int
    layers: tuple[tuple[AttentionLayer, int], ...]
    n_heads: int
    hidden_size: int
    widest: int
    vocabulary: int

    def flops(self, n_tokens: float, n_computed: float, n_response_tokens: float) -> float:
        """Of a session of ``n_tokens`` up to its last response's end, the last but one ``n_computed`` not in a cache.

        The last token is predicted and never read; tokens before the computed ones are attended to.
        """
        end = max(n_tokens - 1, 0)
        start = max(end - n_computed, 0)
        pairs = sum(
            n * layer.pair_flops * (_keys_seen(end, layer.window) - _keys_seen(start, layer.window))
            for layer, n in self.layers
        )
        return 2 * self.body_weights * (end - start) + pairs + 2 * self.head_weights * n_response_tokens

    def cached_elements(self, n_tokens: int) -> int:
        """Numbers in the cache after ``n_tokens``; the next token's own key completes a window."""
        return sum(
            n * layer.cache_elements * (n_tokens if layer.window is None else min(n_tokens, layer.window - 1))
            for layer, n in self.layers
        )


def countable_shape(known: "ModelArguments | PreTrainedModel", shards: int = 1) -> ModelShape | str:
    """The shape of a model or of that which arguments name; of one that nobody has counted, one sentence that says so.

    Of ``shards`` processes that have it together: that of one's part.

    No measurement ends for want of a statistic: whatever the model's code raises while it is read is in the sentence.
    """
    try:
        return model_shape(load_without_weights(known) if isinstance(known, ModelArguments) else known, shards)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a model's own code raises)
        reason = f"{type(error).__name__}: {one_line(error)}"
        return f"floating-point operations are not counted, as the shape of the model cannot be read ({reason})"


def model_shape(model: PreTrainedModel, shards: int = 1) -> ModelShape:
    """The shape of ``model``, with weights or without; of a multimodal one, that of the part that reads text.

    Of ``shards`` processes that have it together, each has a part of what transformers' plan divides, and all the rest.
    """
    config = model.config.get_text_config(decoder=True)
    head = model.get_output_embeddings().weight
    decoder = model.get_decoder()
    embeddings = {id(m.weight) for m in decoder.modules() if isinstance(m, torch.nn.Embedding)} | {id(head)}
    attending = _attending(model)
    divided = divided_weights(model) if shards > 1 else set()
    n_parts = shards if shards > 1 and divides_attention(model) else 1

    def held(weights: torch.nn.Parameter, n: int) -> int:
        return n // shards if id(weights) in divided else n

    matrices = [p for p in decoder.parameters() if p.dim() > 1 and id(p) not in embeddings]
    return ModelShape(
        n_parameters=sum(held(p, p.numel()) for p in model.parameters()),
        body_weights=sum(held(p, _used_by_a_token(p, config)) for p in matrices),
        head_weights=held(head, head.numel()),
        matrix_parameters=sum(held(p, p.numel()) for p in matrices),
        layers=tuple(Counter(_attention_layer(*layer, n_parts) for layer in attending).items()),
        n_heads=max((layer.num_attention_heads for layer, *_ in attending), default=0),
        hidden_size=config.hidden_size,
        widest=max(max(p.shape[-2:]) for p in matrices),
        vocabulary=head.shape[0],
    )


def _keys_seen(n_queries: float, window: int | None) -> float:
    """By the first ``n_queries`` tokens together: each sees itself and what comes before, within the window."""
    full = n_queries if window is None else min(n_queries, window)
    return full * (full + 1) / 2 + (n_queries - full) * (window or 0)


def _attending(model: PreTrainedModel) -> list[tuple[PretrainedConfig, int | None, bool]]:
    """Config and window of each layer that attends, as the cache has them, and whether it has keys of its own.

    Layers that keep a state in place of keys attend to nothing.
    """
    config = model.config.get_text_config(decoder=True)
    if not _has_heads(config):
        return []  # a model that keeps states alone
    configs = config.per_layer_config if getattr(config, "is_heterogeneous", False) else [config]
    layers = DynamicCache(config=model.config).layers
    found: list[tuple[PretrainedConfig, int | None, bool]] = []
    for i in range(config.num_hidden_layers):
        own = configs[i if len(configs) > 1 else 0]
        layer = layers[i] if i < len(layers) else None
        if isinstance(layer, DynamicLayer):
            found.append((own, layer.sliding_window if isinstance(layer, DynamicSlidingWindowLayer) else None, True))
        elif _uses_keys_of_another(config, i):
            found.append((own, own.sliding_window if config.layer_types[i] == "sliding_attention" else None, False))
    return found


def _has_heads(config: PretrainedConfig) -> bool:
    try:
        return bool(getattr(config, "num_attention_heads", None))
    except RuntimeError:  # it differs by layer
        return True


def _uses_keys_of_another(config: PretrainedConfig, layer: int) -> bool:
    """Whether a layer attends to the keys that an earlier one left in the cache (Gemma 3n and 4)."""
    shared = getattr(config, "num_kv_shared_layers", None) or 0
    return layer >= int(config.num_hidden_layers) - shared


def _attention_layer(config: PretrainedConfig, window: int | None, has_keys: bool, n_parts: int) -> AttentionLayer:
    sizes = sum(_head_sizes(config))
    cached = _key_heads(config) * sizes * has_keys
    return AttentionLayer(window, 2 * config.num_attention_heads * sizes // n_parts, cached // n_parts)


def _used_by_a_token(weights: torch.nn.Parameter, config: PretrainedConfig) -> int:
    """All of a matrix or a short convolution; of weights (experts, in, out), those that a token is sent to."""
    n_experts = getattr(config, "num_experts_per_tok", None) or getattr(config, "top_k_experts", None)
    return weights.numel() if weights.dim() == 2 or n_experts is None else weights[0].numel() * int(n_experts)


def _head_sizes(config: PretrainedConfig) -> tuple[int, int]:
    """Of a query and key, and of a value; latent attention (DeepSeek) has two sizes and caches whole heads."""
    if hasattr(config, "qk_rope_head_dim"):
        return config.qk_nope_head_dim + config.qk_rope_head_dim, config.v_head_dim
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return size, size


def _key_heads(config: PretrainedConfig) -> int:
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def usable_window(config: "PretrainedConfig", max_length: int | None) -> int:
    """The longest that a session may be: the context window, or ``max_length`` where that is shorter or alone known.

    With linear or dynamic scaling of the rotary embedding a config states the length before it or after, as its author
    liked, so ``max_length`` may go beyond, up to the factor.
    """
    if max_length is not None and max_length < 1:
        raise UserError(f"--max_length is {max_length}; it must be at least 1")
    if max_length is not None and not isinstance(_stated_window(config), int):
        return max_length
    window = context_window(config)
    if max_length is None or max_length <= window:
        return max_length or window
    stretched = int(window * stretch(config))
    if window < stretched < max_length:
        raise UserError(f"--max_length is {max_length}, beyond what this model can read; give {stretched} or less")
    return min(stretched, max_length)


def window_notes(config: "PretrainedConfig", max_length: int | None) -> tuple[str, ...]:
    """One sentence where ``max_length`` asks for more than the model reads."""
    window = usable_window(config, max_length)
    if max_length is None or max_length == window:
        return ()
    return (f"--max_length is {max_length}, and this model reads {window} tokens at most, which stands in its place",)


def _stated_window(config: "PretrainedConfig") -> Any:
    stated = getattr(config.get_text_config(), "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def context_window(model_or_config: "PreTrainedModel | PretrainedConfig") -> int:
    """How many tokens the model was made for, by its config; a tokenizer's word is often a placeholder.

    With YaRN the config may still state the length before scaling.
    """
    whole: Any = getattr(model_or_config, "config", model_or_config)
    config = whole.get_text_config()
    stated = _stated_window(config)
    if not isinstance(stated, int):
        raise UserError(f"a {config.model_type} config does not state its context window; pass --max_length")
    return max(stated, length_of_yarn(config))
