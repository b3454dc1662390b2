"""The process in which chat templates run: a request a line on standard input, an answer a line on standard output.

A template is a stranger's program. Here it may use so much memory and no more; who started the process ends it where it
takes too long, or where the template ends it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from centaurlab.runtime.errors import failure

MEMORY_BYTES = 1 << 31
"""What a template may use beyond the interpreter."""


def main() -> None:
    """Answer requests until standard input ends; the first line says that the first may come."""
    # Here, so that what reads MEMORY_BYTES need not wait for it.
    from transformers.utils.chat_template_utils import render_jinja_template

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # answers alone are written there
    _limit_memory()
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        limit = request.pop("max_characters")
        try:
            rendered: Any = render_jinja_template(**request)
            text = rendered[0][0]
            answer = {"text": text} if len(text) <= limit else {"beyond": f"writes more than {limit:,} characters"}
        except MemoryError:
            answer = {"beyond": f"needs more than {MEMORY_BYTES >> 30} GiB of memory"}
        except Exception as error:  # noqa: BLE001 (a program may raise anything)
            answer = {"error": failure(error)}
        print(json.dumps(answer), file=answers, flush=True)


def _limit_memory() -> None:
    """Nothing on systems without /proc: there, time and the length of the text are limited alone."""
    status = Path("/proc/self/statm")
    if status.is_file():
        import resource  # which systems without /proc may lack

        used = int(status.read_text().split()[0]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)  # a cluster may have set some
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min([used + MEMORY_BYTES, *limits]), hard))


if __name__ == "__main__":
    main()
