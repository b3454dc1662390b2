"""The folders of finished runs: what they say of themselves, where it comes from, and what makes them again."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from centaurlab.display.figures.style import rendered
from centaurlab.display.section import INTERVALS, ReportFigure, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.runs.addresses import addresses
from centaurlab.runs.csv_table import read_csv
from centaurlab.runs.folder import WRITTEN, is_run, read_config
from centaurlab.runs.integrity import UnfinishedError, check_asked, check_file, check_metrics, check_there, read_json
from centaurlab.runs.provenance import as_typed
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say
from centaurlab.stats.sequential import sample_note
from centaurlab.stats.words import INTERVAL, NEW_PEOPLE, STUDIES_LIKE_THESE, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its ``run.json`` and its ``config.json``."""

    folder: Path
    about: dict[str, Any]
    config: dict[str, Any]

    @property
    def job(self) -> str:
        """``score``, ``misalignment``, ``generalisation``, ``train`` or another."""
        return str(self.about["job"])

    @property
    def written(self) -> list[str] | None:
        """The tables and figures that the run wrote itself; None where it does not say, as runs of older versions."""
        known = self.about.get(WRITTEN)
        return known if isinstance(known, list) else None

    def wrote(self, path: Path) -> bool:
        """Whether the run wrote a file of its folder, as far as it says: others are an earlier call's, or anybody's."""
        return self.written is None or path.relative_to(self.folder).as_posix() in self.written


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The finished runs in these folders or, of a folder that is none, those right below it, each once.

    Raises ``UserError`` for what is no folder, a run that is named and not finished, and a folder without finished
    runs; of several right below a folder, one that is not finished is noted on stderr and left out.
    """
    runs: dict[Path, Run] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"there is no folder {path}; name the folder of a run (its --output_dir)")
        found = [_read(path)] if is_run(path) else [*_finished_below(path)]
        if not found:
            raise UserError(
                f"{path} holds no finished run, nor do the folders right below it; name a run's --output_dir"
            )
        for run in found:
            runs.setdefault(run.folder.resolve(), run)
    return list(runs.values())


def _finished_below(path: Path) -> Iterator[Run]:
    for folder in filter(is_run, sorted(path.glob("*/"))):
        try:
            yield _read(folder)
        except UnfinishedError as error:
            say(f"note: left out: {error}", is_error=True)


def score_runs_of(run: Run) -> tuple[dict[str, Run], tuple[str, ...]]:
    """What the runs that scored a comparison's models say of themselves, by model, and a sentence on those that lack.

    The scores themselves need not be there. Left out is a model whose folder has gone, or holds by now another model's
    scores or those of other sessions.
    """
    found, gone = {}, []
    for model in run.about.get("models", []):
        folder, name = Path(str(model.get("folder", ""))), str(model.get("name"))
        places = (folder, run.folder / "scores" / folder.name)
        scored = next((place for place in places if read_json(place / "run.json").get("job") == "score"), None)
        about = read_json(scored / "run.json") if scored else {}
        if scored and _is_of(about, model, run.about):
            found[name] = Run(scored, about, {})
        else:
            gone.append(f"{name} ({scored} holds scores of another model or of other data by now)" if scored else name)
    said = f"The scores of {', '.join(gone)} are not at hand: their coverage and commands are not shown."
    return found, (said,) if gone else ()


def _is_of(scores: Mapping[str, Any], model: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a run of scoring is the one of ``model`` that a comparison read."""
    if scores["model"].get("fingerprint") != model.get("fingerprint"):
        return False
    if "data" in model:
        return bool(scores["data"].get("fingerprint") == model["data"])
    return _fingerprints(scores).items() <= _fingerprints(about).items()  # of an older version


def _fingerprints(about: Mapping[str, Any]) -> dict[str, Any]:
    data = about.get("data")
    studies = data.get("studies", {}) if isinstance(data, Mapping) else {}
    return {study: known.get("fingerprint") for study, known in studies.items()}


def command(run: Run) -> str:
    """What made the run, as typed in a shell: the command, or in a checkout a script of it."""
    return as_typed(run.about.get("command") or [])


def facts_of(run: Run) -> list[tuple[str, str]]:
    """Names and values: folder, models with fingerprints, data, protocol, commit, versions, machine, time."""
    about = run.about
    git, hardware = about.get("git") or {}, about.get("hardware") or {}
    data = about.get("data")
    facts = [("folder", str(run.folder))]
    facts += [("model", _model(model)) for model in _models(about)]
    if isinstance(data, Mapping):
        facts.append(("data", f"{data.get('name')}, fingerprint {data.get('fingerprint')}"))
        facts += [("note on the data", str(note)) for note in data.get("notes") or []]
    else:
        facts.append(("data", str(data or run.config.get("data", "?"))))
    if sampled := sample_note(about):
        facts.append(("sample", sampled))
    protocols = [p for p in [about.get("protocol"), *(model.get("protocol") for model in _models(about))] if p]
    said = dict.fromkeys(_protocol(protocol) for protocol in protocols)
    facts += [("protocol", text) for text in said]
    if about.get("bootstrap"):
        b = about["bootstrap"]
        facts.append(("intervals", f"{percent(b['confidence'])}, {b['resamples']:,} resamples, seed {b['seed']}"))
    dirty = ", with changes that were not committed" if git.get("dirty") else ""
    facts.append(("commit", f"{git['commit']}{dirty}" if git.get("commit") else "not run from a checkout"))
    versions = {"centaurlab": about.get("centaurlab"), **(about.get("versions") or {})}
    facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if hardware:
        gpus = ", ".join(hardware.get("gpus") or []) or "no GPU"
        memory = hardware.get("memory_bytes", 0) / 2**30
        facts.append(("machine", f"{hardware.get('platform')}, {hardware.get('cpus')} CPUs, {memory:.0f} GiB, {gpus}"))
    facts.append(("time", str(about.get("time", "?"))))
    return facts + [(f"in {tracker}", page) for tracker, page in addresses(run.folder).items()]


def _protocol(about: Mapping[str, Any]) -> str:
    window = about.get("max_tokens")  # None: of a model that reads no tokens
    return str(about.get("name")) + (f", at most {window:,} tokens" if window else "")


def _models(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    models = about.get("models") or [about.get("model") or about.get("base")]
    return [model for model in models if isinstance(model, Mapping) and "fingerprint" in model]


def _model(model: Mapping[str, Any]) -> str:
    adapter = f", adapter {model['adapter']}" if model.get("adapter") else ""
    return f"{model.get('name')}{adapter}, {model.get('dtype')}, fingerprint {model['fingerprint']}"


def _read(folder: Path) -> Run:
    about = read_json(folder / "run.json")
    if "job" not in about:
        reason = "it has no complete run.json"
        raise UnfinishedError(f"the run in {folder} is not finished ({reason}); give its command again")
    check_asked(folder)
    check_metrics(folder)
    run = Run(folder, about, read_config(folder))
    shown = [name for name in run.written or () if Path(name).suffix in (".csv", ".png")]
    check_there(folder, [glob.escape(name) for name in shown])
    return run


_OWN = frozenset({"diagnosis", "excluded", "personas", "templates", "audit"})
"""Tables that a section shows in its own way."""


def _sentence(verdict: str) -> str:
    return f"{verdict[:1].upper()}{verdict[1:]}."


def read_table(run: Run, name: str) -> pd.DataFrame:
    """The table ``name``.csv of a run's folder; ``UserError`` where it is missing or damaged."""
    path = run.folder / f"{name}.csv"
    try:
        return read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); give the run's command again") from error


def has_table(run: Run, name: str) -> bool:
    """Whether the run wrote a table ``name``.csv."""
    path = run.folder / f"{name}.csv"
    return path.exists() and run.wrote(path)


_MEANS = f"with {INTERVAL}s; of a mean, thin: {STUDIES_LIKE_THESE}, thick: {NEW_PEOPLE}; filled"
_ZERO = f"{_MEANS}: excludes zero."
_CAPTIONS = {
    "diagnosis/parts": f"What the difference of the NLL consists of, in nats per choice, {_MEANS}: q < .05.",
    "personas/personas": f"d(no persona − own persona) of each model over all studies, with {INTERVAL}s.",
    "personas/comparisons": f"d of every comparison over all studies, {_ZERO}",
    "templates/templates": f"Mean NLL without and with the chat template, with {INTERVAL}s; grey: models of the paper.",
    "templates/studies": f"d of each study, {_MEANS}: q < .05.",
    "learning/slopes": f"Change of the NLL per doubling of the trial number, {_MEANS}: q < .05.",
    "learning/curves": f"NLL by trial number, in nats per response, with {INTERVAL}s.",
    "fidelity/fidelity": "Distance of simulated people from people, over that of people from each other; filled: more.",
    "fidelity/curves": "How often what people answer most is answered in each eighth of a session.",
    "fidelity/stay": "How often a choice is made again after a reward and after none.",
    "fidelity/marginals": "Share of each answer at each item, of people and of simulated people.",
    "fidelity/spread": "SD of simulated people over SD of people; below 1, simulated people are too alike.",
    "fidelity/effects": "Each effect of simulated people minus that of people, over what two halves of the people stay "
    "within; grey: that.",
    "fidelity/gap": "Distance of simulated people over that of people from one another, against the NLL of people.",
    "shortcuts/costs": f"Nats per response that each condition costs, {_ZERO}",
    "shortcuts/shares": f"Share of what is predicted beyond chance that is left in a condition, {_ZERO}",
    "shortcuts/task_use": f"What swapped options cost in each study, in nats per response, {_ZERO}",
    "contamination/advantage_letters": f"Nats per session by which published letters are likelier, {_ZERO}",
    "contamination/advantage_order": f"Nats per session by which the published order is likelier, {_ZERO}",
    "realignment/curves": f"NLL of held-out people by number of people learned from, with {INTERVAL}s for new people.",
    "ceiling/ceiling": "NLL of each model between chance (circle) and the best that can be reached (grey).",
    "frontier/frontier": f"Assistant accuracy and human-likeness of models, with {INTERVAL}s; filled: on the frontier.",
    "trajectory/trajectory": "d against the base model by step of post-training, over all studies and in each.",
}
"""Captions by job and file name."""

_OWN_of_jobs = frozenset({"effects", "lost", "studies", "nats", "forest", "pairs", "domains", "gains"})
"""Files of which a section makes tables and figures of its own."""


def any_section(run: Run) -> Section:
    """A job without a section of its own: its verdict, if it wrote one, its figures and its tables."""
    overall = run.about.get("overall")
    said = run.about.get("verdict") or (overall.get("verdict") if isinstance(overall, dict) else None)
    return Section(
        title=f"{run.job.capitalize()}: {run.folder.name}",
        question=f"What did the {run.job} run find?",
        answers=(f"{said}.",) if said else (),
        explanation=(INTERVALS,),
        figures=folder_pictures([run]),
        tables=folder_tables([run]),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


def _figure(name: str, caption: str, figure: "Figure") -> ReportFigure:
    return ReportFigure(name, caption, "svg", rendered(figure, "svg"))


_COVERAGE = ("sessions", "responses", "scored", "cut", "empty", "failed", "malformed", "images")
_COVERAGE_NOTE = (
    "cut: beyond the context window; failed: memory did not suffice for the session, or the model gave a NaN or "
    "infinite number; malformed: an opening mark of a response that is never closed; "
    "images: named in the text, and not shown to a model"
)


def coverage_tables(names: Sequence[str], runs: Sequence[Run]) -> list[Table]:
    """What became of every response that stands in the text; models of which the same is true share a table."""
    found: dict[str, tuple[list[str], pd.DataFrame]] = {}
    for name, run in zip(names, runs, strict=True):
        sessions = {study: about["sessions"] for study, about in run.about["data"]["studies"].items()}
        rows = [
            {"study": study, "sessions": sessions[study], "failed": 0, "images": 0} | counts
            for study, counts in run.about["coverage"].items()
        ]
        frame = pd.DataFrame(rows, columns=["study", *_COVERAGE])
        found.setdefault(frame.to_json(), ([], frame))[0].append(name)
    tables = [
        table_of(
            f"Coverage: {', '.join(same)}",
            pd.concat([frame[[*_COVERAGE]].sum().to_frame().T.assign(study="all studies"), frame]),
            {name: name for name in ("study", *_COVERAGE)},
            _COVERAGE_NOTE,
            n_summary=1,
        )
        for same, frame in found.values()
    ]
    return [
        replace(table, gist="every response was scored") if _is_whole(frame) else table
        for table, (_, frame) in zip(tables, found.values(), strict=True)
    ]


def _is_whole(frame: pd.DataFrame) -> bool:
    return not frame[["cut", "empty", "failed", "malformed"]].to_numpy().any()


def folder_tables(runs: Sequence[Run], but_not: frozenset[str] = frozenset()) -> tuple[Table, ...]:
    """The other tables that lie in the folders, such as ``diagnosis.csv``, each under the name of its file."""
    found = []
    for path in (path for run in runs for path in sorted(run.folder.glob("*.csv")) if run.wrote(path)):
        if path.stem in but_not:
            continue
        try:
            frame = read_csv(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as a table ({error}); delete it or make it again") from error
        found.append(table_of(_title(path.stem), frame))
    return tuple(found)


def folder_pictures(runs: Sequence[Run], but_not: frozenset[str] = frozenset()) -> tuple[ReportFigure, ...]:
    """The other figures that lie in the folders as PNG."""
    found = [(run, run.folder.glob(pattern)) for run in runs for pattern in ("*.png", "figures/*.png")]
    paths = [(run.job, path) for run, of_run in found for path in sorted(of_run) if run.wrote(path)]
    for _, path in paths:
        check_file(path)
    return tuple(
        ReportFigure(path.stem, _caption(job, path.stem), "png", path.read_bytes())
        for job, path in paths
        if path.stem not in but_not
    )


def _caption(job: str, stem: str) -> str:
    return _CAPTIONS.get(f"{job}/{stem}") or f"{_title(stem)}."


def _title(stem: str) -> str:
    words = stem.replace("_", " ").replace("nll", "NLL")
    return words[:1].upper() + words[1:]
