"""Quantised weights are near the whole ones, leave gradients alone, and fetch nothing."""

from pathlib import Path

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
)

from centaurlab.models.identity import identify
from centaurlab.models.loading import load_model
from helpers.commands import run_python
from helpers.tiny_models import logits, named

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def wide_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough for NF4's blocks of 64 values."""
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=500, **sizes)).to(torch.bfloat16).save_pretrained(folder)
    return folder


class TestQuantised:
    @pytest.mark.parametrize(
        ("setting", "layer", "bound"), [("load_in_4bit", "Linear4bit", 0.3), ("load_in_8bit", "Linear8bitLt", 0.03)]
    )
    def test_is_near_the_unquantised_model(self, wide_llama_dir: Path, setting: str, layer: str, bound: float) -> None:
        whole = load_model(named(wide_llama_dir))
        quantised = load_model(named(wide_llama_dir, **{setting: True}))
        assert layer in {type(module).__name__ for module in quantised.modules()}
        expected = logits(whole)
        error = (logits(quantised) - expected).std() / expected.std()
        assert 0 < error < bound

    def test_evaluation_leaves_gradients_of_later_training_alone(self, wide_llama_dir: Path) -> None:
        def gradient(evaluated_before: bool) -> torch.Tensor:
            model = load_model(named(wide_llama_dir, load_in_4bit=True, dtype="float32"))
            if evaluated_before:
                logits(model)
            ids = torch.arange(5, 60)[None]
            embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
            model(inputs_embeds=embedded, labels=ids).loss.backward()
            assert embedded.grad is not None
            return embedded.grad

        assert torch.equal(gradient(evaluated_before=False), gradient(evaluated_before=True))

    def test_carries_an_adapter(self, tiny_llama_dir: Path, adapter: tuple[Path, torch.Tensor]) -> None:
        model = load_model(named(adapter[0], load_in_4bit=True))
        assert logits(model).isfinite().all()
        assert identify(named(adapter[0], load_in_4bit=True)).quantization == "nf4"

    def test_nothing_is_fetched_and_nothing_said(self, tiny_llama_dir: Path, tmp_path: Path) -> None:
        """A ``kernels`` package that is installed is not asked for compiled code."""
        fetched = tmp_path / "fetched"
        (tmp_path / "kernels.py").write_text(f"def get_kernel(*a, **k):\n    open({str(fetched)!r}, 'w')\n")
        code = (
            "import torch; from centaurlab.models.arguments import ModelArguments; "
            "from centaurlab.models.loading import load_model; "
            f"load_model(ModelArguments({str(tiny_llama_dir)!r}, load_in_8bit=True))(torch.arange(9)[None]); "
            "import kernels"
        )
        done = run_python("-c", code, cwd=tmp_path)
        assert not fetched.exists()
        assert (done.returncode, done.stderr) == (0, "")
