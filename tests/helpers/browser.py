"""A page in a real Chromium: what a script that is added to it finds there."""

import json
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def dom(page: Path, profile: Path, *arguments: str) -> str:
    """The document after its scripts have run; ``profile``: a folder for the browser's own files."""
    usual = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
    command = [str(CHROMIUM), *usual, "--virtual-time-budget=5000", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def found_in(page: Path, profile: Path, script: str, width: int = 1280, is_dark: bool = False) -> Any:
    """What ``script``, the body of an async function, returns in a copy of the page, ``width`` pixels wide."""
    source = page.read_text(encoding="utf-8")
    if is_dark:
        source = source.replace("(prefers-color-scheme: dark)", "screen")
    tell = "found => { const told = document.createElement('pre'); told.id = 'told'; document.body.append(told);"
    tell += " told.textContent = JSON.stringify(found); }"
    asked = page.with_name(f"asked-{page.name}")
    asked.write_text(
        source.replace("</body>", f"<script>(async () => {{ {script} }})().then({tell});</script></body>"), "utf-8"
    )
    told = dom(asked, profile, f"--window-size={width},900").rpartition('<pre id="told">')[2].partition("</pre>")[0]
    return json.loads(unescape(told))
