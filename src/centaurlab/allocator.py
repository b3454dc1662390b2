"""Keep freed memory in the process on a CPU: glibc otherwise returns every large tensor to the kernel.

Refaulting those pages took up to half the time of a CPU run. glibc's tunables (``MALLOC_MMAP_THRESHOLD_`` …) say
the same but must be set before the process starts; ``mallopt`` works from inside.
"""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # malloc.h
_TOP_PAD_BYTES = 256 << 20


def keep_freed_memory() -> None:
    """Let glibc serve large blocks from a heap that it does not shrink; does nothing on other C libraries."""
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)
    mallopt(_M_ARENA_MAX, 1)
