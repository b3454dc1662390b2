"""One model divided among several processes, each with a part of most weights (tensor parallel).

transformers divides the weights by a plan of the architecture, and sums what the parts give inside every layer. All
processes of a group are given the same tokens and have to do the same passes; so that they also decide alike, each goes
on with the logits that the first has.
"""

import re
from typing import TYPE_CHECKING, Any, TypeVar

from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

T = TypeVar("T")

COMPARED = frozenset(
    {
        *("cohere", "cohere2", "deepseek_v2", "deepseek_v3", "exaone4", "gemma", "gemma2", "gemma3", "gemma3_text"),
        *("gemma4_text", "glm4", "gpt_neox", "gptj", "granite", "llama", "mistral", "mixtral", "nanochat", "olmo2"),
        *("olmo3", "phi", "phi3", "qwen2", "qwen3", "qwen3_moe", "qwen3_next", "qwen3_5", "qwen3_5_text", "seed_oss"),
        *("smollm3", "starcoder2"),
    }
)
"""Architectures (``model_type``) of which a test holds the logits of two processes against those of one."""


def check_processes(shards: int, n_processes: int) -> None:
    """Raise ``UserError`` where the processes of a launch do not make up groups of ``shards``."""
    if n_processes % shards:
        raise UserError(
            f"--tensor_parallel {shards} needs {shards} processes, or a multiple of it, and there "
            f"{'is 1' if n_processes == 1 else f'are {n_processes}'}: "
            f"accelerate launch --multi_gpu --num_processes {shards} -m centaurlab …"
        )


def check_plan(without_weights: "PreTrainedModel", shards: int, source: str) -> None:
    """Raise ``UserError`` where the model cannot be divided, or where nobody has looked whether that is exact."""
    plan: dict[str, str] = getattr(without_weights, "tp_plan", None) or {}
    kind = without_weights.config.model_type
    if not plan or kind not in COMPARED:
        why = "was not compared with one process" if plan else "has no plan for it in transformers"
        raise UserError(
            f"{source} cannot be divided by --tensor_parallel: its architecture ({kind}) {why}; use --device_map auto"
        )
    config = without_weights.config.get_text_config()
    heads = {"attention heads": config.num_attention_heads}
    if any(style == "colwise" and name.endswith(".k_proj") for name, style in plan.items()):
        heads["key-value heads"] = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    for name, number in heads.items():
        if number % shards:
            raise UserError(
                f"{source} has {number} {name}, which --tensor_parallel {shards} cannot share out; give a number that "
                "divides them, or use --device_map auto"
            )


def divided_weights(model: "PreTrainedModel") -> set[int]:
    """The ``id`` of each weight of which every process gets a part; the plan passes over some, as DeepSeek-V3's."""
    plan: dict[str, str] = getattr(model, "tp_plan", None) or {}
    found = set()
    for name, weight in model.named_parameters(remove_duplicate=False):
        generic = re.sub(r"\.\d+(?=\.)", ".*", name)
        style = plan.get(generic) or plan.get(generic.rpartition(".")[0], "")
        by_rows = "rowwise" in style and not name.endswith(".bias")  # which is added to the sum
        found |= {id(weight)} if "colwise" in style or by_rows else set()
    return found


def divides_attention(without_weights: "PreTrainedModel") -> bool:
    """Whether processes that have the model together attend with, and cache keys of, a part of its heads each."""
    plan: dict[str, str] = getattr(without_weights, "tp_plan", None) or {}
    written = (".k_proj", ".query_key_value", ".kv_b_proj")
    return any(style == "colwise" and name.endswith(written) for name, style in plan.items())


def division(shards: int, n_processes: int) -> Any:
    """What ``from_pretrained`` calls ``distributed_config``: consecutive processes are a group."""
    from transformers import distributed  # here: it imports torch

    config: Any = getattr(distributed, "DistributedConfig", None)
    if not hasattr(config, "dp_size"):
        raise UserError("--tensor_parallel needs transformers 5.24 or later: pip install --upgrade transformers")
    # Each group has a whole model, which transformers would else divide once more among the groups.
    groups: Any = type("Groups", (config,), {"dp_size": 1})
    return groups(tp_plan="auto", tp_size=shards, dp_replicate_size=n_processes // shards)


def is_divided(model: "PreTrainedModel") -> bool:
    """Whether this process has a part of the model, and others have the rest."""
    return n_shards(model) > 1


def n_shards(model: "PreTrainedModel") -> int:
    """Among how many processes the model is divided."""
    return getattr(model, "_tp_size", None) or 1


def share_logits(model: "PreTrainedModel") -> None:
    """Let every process of the group go on with the first one's logits, to the last bit."""
    import torch

    group = _group(model)

    def share(_: object, __: object, output: Any) -> Any:
        logits: torch.Tensor = output.logits.contiguous()
        if logits.numel():
            torch.distributed.broadcast(logits, group_src=0, group=group)
        output.logits = logits
        return output

    model.register_forward_hook(share)


def of_the_first(model: "PreTrainedModel", value: T) -> T:
    """``value`` as the first process of the model's group has it; of a whole model, ``value``."""
    if not is_divided(model):
        return value
    import torch

    values = [value]
    torch.distributed.broadcast_object_list(values, group_src=0, group=_group(model))
    return values[0]


def _group(model: "PreTrainedModel") -> "torch.distributed.ProcessGroup":
    mesh: Any = model._device_mesh
    group: torch.distributed.ProcessGroup = mesh["tp"].get_group()
    return group
