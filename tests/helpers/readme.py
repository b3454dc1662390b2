"""What README and docs/ have in fences: commands, and lines of Python with tiny models in place of those they name."""

import re
from collections.abc import Iterator
from pathlib import Path

from helpers.paths import ROOT
from helpers.tiny_models import save_tiny_llama


def lines_of_python(model: Path, folder: Path) -> str:
    """The lines, to be run in ``folder``, where a model for the second name is made."""
    block = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    save_tiny_llama(folder / "runs" / "demo" / "post-trained", seed=1)
    return block[1].replace("gemma-3-270m", str(model)).replace("=4", "=1")


def blocks(text: str) -> Iterator[str]:
    """Lines that begin in the first column within fences, with those that continue them."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if not line.startswith(" "))
