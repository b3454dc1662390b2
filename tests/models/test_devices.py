"""Everything of a pass lies on the model's device: tried on a device that only names its tensors, since GPUs are rare.

As on a GPU, an operation on tensors of two devices is an error, and so is a position or a mask left on the CPU.
"""

import warnings
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from centaurlab.models.passes import HeadRows, accepts, cache_name, logits_of, new_cache
from helpers.architectures import ARCHITECTURES, class_of, config_of

DEVICE = "namesonly"
NEEDS_VALUES = {
    *("llama_dynamic_rope", "phi3_longrope", "modernbert_decoder", "gemma3_images", "falcon", "falcon_alibi"),
    *("xlstm", "minimax", "deepseek_v4"),
}
"""Their code looks at numbers of a tensor or indexes by a list, converts weights, or has a cache of its own."""


class OnTheDevice(TorchFunctionMode):
    """What PyTorch would copy there, which a device without memory cannot, as an empty tensor of the same shape."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and str(kwargs.get("device")).startswith(DEVICE):
            device = kwargs.pop("device")
            like = torch.tensor(*args, **kwargs)
            return torch.empty(like.shape, dtype=like.dtype, device=device)
        if func is torch.Tensor.to and any(str(word).startswith(DEVICE) for word in (*args[1:], *kwargs.values())):
            return torch.empty(args[0].shape, dtype=args[0].dtype, device=DEVICE)
        return func(*args, **kwargs)


def move(model: torch.nn.Module) -> None:
    """Put parameters and buffers on the device, each once."""
    moved: dict[int, tuple[object, torch.Tensor]] = {}
    for module in model.modules():
        kinds: Any = (module._parameters, module._buffers)
        for tensors in kinds:
            for name, tensor in tensors.items():
                if tensor is not None and id(tensor) not in moved:
                    there = torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)
                    is_parameter = isinstance(tensor, torch.nn.Parameter)
                    moved[id(tensor)] = tensor, torch.nn.Parameter(there, False) if is_parameter else there
                if tensor is not None:
                    tensors[name] = moved[id(tensor)][1]


def devices_of_passes(name: str) -> set[str]:
    """Of the logits of a pass, of one that goes on with its cache, and of a packed one."""
    config = config_of(name)
    with FakeTensorMode(), torch.no_grad(), OnTheDevice():
        model = class_of(config).from_config(config, dtype=torch.bfloat16).eval()
        move(model)
        ids_1T = torch.zeros(1, 40, dtype=torch.long, device=DEVICE)
        cache = new_cache(model) if cache_name(model) else None
        found = []
        with HeadRows(model.get_output_embeddings()) as rows:
            rows.positions_N, rows.are_last = torch.arange(4), True
            found += [logits_of(model, ids_1T, cache) for _ in range(2)]
            if accepts(model, "position_ids"):
                found.append(logits_of(model, ids_1T, position_ids=torch.zeros_like(ids_1T)))
        assert {logits.shape for logits in found} == {(1, 4, 259)}
    return {logits.device.type for logits in found}


def try_all(report: Path) -> None:
    warnings.simplefilter("ignore")
    _setup_privateuseone_for_python_backend(DEVICE)
    lines = []
    with FakeTensorMode(), pytest.raises(RuntimeError, match="same device"):
        torch.empty(2, device=DEVICE) + torch.ones(2)
    for name in ARCHITECTURES:
        if name not in NEEDS_VALUES:
            try:
                lines.append(f"{name}: {devices_of_passes(name)}")
            except Exception as error:  # noqa: BLE001 (each is named, and the test fails)
                lines.append(f"{name}: {type(error).__name__} {' '.join(str(error).split())[:200]}")
    report.write_text("\n".join(lines))


@pytest.mark.release
def test_no_pass_of_any_architecture_mixes_devices(tmp_path: Path) -> None:
    child = get_context("fork").Process(target=try_all, args=(tmp_path / "report",), daemon=True)
    child.start()
    child.join(120)
    assert child.exitcode == 0
    lines = (tmp_path / "report").read_text().splitlines()
    assert [line for line in lines if not line.endswith(f": { {DEVICE} }")] == []
    assert len(lines) == len(ARCHITECTURES) - len(NEEDS_VALUES)
