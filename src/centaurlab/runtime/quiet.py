"""Libraries that talk, kept to what a user must know: no loading bars, no advice, no code from a hub."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Within the block transformers and PEFT draw no bars, announce no future and log errors only.

    Nor does PEFT warn of adapters that replace the embedding of a model whose head is its embedding: ``training.merge``
    unties them.
    """
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True` and a tied layer", UserWarning)
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def ignore_renamed_checkpointing() -> None:
    """From here on, no warnings that TRL 1.16 and PEFT 0.21 use names which transformers 5.24 gave up."""
    renamed = r"`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated"
    warnings.filterwarnings("ignore", renamed, FutureWarning, module=r"transformers\.")


def ignore_equal_times() -> None:
    """From here on, no word across a progress bar that checkpoints of one second are ordered by their numbers."""
    logging.getLogger("transformers.trainer_utils").addFilter(_is_not_of_equal_times)


def _is_not_of_equal_times(record: logging.LogRecord) -> bool:
    return "mtime may not" not in record.getMessage()


def quiet_bitsandbytes() -> None:
    """From here on, whoever imports bitsandbytes does so without the compiled kernel that it would fetch from a hub.

    The kernel only makes some processors faster; code that nobody asked for is not run, and neither its absence nor
    each cast of an int8 product is worth a warning. PEFT and TRL import bitsandbytes, so this goes by a hook.
    """
    if not any(isinstance(finder, _WithoutKernels) for finder in sys.meta_path):
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        sys.meta_path.insert(0, _WithoutKernels())


class _WithoutKernels(MetaPathFinder):
    """Finds bitsandbytes where it is, and loads it while ``import kernels`` fails."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual specification, with a loader that hides ``kernels``; None for every other module."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "bitsandbytes" else None
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        spec.loader = _LoaderWithoutKernels(spec.loader.name, spec.loader.path)
        return spec


class _LoaderWithoutKernels(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        kernels = sys.modules.get("kernels")
        sys.modules["kernels"] = None  # type: ignore[assignment]  # makes 'from kernels import …' an ImportError
        try:
            super().exec_module(module)
        finally:
            if kernels is None:
                del sys.modules["kernels"]
            else:
                sys.modules["kernels"] = kernels
