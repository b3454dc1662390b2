"""The story in one command: score a base model, post-train it, see what that does, win people back, and report.

Each step is a command that a user could type; it is printed before it runs. A step that has ended with the same
command, and whose folder is there, is not run again unless one before it is; one that was cut off goes on where it
stopped, as the command itself does.
"""

import atexit
import json
import multiprocessing
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.console import Console

from centaurlab.cli.main import main
from centaurlab.data.files import list_files
from centaurlab.data.source import DataArguments, open_source
from centaurlab.jobs.command import Command
from centaurlab.models.digests import content_digest, fingerprint
from centaurlab.runs.integrity import RECORD, read_sound_json
from centaurlab.runs.mlflow_store import store_address
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say

_FINISHED = "demo.json"


DESCRIPTION = """Tell the story: score a base model, post-train it, compare, train a Centaur, judge it, report.

examples:
  centaurlab demo
  centaurlab demo --quick
  centaurlab demo --model Qwen/Qwen3-0.6B-Base --data my-studies/ --novel_studies stroop --output_dir runs/mine

With the usual model and data it takes ten minutes on two CPU cores, four with --quick. Every step is a command of its
own and is printed before it runs.
"""


@dataclass
class DemoArguments:
    """On what, and where to."""

    model: str = field(default="gemma-3-270m", metadata={"help": "a base model"})
    data: str = field(default="starter", metadata={"help": "transcripts, as everywhere"})
    novel_studies: str | None = field(
        default=None, metadata={"help": "of your own data: studies not to train on, comma separated"}
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "folder for all runs and report.html (default: runs/demo, runs/demo-quick)"}
    )
    quick: bool = field(default=False, metadata={"help": "fewer people and steps: only to see it run"})


@dataclass(frozen=True)
class Settings:
    """What the demo is run on. ``quick``: fewer people and training steps, to see that everything runs."""

    model: str
    data: str
    novel_studies: str | None
    output_dir: Path
    quick: bool


@dataclass(frozen=True)
class Step:
    """One command of the demo and its options."""

    title: str
    command: str
    options: Mapping[str, object]

    @property
    def folder(self) -> Path:
        """Where its run is."""
        return Path(str(self.options["output_dir"]))

    @property
    def arguments(self) -> list[str]:
        """The command and its options, as they are typed."""
        words = [self.command]
        for name, value in self.options.items():
            words += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
        return words


def steps(settings: Settings) -> list[Step]:
    """The commands of the demo, in order."""
    out = settings.output_dir
    model = {"model_name_or_path": settings.model}
    people = {"data": settings.data, "max_participants": 2 if settings.quick else 4}
    beginnings = {"max_length": 256} if settings.quick and settings.data == "starter" else {}
    people |= beginnings
    short = {"max_steps": 2, "save_steps": 2} if settings.quick else {}
    both = {"base": out / "base", "post": out / "post"}
    judged = tuple(
        f"{name}={out / 'generalisation' / f'{judged_on}-{name}'}"
        for name in ("base", "centaur")
        for judged_on in ("held_out", "novel")
    )
    return [
        Step(
            f"Score {settings.model}, a base model, on people: how probable did it find what each of them did?",
            "score",
            model | people | {"output_dir": out / "base"},
        ),
        Step(
            "Post-train it on questions with one right answer, as companies do to make an assistant",
            "posttrain",
            {"config": "recipes/configs/posttrain-gemma-3-270m.yaml"}
            | model
            | short
            | {"output_dir": out / "post-trained"},
        ),
        Step(
            "Score the post-trained model on the same people",
            "score",
            {"model_name_or_path": out / "post-trained"} | people | {"output_dir": out / "post"},
        ),
        Step(
            "Misalignment: does post-training predict people worse?",
            "misalignment",
            both | {"output_dir": out / "misalignment"},
        ),
        Step("Why: format, calibration or preference?", "diagnosis", both | {"output_dir": out / "diagnosis"}),
        Step(
            "Train a small Centaur: the base model again, this time on what people did",
            "train",
            _centaur(settings)
            | model
            | beginnings
            | (short | {"eval_steps": 2, "eval_participants": 1} if short else {})
            | {"output_dir": out / "centaur"},
        ),
        Step(
            "Generalisation: the Centaur on people and on studies that it never saw",
            "generalisation",
            {"base": settings.model, "adapter": out / "centaur"} | people | {"output_dir": out / "generalisation"},
        ),
        Step(
            "Is that good? What other people's answers, a person's own history and cognitive models predict",
            "baselines",
            {"data": settings.data, "adapter": out / "centaur", "participants": "test"}
            | {"max_participants": people["max_participants"], "models": judged, "output_dir": out / "baselines"},
        ),
        *_acting(settings),
    ]


def _acting(settings: Settings) -> list[Step]:
    """The models in people's place, in two studies of the starter set."""
    if settings.data != "starter":
        return []
    out = settings.output_dir
    models = {"base": settings.model, "post": out / "post-trained", "centaur": out / "centaur"}
    people = {
        "data": settings.data,
        "studies": "revelle2010personality,smith2018abortion",
        "participants": "test",
        "max_participants": 2 if settings.quick else 8,
    }
    who = {"base": "the base model", "post": "the post-trained model", "centaur": "the Centaur"}
    return [
        *(
            Step(
                f"Let {who[name]} answer in people's place, and go on from its own answers",
                "simulate",
                {"model_name_or_path": model} | people | {"output_dir": out / f"acting-{name}"},
            )
            for name, model in models.items()
        ),
        Step(
            "Hold what they did against what people do",
            "fidelity",
            {"people": settings.data, "simulated": tuple(out / f"acting-{name}" for name in models)}
            | {"output_dir": out / "fidelity"},
        ),
    ]


def next_steps(settings: Settings) -> list[Step]:
    """Commands to try after the demo, on what it has made."""
    out = settings.output_dir
    post = out / "post-trained"
    return [
        Step(
            "Follow the post-training, checkpoint by checkpoint",
            "trajectory",
            {"run": post, "data": settings.data, "max_participants": 4, "output_dir": out / "trajectory"},
        ),
        Step(
            "Win it back: train a Centaur on the post-trained model",
            "train",
            _centaur(settings) | {"model_name_or_path": post, "output_dir": out / "centaur-after"},
        ),
        Step(
            "Hold them against each other, as predictors of people and as assistants",
            "frontier",
            {"base": settings.model, "models": (f"post={post}", f"won_back={out / 'centaur-after'}")}
            | {"data": settings.data, "participants": "test", "max_participants": 4, "output_dir": out / "frontier"},
        ),
    ]


def run_demo(settings: Settings) -> None:
    """Run what is missing of the demo, write its report and print what was found.

    Raises ``UserError`` for studies that are not in the data, for data or a model other than the folder was begun with,
    and where a step fails.
    """
    if settings.data != "starter" and not settings.novel_studies:
        raise UserError("--data needs --novel_studies: studies of it to judge the Centaur by, not trained on")
    if settings.novel_studies:
        open_source(DataArguments(settings.data, studies=settings.novel_studies))  # raises where there is no such study
    record = settings.output_dir / _FINISHED
    begun_with = {"data": _identity(settings.data), "model": _identity_of_model(settings.model)}
    known = read_sound_json(record)
    for what, identity in begun_with.items():
        if known.get(what, identity) != identity:
            other = {"data": "other data", "model": "another model"}[what]
            raise UserError(f"{settings.output_dir} was begun with {other}; give another --output_dir")
    finished: list[list[str]] = known.get("finished", [])
    ran_anew = False
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    usual = DemoArguments()
    is_usual = (settings.model, settings.data) == (usual.model, usual.data)
    minutes = f": about {4 if settings.quick else 10} minutes on two CPU cores" if is_usual else ""
    console.print(f"{len(steps(settings))} steps and a report{minutes}. Interrupted, the same command goes on.")
    for number, step in enumerate(steps(settings), start=1):
        console.print(f"\n[bold]{number}. {step.title}[/bold]")
        say(f"   centaurlab {shlex.join(step.arguments)}")
        if step.arguments in finished and (step.folder / RECORD).exists() and not ran_anew:
            console.print("   done before", style="dim")
            continue
        started = time.monotonic()
        _run(step.arguments, group=settings.output_dir.name)
        ran_anew = True
        finished.append(step.arguments)
        record.write_text(json.dumps({**begun_with, "finished": finished}, indent=1))
        console.print(f"   {time.monotonic() - started:.0f} s", style="dim")
    _report(settings.output_dir, console)
    console.print("\n[bold]Next[/bold]")
    for step in next_steps(settings):
        say(f"{step.title}:")
        say(f"   centaurlab {shlex.join(step.arguments)}")
    print("Your own models and data: README.md")


def _identity(data: str) -> str:
    """The contents of files, which may change under their name; of other data the name."""
    path = Path(data).expanduser()
    if data == "starter" or not path.exists():
        return data
    return fingerprint({str(file.relative_to(path)): content_digest(file) for file in list_files(path).paths})


def _identity_of_model(model: str) -> str:
    """The contents of a file, or of the files of a folder, which may change; of a hub model the name."""
    path = Path(model).expanduser()
    files = [path] if path.is_file() else [file for file in path.glob("[!.]*") if file.is_file()]
    return fingerprint({file.name: content_digest(file) for file in files}) if files else model


def _centaur(settings: Settings) -> dict[str, object]:
    options: dict[str, object] = {"config": "recipes/configs/gemma-3-270m-starter.yaml", "data": settings.data}
    return options | ({"novel_studies": settings.novel_studies} if settings.novel_studies else {})


_IMPORTED = ("centaurlab.jobs.scoring", "centaurlab.training.posttrainers", "scipy.stats", "matplotlib.figure")
"""What steps have in common. To import it takes seconds; a process that is forked afterwards has it already."""


def _run(arguments: Sequence[str], group: str) -> None:
    step: BaseProcess
    if platform.system() == "Linux":
        forked = multiprocessing.get_context("forkserver")
        forked.set_forkserver_preload(list(_IMPORTED))
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        forkserver.ensure_running()  # Ctrl-C while it imports is no business of its own
        signal.signal(signal.SIGINT, before)
        step = forked.Process(target=_step, args=(tuple(arguments), group))
    else:
        step = multiprocessing.get_context("spawn").Process(target=_step, args=(tuple(arguments), group))
    step.start()
    step.join()
    if step.exitcode:
        raise UserError(
            f"centaurlab {arguments[0]} ended with exit code {step.exitcode}; its message stands above. The same "
            "command goes on from here"
        )


def _step(arguments: Sequence[str], group: str) -> None:
    """One command, in a process of its own; nothing where the demo was interrupted before it came to be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = multiprocessing.parent_process()
    if parent and not parent.is_alive():
        return
    os.environ.setdefault("WANDB_RUN_GROUP", group)  # the trackers' tag, in MLflow too
    sys.argv = ["centaurlab", *arguments]  # as it is typed, for run.json
    try:
        main(arguments)
    finally:
        atexit._run_exitfuncs()  # which such processes leave out


def _report(output_dir: Path, console: Console) -> None:
    from centaurlab.reporting import write_report  # here: it imports matplotlib, and --help answers without it

    names = ("misalignment", "diagnosis", "generalisation", "baselines", "fidelity", "centaur")
    folders = [output_dir / name for name in names if (output_dir / name).exists()]
    report = output_dir / "report.html"
    console.print("\n[bold]What was found[/bold]")
    for section in write_report(folders, report, "html"):
        say(section.title)
        for answer in section.answers:
            say(f"  {answer}")
    console.print()
    say(f"report: {report}")
    store = store_address()
    if store.startswith("http"):
        say(f"every run: {store}")
    else:
        say(f"every run: mlflow ui --backend-store-uri {shlex.quote(store)}")
        print("then open: http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning")


def run(asked: DemoArguments) -> None:
    """Run the demo as it was asked."""
    folder = asked.output_dir or ("runs/demo-quick" if asked.quick else "runs/demo")
    run_demo(Settings(asked.model, asked.data, asked.novel_studies, Path(folder), asked.quick))


COMMAND = Command(DESCRIPTION, (DemoArguments,), run)
