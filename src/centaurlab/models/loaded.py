"""A model that a program holds already: its identity from what it holds, and its state given back after scoring."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import torch

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.digests import fingerprint
from centaurlab.models.passes import acts_in_layers
from centaurlab.models.positions import length_of_short_rope
from centaurlab.results.record import ModelIdentity
from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
"""Whose hooks move or watch tensors and leave what they are."""
_NOT_IDENTIFYING = ("_name_or_path", "transformers_version")


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in memory and its tokenizer; of one with a PEFT adapter, the model with its layers."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"

    @property
    def arguments(self) -> ModelArguments:
        """What the model is called, and its dtype; the other settings are what the model is."""
        return ModelArguments(self.model.name_or_path or type(self.model).__name__, dtype=self._dtype)

    def identity(self) -> ModelIdentity:
        """From every tensor's bytes, the config, and which adapters act: nobody knows what a file of it would say.

        What a hook of the program's does nobody can know: a model with one is another at every call.
        """
        config = {key: value for key, value in self.model.config.to_dict().items() if key not in _NOT_IDENTIFYING}
        quantization = getattr(self.model.config, "quantization_config", None)
        adapters = {
            name: [str(getattr(module, about, None)) for about in ("active_adapters", "disable_adapters", "scaling")]
            for name, module in self.model.named_modules()
            if isinstance(getattr(module, "disable_adapters", None), bool)  # a layer of PEFT
        }
        parts = {"tensors": _digests(self.model), "config": repr(config), "adapters": adapters}
        if hooked := _hooked(self.model):
            if os.environ.get("WORLD_SIZE", "1") != "1":
                raise UserError(f"{hooked[0]} has a hook: a model in memory that has one is scored in one process")
            parts["hooks"] = [*hooked, uuid4().hex]
        return ModelIdentity(
            name=self.arguments.model_name_or_path,
            fingerprint=fingerprint(parts),
            tokenizer_fingerprint=fingerprint(
                {
                    "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
                    "special": {name: str(token) for name, token in self.tokenizer.special_tokens_map.items()},
                    "template": str(self.tokenizer.chat_template),
                }
            ),
            dtype=self._dtype,
            quantization="none" if quantization is None else str(_method(quantization)),
        )

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The model in evaluation mode; afterwards its modules' modes and its attention are what they were."""
        attention = self.model.config._attn_implementation
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            yield
        finally:
            if attention != self.model.config._attn_implementation:
                self.model.set_attn_implementation(attention)
            for module in training:
                module.training = True

    @property
    def _dtype(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")


def loaded_model(model: object, tokenizer: object) -> LoadedModel:
    """What a program gives as its model; ``UserError`` where that cannot be scored."""
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    adapted = None
    if hasattr(model, "get_base_model"):  # of PEFT: its layers are in the model
        adapted, model = model, model.get_base_model()
    if not isinstance(model, PreTrainedModel) or model.get_output_embeddings() is None:
        raise UserError(
            f"{type(model).__name__} is no causal language model of transformers; give one, its name or its folder"
        )
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            "a model in memory needs its tokenizer, a fast one: score(model, people, tokenizer=tokenizer); found "
            f"{type(tokenizer).__name__}"
        )
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise UserError("weights of the model are not in memory (offloaded); load it whole, or give its name")
    loaded = LoadedModel(model, tokenizer)
    if adapted is not None:
        with loaded.lent(), torch.no_grad():
            in_layers = acts_in_layers(adapted)
        if not in_layers:
            raise UserError(
                "part of the model's adapter acts outside the model's layers (prompt or prefix tuning, an activated "
                "LoRA); it cannot be scored"
            )
    return loaded


def _hooked(model: "PreTrainedModel") -> list[str]:
    """The modules whose outputs the program may change: with hooks, or a ``forward`` of their own."""
    found = []
    for name, module in model.named_modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if "forward" in vars(module) and not hasattr(module, "_hf_hook"):  # of accelerate
            hooks.append(vars(module)["forward"])
        if any(str(getattr(hook, "__module__", "")).split(".")[0] not in _LIBRARIES for hook in hooks):
            found.append(name or type(module).__name__)
    return found


def _digests(model: "PreTrainedModel") -> dict[str, str]:
    """Of every tensor that the program may have changed; a rope that depends on the length changes its own buffers."""
    tensors = model.state_dict()
    if length_of_short_rope(model.config) is None:
        tensors = dict(model.named_buffers()) | tensors  # with those that no file would hold
    found = {}
    for name, tensor in tensors.items():
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(data.data)
        found[name] = digest.hexdigest()
    return found


def _method(quantization: object) -> object:
    """As in ``ModelIdentity``: 'nf4' and 'int8' of bitsandbytes, else the method's own name."""
    about = quantization if isinstance(quantization, dict) else vars(quantization)
    if about.get("_load_in_4bit") or about.get("load_in_4bit"):
        return about.get("bnb_4bit_quant_type", "fp4")
    if about.get("_load_in_8bit") or about.get("load_in_8bit"):
        return "int8"
    method = about.get("quant_method", "unknown")
    return getattr(method, "value", method)
