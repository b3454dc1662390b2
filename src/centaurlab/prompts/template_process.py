"""The process in which chat templates run: a request a line on standard input, an answer a line on standard output.

A template is a stranger's program. Here it may use so much memory and no more; who started the process ends it where it
takes too long, or where the template ends it.
"""

import json
import os
import sys
from typing import Any

from centaurlab.runtime.errors import failure
from centaurlab.runtime.limits import memory_limit

MEMORY_BYTES = 1 << 31
"""What a template may use beyond the interpreter."""


def main() -> None:
    """Answer requests until standard input ends; the first line says that the first may come."""
    # Here, so that what reads MEMORY_BYTES need not wait for it.
    from transformers.utils.chat_template_utils import render_jinja_template

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # answers alone are written there
    with memory_limit(MEMORY_BYTES):
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


if __name__ == "__main__":
    main()
