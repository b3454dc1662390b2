"""How every figure looks and is written: one column wide, safe for colour-blind readers, the same bytes every time.

Colours are those of Okabe & Ito (2008, Color Universal Design); no colour carries a meaning alone, a marker or a label
does too. Figures are made without pyplot, so nothing is global and no display is needed.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_MM = 88
"""Of one column of a journal."""

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, GREY, LIGHT = "#222222", "#8C8C8C", "#DDDDDD"
SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (SKY, "P"))
"""Colour and marker of each of several series."""

_P = ParamSpec("_P")
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "figure.titlesize": 7.5,
    "figure.labelsize": 7.0,
    "legend.title_fontsize": 7.5,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a study may be called "$5 or $10"
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "centaurlab",
}
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "centaurlab"},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "centaurlab"},
}


def styled(draw: Callable[_P, "Figure"]) -> Callable[_P, "Figure"]:
    """Draw in the style of this module, laid out; the caller's matplotlib is left as it was."""

    @wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> "Figure":
        with _style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            return figure

    return drawn


def look(number: int) -> tuple[str, str]:
    """Colour and marker of a series; from the seventh on, a colour comes again with another marker."""
    around, colour = divmod(number, len(SERIES))
    return SERIES[colour][0], SERIES[(colour + around) % len(SERIES)][1]


def new_figure(height_mm: float) -> "Figure":
    """An empty figure, one column wide."""
    from matplotlib.figure import Figure  # here: --help of every analysis would wait for it

    return Figure(figsize=(WIDTH_MM / 25.4, height_mm / 25.4))


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write ``name``.pdf (vector) and ``name``.png (300 dpi) into ``folder``, each whole or not at all."""
    paths = []
    for kind in ("pdf", "png"):
        path = folder / f"{name}.{kind}"
        temporary = folder / f".{name}.{kind}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(rendered(figure, kind))
            temporary.replace(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}; give another --output_dir") from error
        paths.append(path)
    return paths


def rendered(figure: "Figure", kind: str) -> bytes:
    """The figure as ``pdf``, ``png`` or ``svg`` (text as outlines, so that it looks the same everywhere)."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


def short(name: str, length: int = 30) -> str:
    """``name`` on one line, its middle left out where it is longer than ``length`` characters."""
    name = " ".join(name.split())
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def model_label(name: str) -> str:
    """``Qwen3-8B`` for ``Qwen/Qwen3-8B`` and for the path of a folder or file of that name."""
    return name.rstrip("/").rpartition("/")[2] or name


def model_labels(names: Iterable[str]) -> dict[str, str]:
    """The label of each; whole names, where two would have one label."""
    labels = {name: model_label(name) for name in names}
    return labels if len(set(labels.values())) == len(labels) else {name: name for name in labels}


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl  # here for the same reason

    with mpl.rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # a name in a script that the font lacks
        yield
