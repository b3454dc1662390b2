"""A model and people into scores, as an object to look at and to compare."""

import tempfile
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from centaurlab.data.source import DataArguments
from centaurlab.library.options import of_kind, options_of
from centaurlab.library.people import People, load
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.record import ScoreRecord
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.results.table import ITEM
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoreArguments

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from centaurlab.library.people import Sessions
    from centaurlab.models.loaded import LoadedModel

_TAKEN = ("model_name_or_path", "output_dir", "data")


@dataclass(frozen=True)
class Scores:
    """A finished run of scoring: one NLL per response, and what the run says of itself."""

    run: ScoreRun

    @property
    def folder(self) -> Path:
        """Where the scores are; a temporary folder lasts as long as this object."""
        return self.run.folder

    @property
    def record(self) -> ScoreRecord:
        """Model, data, protocol, coverage, speed and provenance, as ``run.json`` has them."""
        return self.run.record

    def table(self) -> "pd.DataFrame":
        """A row per response: study, experiment, participant, response, n_tokens, nll (nats), and the other columns."""
        import pandas as pd

        table = self.run.table(if_there=(ITEM,))
        found: pd.DataFrame = table.drop_columns([ITEM]).to_pandas()
        found[ITEM] = pd.array(table.column(ITEM).to_pylist(), "Int64")  # NaN for null would round the numbers
        return found

    def means(self, resamples: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """Mean NLL (nats per response) and accuracy over all studies and of each, with 95 % intervals.

        Examples
        --------
        >>> list(cl.score(model, sessions).means().columns)[:4]
        ['study', 'nll', 'nll_low', 'nll_high']
        """
        import pandas as pd

        from centaurlab.stats.means import MEAN_COLUMNS, mean_nlls

        return pd.DataFrame(
            {"study": mean.name}
            | {"nll": mean.nll.value, "nll_low": mean.nll.low, "nll_high": mean.nll.high}
            | {"accuracy": mean.accuracy.value, "accuracy_low": mean.accuracy.low, "accuracy_high": mean.accuracy.high}
            | {"responses": mean.n_responses, "people": mean.n_participants}
            for mean in mean_nlls(self.run.table(MEAN_COLUMNS), resamples, seed)
        )

    def __repr__(self) -> str:
        mean = self.record.nll_mean
        said = "no response could be scored" if mean is None else f"mean NLL {mean:.3f} nats per response"
        return f"Scores({self.run.model} on {self.record.data.name}: {said}; {self.folder})"

    def _repr_html_(self) -> str:
        from centaurlab.analyses.scores import run_table
        from centaurlab.display.notebook import table_html

        return table_html(run_table(self.record))


def score(
    model: "str | Path | PreTrainedModel",
    people: "Sessions | People" = "starter",
    folder: str | Path | None = None,
    tokenizer: "PreTrainedTokenizerFast | None" = None,
    **options: Any,
) -> Scores:
    """Score every response of people with a model; what is in the folder already is not computed again.

    Parameters
    ----------
    model : str, path or PreTrainedModel
        A hub id, a folder, a GGUF file, an adapter, or ``"gemma-3-270m"``; or a model in memory, with its tokenizer.
        Of the latter, dtype, quantisation and device are what they are, and nobody knows whom it was trained on.
    people : People, or whatever load takes
        Whose responses.
    folder : str or path, optional
        Where the scores go; by default a temporary folder, which ends with the result.
    tokenizer : PreTrainedTokenizerFast, optional
        Of a model in memory.
    **options
        Those of ``centaurlab score --help``: ``protocol``, ``max_length``, ``dtype``, ``load_in_4bit``, ``precision``,
        ``adapter_name_or_path``, ``max_participants``, ``report_to`` (here none by default) and others.

    Returns
    -------
    Scores
        With ``table()``, ``means()``, ``record`` and ``folder``.

    Raises
    ------
    UserError
        For whatever can be mended; ``IncompleteError`` where some sessions could not be scored, the others are.

    Examples
    --------
    >>> base = cl.score(model, sessions)
    >>> base.table()[["participant", "response", "n_tokens"]].head(2).to_dict("records")
    [{'participant': 'p1', 'response': 0, 'n_tokens': 1}, {'participant': 'p1', 'response': 1, 'n_tokens': 1}]
    """
    from centaurlab.scoring.run import measure

    loaded = _loaded(model, tokenizer)
    kinds = (ScoreArguments, DataArguments, TrackingArguments, *(() if loaded else (ModelArguments,)))
    given = options_of(options, *kinds, but=_TAKEN)
    with ExitStack() as kept, loaded.lent() if loaded else nullcontext():
        if folder is None:
            folder = kept.enter_context(tempfile.TemporaryDirectory(prefix="centaurlab-scores-"))
        place = Path(folder)
        measure(
            loaded.arguments if loaded else ModelArguments(str(model), **of_kind(given, ModelArguments)),
            load(people, **of_kind(given, DataArguments)).kept_in(place),
            ScoreArguments(str(place), **of_kind(given, ScoreArguments)),
            TrackingArguments(**{"report_to": ["none"]} | of_kind(given, TrackingArguments)),
            loaded=loaded,
        )
        scores = Scores(read_run(place))
        finalize(scores, kept.pop_all().close)
    return scores


def _loaded(model: object, tokenizer: object) -> "LoadedModel | None":
    """The model, where it is in memory and not named."""
    if isinstance(model, str | Path):
        if tokenizer is not None:
            raise UserError(f"a tokenizer goes with a model in memory; {model} is scored with its own")
        return None
    from centaurlab.models.loaded import loaded_model

    return loaded_model(model, tokenizer)


def read(folder: str | Path) -> Scores:
    """Read a finished folder of scores; ``UserError`` where there is none, or it is damaged."""
    return Scores(read_run(Path(folder)))
