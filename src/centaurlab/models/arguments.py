"""How a model is named and loaded, as options of a command."""

import dataclasses
from dataclasses import dataclass

from centaurlab.runtime.errors import UserError

DTYPES = ("bfloat16", "float16", "float32")


@dataclass
class ModelArguments:
    """Which model, and how to load it."""

    _argument_group_name = "model"

    model_name_or_path: str = dataclasses.field(
        metadata={"help": "hub id, folder, *.gguf file, adapter folder or alias ('centaurlab models' lists these)"}
    )
    model_revision: str | None = dataclasses.field(
        default=None, metadata={"help": "branch, tag or commit of a hub model"}
    )
    adapter_name_or_path: str | None = dataclasses.field(
        default=None, metadata={"help": "PEFT adapter (folder or hub id) to put on the model"}
    )
    dtype: str = dataclasses.field(default="bfloat16", metadata={"help": f"of the weights: {', '.join(DTYPES)}"})
    load_in_4bit: bool = dataclasses.field(default=False, metadata={"help": "quantise to NF4 with bitsandbytes"})
    load_in_8bit: bool = dataclasses.field(default=False, metadata={"help": "quantise to int8 with bitsandbytes"})
    device_map: str | None = dataclasses.field(
        default=None, metadata={"help": "'auto' spreads one model over all devices (one process only)"}
    )
    attn_implementation: str | None = dataclasses.field(
        default=None,
        metadata={"help": "attention kernel, such as 'flash_attention_2' (default: the library's choice)"},
    )
    trust_remote_code: bool = dataclasses.field(
        default=False, metadata={"help": "run the Python code that the checkpoint brings"}
    )
    allow_pickle: bool = dataclasses.field(
        default=False, metadata={"help": "read pickled weights (*.bin) where there are no safetensors"}
    )

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UserError(f"dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        if self.load_in_4bit and self.load_in_8bit:
            raise UserError("load_in_4bit and load_in_8bit exclude each other; give one")
        if self.device_map not in (None, "auto"):
            raise UserError(f"device_map {self.device_map!r} is not 'auto'; leave it out to use one device per process")


@dataclass
class LoadArguments(ModelArguments):
    """How models that a command scores first are loaded, all in the same way."""

    _argument_group_name = "loading of models that are scored first"

    model_name_or_path: str = dataclasses.field(default="", init=False)
    model_revision: str | None = dataclasses.field(default=None, init=False)
    adapter_name_or_path: str | None = dataclasses.field(default=None, init=False)

    def of(self, name: str, adapter: str | None = None) -> ModelArguments:
        """The model ``name``, with an adapter on it if one is given, loaded in this way."""
        named = {"model_name_or_path": name, "adapter_name_or_path": adapter}
        return ModelArguments(**dataclasses.asdict(self) | named)
