"""Sessions with the NLL of every response, in a notebook."""

from dataclasses import dataclass
from pathlib import Path

from centaurlab.display.view import chunks_of, frame_html, view_page
from centaurlab.jobs.view import model_names, viewed, worst_responses
from centaurlab.library.scores import Scores, read


@dataclass(frozen=True)
class View:
    """A page of sessions, which a notebook shows; ``save`` writes it as a file."""

    page: str
    note: str

    def save(self, path: str | Path) -> Path:
        """Write the page, one file that loads nothing, and return where it is."""
        Path(path).write_text(self.page, encoding="utf-8", errors="replace")
        return Path(path)

    def __repr__(self) -> str:
        return f"View({self.note})"

    def _repr_html_(self) -> str:
        return frame_html(self.page)


def view(scores: Scores | str | Path, base: Scores | str | Path | None = None, max_sessions: int | None = 100) -> View:
    """Show scored sessions as text, every response coloured by its NLL; nothing leaves the machine.

    Parameters
    ----------
    scores, base : Scores, or a folder of scores
        Whose NLLs; with ``base`` those of another model on the same sessions beside them, and the differences.
    max_sessions : int, optional
        At most so many, evenly from the studies, since a notebook keeps what it shows; None: all.

    Returns
    -------
    View
        Shows itself in a notebook; ``save(path)`` writes the page.

    Raises
    ------
    UserError
        Where the two were not scored on the same sessions, or the data have changed since.

    Examples
    --------
    >>> cl.view(cl.score(model, sessions))
    View(2 sessions of 1 study (...sessions-...jsonl.gz, protocol full))
    """
    runs = [(one if isinstance(one, Scores) else read(one)).run for one in (base, scores) if one is not None]
    sessions, note = viewed(runs, max_sessions)
    page = view_page(model_names(runs), sessions, chunks_of(sessions), worst_responses(sessions), note, None)
    return View(page, note)
