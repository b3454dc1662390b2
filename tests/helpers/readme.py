"""README's lines of Python, with tiny models in place of those that they name."""

import re
from pathlib import Path

from helpers.paths import ROOT
from helpers.tiny_models import save_tiny_llama


def lines_of_python(model: Path, folder: Path) -> str:
    """The lines, to be run in ``folder``, where a model for the second name is made."""
    block = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    save_tiny_llama(folder / "runs" / "demo" / "post-trained", seed=1)
    return block[1].replace("gemma-3-270m", str(model)).replace("=4", "=1")
