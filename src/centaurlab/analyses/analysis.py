"""What every analysis is: options and scores into a finding, and a finished run into a section of the report.

An analysis computes and draws; the frame of jobs (``jobs/job.py``) parses, scores what is missing, locks, tracks,
writes and prints. So a new analysis is one file of this package with an ``ANALYSIS``, and a line in ``ANALYSES``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from centaurlab.display.tables import Table
from centaurlab.results.run import ScoreRun
from centaurlab.stats.arguments import EstimateArguments

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from centaurlab.analyses.finished import Run
    from centaurlab.display.section import Section

Options = TypeVar("Options")
"""The dataclass of an analysis' own options; it has an ``output_dir``."""


@dataclass(frozen=True)
class Finding:
    """What an analysis found, before any of it is written.

    ``tables`` by the name of their file (``.csv`` or ``.parquet``), ``figures`` by their stem; ``record`` joins
    ``run.json`` and states a ``verdict`` or ``overall``; ``metrics`` by step (None: of the whole run), NLLs in nats;
    ``shown`` is printed in this order.
    """

    tables: Mapping[str, "pd.DataFrame"]
    record: Mapping[str, Any]
    figures: Mapping[str, "Figure"] = field(default_factory=dict)
    metrics: Sequence[tuple[int | None, Mapping[str, float]]] = ()
    shown: Sequence[Table | str] = ()


@dataclass(frozen=True)
class Analysis(Generic[Options]):
    """One question: its options, what is scored for it, what it computes and how a report shows it.

    ``description`` is the text of ``--help``, with examples. ``models`` gives the models, or folders of scores, that it
    is about; ``compute`` gets their score runs by these names. Analyses that score in another way than each model once
    on the same sessions leave both to a plan in ``jobs/``. ``all_logits``: whether it rests on what temperatures make
    of NLLs, which other engines do not say.
    """

    name: str
    description: str
    arguments: type[Options]
    section: "Callable[[Run], Section]"
    models: Callable[[Options], Sequence[str]] | None = None
    compute: Callable[[Options, EstimateArguments, Mapping[str, ScoreRun]], Finding] | None = None
    all_logits: bool = False
