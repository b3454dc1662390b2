"""Keep freed memory in the process on a CPU: glibc otherwise returns every large tensor to the kernel.

Refaulting those pages took up to half the time of a CPU run. glibc's tunables (``MALLOC_MMAP_THRESHOLD_`` …) say
the same but must be set before the process starts; ``mallopt`` works from inside.
"""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8  # malloc.h
_TOP_PAD_BYTES = 256 << 20
_MANY = 1 << 16  # glibc's own limit of mapped blocks
VARYING_BLOCK_BYTES = 32 << 20


def keep_freed_memory(largest_block_bytes: int | None = None) -> None:
    """Let glibc serve large blocks from a heap that it does not shrink; does nothing on other C libraries.

    With ``largest_block_bytes``, blocks above go back to the kernel. Where each batch's logits have another size, no
    freed block fits the next: the heap of a post-training run grew by 150 MiB a step, and to return these few large
    blocks (``VARYING_BLOCK_BYTES``) cost it 6 % of its time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, _MANY if largest_block_bytes else 0)
    if largest_block_bytes:
        mallopt(_M_MMAP_THRESHOLD, largest_block_bytes)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)
    mallopt(_M_ARENA_MAX, 1)
