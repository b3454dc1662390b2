"""Libraries that talk, kept to what a user must know: no loading bars, no advice, no code from a hub."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Within the block transformers and PEFT draw no bars, announce no future and log errors only."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def ignore_renamed_checkpointing() -> None:
    """From here on, no warnings that TRL 1.16 and PEFT 0.21 use names which transformers 5.24 gave up."""
    renamed = r"`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated"
    warnings.filterwarnings("ignore", renamed, FutureWarning, module=r"transformers\.")


def import_bitsandbytes() -> None:
    """Import bitsandbytes without the compiled kernel that it would fetch from a hub for some processors.

    Call it before anything that imports bitsandbytes (PEFT does). The kernel only makes a CPU faster; code
    that nobody asked for is not run, and neither its absence nor each cast of an int8 product is worth a warning.
    """
    if "bitsandbytes" in sys.modules:
        return
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    kernels = sys.modules.get("kernels")
    sys.modules["kernels"] = None  # type: ignore[assignment]  # makes 'from kernels import …' an ImportError
    try:
        import bitsandbytes  # noqa: F401
    finally:
        if kernels is None:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = kernels
