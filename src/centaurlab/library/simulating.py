"""A model and people into sessions that the model answered, and how far these are from people's."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from centaurlab.data.files import SIMULATED
from centaurlab.data.source import DataArguments
from centaurlab.library.options import of_kind, options_of
from centaurlab.library.people import People, load
from centaurlab.models.arguments import ModelArguments
from centaurlab.runs.integrity import FILES, check_file, check_unchanged, read_json
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.simulation.arguments import SimulateArguments

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from centaurlab.analyses.analysis import Finding
    from centaurlab.library.people import Sessions


_TABLE = "simulated.parquet"


@dataclass(frozen=True)
class Simulation:
    """Sessions that a model answered in the place of people; ``folder`` lasts as long as this object if temporary."""

    folder: Path
    record: dict[str, Any] = field(init=False, compare=False)
    """What ``run.json`` says: model, seed, what became of each study, provenance."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "record", read_json(self.folder / "run.json"))

    def check(self) -> None:
        """Raise ``UserError`` where another simulation has written the folder anew."""
        check_unchanged(self.folder / _TABLE, self.record.get(FILES, {}).get(_TABLE))

    @property
    def people(self) -> People:
        """The sessions, for ``score``, ``train`` and whatever else takes people."""
        self.check()
        return load(self.folder / SIMULATED)

    def table(self) -> "pd.DataFrame":
        """A row per answer: who, which, the answer, its probability, and what the model gave to no option (nats)."""
        import pandas as pd

        self.check()
        check_file(self.folder / _TABLE)
        return pd.read_parquet(self.folder / _TABLE)

    def __repr__(self) -> str:
        return f"Simulation({self.record['model']['name']}: {self.record['verdict']}; {self.folder})"


def simulate(
    model: str | Path, people: "Sessions | People" = "starter", folder: str | Path | None = None, **options: Any
) -> Simulation:
    """Let a model answer people's sessions anew, its own answers in the history.

    Parameters
    ----------
    model : str or path
        A hub id, a folder, a GGUF file, an adapter, or ``"gemma-3-270m"``.
    people : People, or whatever load takes
        Whose sessions.
    folder : str or path, optional
        Where the sessions go; by default a temporary folder, which ends with the result.
    **options
        Those of ``centaurlab simulate --help``: ``replicates``, ``seed``, ``temperature``, ``yoked`` and others.

    Returns
    -------
    Simulation
        With ``people``, ``table()``, ``record`` and ``folder``.

    Raises
    ------
    UserError
        For whatever can be mended; ``IncompleteError`` where some sessions could not be simulated, the others are.

    Examples
    --------
    >>> acted = cl.simulate(model, sessions, replicates=2)
    note: slots: no module that reads the text says whether it answers what was done; what is told is the person's
    >>> acted.people
    People('simulated.jsonl.gz': 1 study, 4 sessions, 8 responses)
    >>> acted.table()[["participant", "response", "n_options"]].head(2).to_dict("records")
    [{'participant': 'p1#r1', 'response': 0, 'n_options': 2}, {'participant': 'p1#r1', 'response': 1, 'n_options': 2}]
    """
    from centaurlab.simulation.run import simulate as run

    kinds = (ModelArguments, SimulateArguments, DataArguments, TrackingArguments)
    given = options_of(options, *kinds, but=("model_name_or_path", "output_dir", "data"))
    with ExitStack() as kept:
        if folder is None:
            folder = kept.enter_context(tempfile.TemporaryDirectory(prefix="centaurlab-simulated-"))
        place = Path(folder)
        run(
            ModelArguments(str(model), **of_kind(given, ModelArguments)),
            load(people, **of_kind(given, DataArguments)).kept_in(place),
            SimulateArguments(str(place), **of_kind(given, SimulateArguments)),
            TrackingArguments(**{"report_to": ["none"]} | of_kind(given, TrackingArguments)),
        )
        simulation = Simulation(place)
        finalize(simulation, kept.pop_all().close)
    return simulation


@dataclass(frozen=True)
class Fidelity:
    """How far simulated behaviour is from people's, beside what two halves of the people are apart."""

    finding: "Finding"

    @property
    def verdict(self) -> str:
        """On how many axes each system differs from people, and what became of effects."""
        return str(self.finding.record["verdict"])

    def table(self, name: str = "fidelity") -> "pd.DataFrame":
        """Distances by system, study and axis; or ``effects_behaviour``, ``agreement``, ``behaviour``, ``gap``."""
        return self.finding.tables[f"{name}.csv"]

    def plot(self, name: str = "fidelity") -> "Figure":
        """A figure: ``fidelity``, ``curves``, ``stay``, ``marginals``, ``spread``, ``effects`` or ``gap``."""
        return self.finding.figures[name]

    def __repr__(self) -> str:
        return f"Fidelity({self.verdict})"


def fidelity(
    people: "Sessions | People",
    simulated: "Simulation | str | Path | Sequence[Simulation | str | Path]",
    scores: "Sequence[str | Path] | None" = None,
    permutations: int = 999,
    resamples: int = 2000,
    seed: int = 0,
) -> Fidelity:
    """Hold simulated behaviour against people's.

    Parameters
    ----------
    people : People, or whatever load takes
        The people.
    simulated : Simulation or path, or several
        What ``simulate`` gives, or sessions that another system made.
    scores : paths, optional
        Folders of scores of the same models on people's sessions: do NLLs rank models as behaviour does?
    permutations, resamples, seed : int
        Of p values and intervals.

    Returns
    -------
    Fidelity
        With ``verdict``, ``table()`` and ``plot()``.

    Raises
    ------
    UserError
        Where simulated people are of studies that ``people`` has not.

    Examples
    --------
    >>> cl.fidelity(sessions, cl.simulate(model, sessions), permutations=19, resamples=20).table()["axis"].tolist()
    note: slots: no module that reads the text says whether it answers what was done; what is told is the person's
    ['marginal', 'dynamics', 'individuals']
    """
    from centaurlab.analyses.fidelity import FidelityArguments, find_fidelity
    from centaurlab.stats.arguments import EstimateArguments

    several = [simulated] if isinstance(simulated, Simulation | str | Path) else simulated
    for one in (one for one in several if isinstance(one, Simulation)):
        one.check()
    places = [str(one.folder if isinstance(one, Simulation) else one) for one in several]
    with tempfile.TemporaryDirectory(prefix="centaurlab-people-") as place:
        data = load(people).kept_in(Path(place))
        folders = [str(folder) for folder in scores] if scores is not None else None
        asked = FidelityArguments(data.data, places, place, folders, permutations, data.study_module)
        return Fidelity(find_fidelity(asked, EstimateArguments(resamples=resamples, seed=seed), data))
