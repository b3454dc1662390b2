"""A configuration into a trained adapter, and finished runs into a page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from centaurlab.library.options import plain_value
from centaurlab.library.scores import Scores
from centaurlab.library.simulating import Simulation
from centaurlab.runs.integrity import read_json
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    Finished: TypeAlias = "str | Path | Scores | Simulation | Trained"
    """What a report is on."""


@dataclass(frozen=True)
class Trained:
    """An adapter in its folder, with what training changed on held-out people."""

    folder: Path

    def held_out(self) -> "pd.DataFrame":
        """Per study, mean NLL (nats per response) of the people held out of training, before and after."""
        import pandas as pd

        about = read_json(self.folder / "run.json")
        return pd.DataFrame(about["held_out"])

    def _repr_html_(self) -> str:
        return f"<p>Adapter in {self.folder}</p>{self.held_out().to_html(index=False)}"


def train(config: str | Path | Mapping[str, Any], **options: Any) -> Trained:
    """Train a Centaur in this process, as ``centaurlab train`` does; an interrupted run is continued.

    Parameters
    ----------
    config : str, path or mapping
        A YAML file, such as ``"recipes/configs/gemma-3-270m-starter.yaml"``, which comes with the package; or the
        options themselves.
    **options
        Options that win over those of ``config``: ``output_dir``, ``max_steps``, ``data`` and whatever else
        ``centaurlab train --help_all`` lists.

    Returns
    -------
    Trained
        With ``folder``, which ``score`` takes for a model, and ``held_out()``.

    Raises
    ------
    UserError
        For whatever can be mended.
    """
    from centaurlab.jobs.train import COMMAND

    assert COMMAND.all_arguments, "training takes TRL's options"
    given = dict(config) if isinstance(config, Mapping) else {}
    words = [] if isinstance(config, Mapping) else ["--config", str(config)]
    given = {name: plain_value(name, value) for name, value in (given | options).items()}
    parsed = parse_arguments(COMMAND.all_arguments(), COMMAND.description, words, given=given)
    COMMAND.run(*parsed)
    return Trained(Path(parsed[1].output_dir))


def report(
    folders: "Finished | Sequence[Finished]",
    output: str | Path = "report.html",
    format: Literal["html", "markdown"] = "html",
) -> Path:
    """Write a page on finished runs: question, answer with its interval, figures, tables, commands.

    Parameters
    ----------
    folders : str, path, Scores, Simulation or Trained, or several
        Finished runs, or their folders.
    output : str or path
        The file to write.
    format : str
        ``"html"``, one file with everything in it, or ``"markdown"``, with its figures beside it.

    Returns
    -------
    Path
        ``output``.

    Raises
    ------
    UserError
        For what is no finished run or its folder, scores of different data, and a full disk.
    """
    from centaurlab.reporting import write_report

    if format not in ("html", "markdown"):
        raise UserError(f"the format is {format!r}; choose html or markdown")
    several = folders if isinstance(folders, Iterable) and not isinstance(folders, str) else [folders]
    write_report(list(map(_folder, several)), Path(output), format)
    return Path(output)


def _folder(run: object) -> Path:
    if isinstance(run, str | Path):
        return Path(run)
    if isinstance(run, Scores | Simulation | Trained):
        return run.folder
    raise UserError(
        f"what is a {type(run).__name__} has no folder to report on; name those of finished runs, such as the "
        "--output_dir of 'centaurlab misalignment'"
    )
