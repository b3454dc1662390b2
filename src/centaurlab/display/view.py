"""Sessions with the NLL of every response as one page to look at; data too large for it lie in scripts beside it.

The page loads nothing from elsewhere, and its policy forbids it to: no text of a participant leaves the machine. A page
that is opened as a file may load scripts beside it, but no other data, hence the scripts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from centaurlab import __version__
from centaurlab.display.pages import page_environment
from centaurlab.runtime.names import shown

INLINE_CHARACTERS = 6_000_000
"""Up to so many, sessions stand in the page itself, which is then one file."""

CHUNK_CHARACTERS = 1_000_000

Measures = Mapping[str, Sequence[float | None]]
"""Per measure, a number for each response of a session; None where it was not scored, or there is none."""


@dataclass(frozen=True)
class ViewedSession:
    """A session to show: its text before, between and after the responses, these, and what models give them.

    ``models``: the measures of the base model, where there is one, and of the model. Each has ``nll`` (nats) and may
    have ``entropy`` (nats), ``n_options`` and ``option_nll`` (nats). ``options``: what could have been answered.
    """

    study: str
    experiment: str
    participant: str
    segments: tuple[str, ...]
    responses: tuple[str, ...]
    models: tuple[Measures, ...]
    options: tuple[tuple[str, ...] | None, ...] = ()

    def means(self) -> tuple[int, list[float | None]]:
        """Mean NLL by model, over the responses that all of them scored, and how many these are."""
        by_response = list(zip(*(measures["nll"] for measures in self.models), strict=True))
        known = [[nll for nll in nlls if nll is not None] for nlls in by_response if None not in nlls]
        if not known:
            return 0, [None] * len(self.models)
        return len(known), [round(sum(nlls) / len(known), 4) for nlls in zip(*known, strict=True)]

    def as_data(self) -> dict[str, Any]:
        """The session as the page reads it; equal sets of options are written once."""
        sets = {offered: number for number, offered in enumerate(dict.fromkeys(o for o in self.options if o))}
        return {
            "segments": self.segments,
            "responses": self.responses,
            "models": [{name: [_short(v) for v in values] for name, values in one.items()} for one in self.models],
            "sets": list(sets),
            "options": [sets.get(offered, -1) if offered else -1 for offered in self.options],
        }


@dataclass(frozen=True)
class Chunk:
    """Some sessions as JSON, and the name of the script that holds them where they do not stand in the page."""

    name: str
    content: str

    @property
    def script(self) -> str:
        """The file beside the page."""
        return f"viewChunk({json.dumps(self.name)}, {self.content});\n"


def chunks_of(sessions: Sequence[ViewedSession]) -> list[tuple[Chunk, int]]:
    """Sessions in their order, cut into chunks; with each how many it holds."""
    found: list[tuple[Chunk, int]] = []
    texts: list[str] = []
    size = 0
    for session in sessions:
        text = _json(session.as_data())
        if texts and size + len(text) > CHUNK_CHARACTERS:
            found.append((_chunk(len(found), texts), len(texts)))
            texts, size = [], 0
        texts.append(text)
        size += len(text)
    if texts:
        found.append((_chunk(len(found), texts), len(texts)))
    return found


def view_page(
    models: Sequence[str],
    sessions: Sequence[ViewedSession],
    chunks: Sequence[tuple[Chunk, int]],
    worst: Sequence[tuple[int, int]],
    note: str,
    folder: str | None,
) -> str:
    """The page.

    Parameters
    ----------
    models
        Names, the base model first where there are two.
    sessions, chunks
        What is shown, and the same as data.
    worst
        Session and response, from 0, in the order in which they are listed.
    note
        What is said above all: of how many sessions these are.
    folder
        Where the chunks' scripts lie, relative to the page; None: they stand in the page.
    """
    studies = list(dict.fromkeys(session.study for session in sessions))
    places = [(number, place) for number, (_, n) in enumerate(chunks) for place in range(n)]
    index = {
        "models": [shown(model) for model in models],
        "studies": [shown(study) for study in studies],
        "folder": folder,
        "chunks": [chunk.name for chunk, _ in chunks],
        "scales": [_scale([one for one in sessions if one.study == study]) for study in studies],
        "sessions": [
            [
                *(studies.index(one.study), shown(one.experiment), shown(one.participant)),
                *(len(one.responses), *place, n_known, *means),
            ]
            for one, place in zip(sessions, places, strict=True)
            for n_known, means in [one.means()]
        ],
        "worst": [
            [number, response, shown(sessions[number].responses[response][:80])]
            + [_short(measures["nll"][response]) for measures in sessions[number].models]
            for number, response in worst
        ],
    }
    inline = [] if folder else [chunk for chunk, _ in chunks]
    return (
        page_environment()
        .get_template("view.html.jinja")
        .render(index=_json(index), chunks=inline, models=models, note=note, studies=studies, version=__version__)
    )


def frame_html(page: str, height: int = 720) -> str:
    """A whole page within a notebook's, which can neither read it nor be changed by it."""
    return (
        f'<iframe title="Sessions and their NLLs" sandbox="allow-scripts" srcdoc="{escape(page)}" '
        f'style="width: 100%; height: {height}px; border: 1px solid #ddd"></iframe>'
    )


def _scale(sessions: Sequence[ViewedSession]) -> list[float]:
    """Where the colours of a study's NLLs and of its differences end: 95 % of the responses are below."""
    pairs = [pair for one in sessions for pair in zip(*(m["nll"] for m in one.models), strict=True)]
    known = [[nll for nll in pair if nll is not None] for pair in pairs if None not in pair]
    ends = (sorted(pair[-1] for pair in known), sorted(abs(pair[-1] - pair[0]) for pair in known))
    return [round(max(values[int(0.95 * (len(values) - 1))], 0.1), 4) if values else 1.0 for values in ends]


def _chunk(number: int, texts: Sequence[str]) -> Chunk:
    return Chunk(f"{number:04d}", f"[{','.join(texts)}]")


def _json(content: object) -> str:
    """JSON that may stand within a script of a page: no ``<``, ``>`` or ``&``, and only ASCII."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
