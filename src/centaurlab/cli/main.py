"""The ``centaurlab`` command: look at data and models before and between runs.

Scoring and training are scripts (``eval/``, ``recipes/``), started with ``accelerate launch``. Every command
imports what it needs when it runs, so that ``--help`` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from centaurlab import __version__
from centaurlab.runtime.errors import exit_on_user_error

app = typer.Typer(
    name="centaurlab",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How human-like are language models, and what does post-training do to it?",
    epilog="Scoring starts with: accelerate launch eval/score.py --help",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at transcripts before scoring them.")
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line; a user's mistake ends in one line on stderr and exit code 2."""
    exit_on_user_error(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"centaurlab {__version__}")
        raise typer.Exit


@app.callback()
def _centaurlab(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@data_app.command(
    "stats",
    epilog="Examples:\n\ncentaurlab data stats starter\n\n"
    "centaurlab data stats transcripts.jsonl --tokenizer Qwen/Qwen3-8B-Base",
)
def data_stats(
    data: Annotated[str, typer.Argument(help="'starter', a hub data set id, a file or a folder.")] = "starter",
    data_split: Annotated[str | None, typer.Option("--data_split", help="Split of a hub data set.")] = None,
    studies: Annotated[str | None, typer.Option("--studies", help="Only these, comma separated.")] = None,
    domains: Annotated[str | None, typer.Option("--domains", help="Only these, comma separated.")] = None,
    participants: Annotated[str, typer.Option("--participants", help="all, train or test.")] = "all",
    max_participants: Annotated[
        int | None, typer.Option("--max_participants", help="At most so many sessions per study.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="Model whose tokens are counted (default: gemma-3-270m where installed); 'none' counts characters.",
        ),
    ] = None,
) -> None:
    """Print studies, sessions, responses, tokens, metadata and domains, and the problems found."""
    from centaurlab.cli.data import print_stats
    from centaurlab.data.source import DataArguments
    from centaurlab.models.arguments import ModelArguments
    from centaurlab.models.gguf import GEMMA, gemma_is_installed
    from centaurlab.models.loading import load_tokenizer

    name = tokenizer or (GEMMA if gemma_is_installed() else "none")
    print_stats(
        DataArguments(
            data=data,
            data_split=data_split,
            studies=studies,
            domains=domains,
            participants=participants,
            max_participants=max_participants,
        ),
        None if name == "none" else load_tokenizer(ModelArguments(name)),
    )


@data_app.command("validate", epilog="Example:\n\ncentaurlab data validate transcripts.jsonl")
def data_validate(
    path: Annotated[str, typer.Argument(metavar="FILE", help="A file or folder of transcripts.")],
) -> None:
    """Name every malformed line; exit with code 2 if there is any."""
    from centaurlab.cli.data import validate

    validate(path)


@data_app.command(
    "options",
    epilog="Examples:\n\ncentaurlab data options starter\n\n"
    "centaurlab data options transcripts.jsonl --study_module my_study.py",
)
def data_options(
    data: Annotated[str, typer.Argument(help="'starter', a hub data set id, a file or a folder.")] = "starter",
    data_split: Annotated[str | None, typer.Option("--data_split", help="Split of a hub data set.")] = None,
    studies: Annotated[str | None, typer.Option("--studies", help="Only these, comma separated.")] = None,
    study_module: Annotated[
        Path | None, typer.Option("--study_module", help="A Python file of your own that defines STUDIES (it is run).")
    ] = None,
) -> None:
    """Print what could have been answered, per study: by which rule, with examples and contradictions."""
    from centaurlab.cli.options import print_options
    from centaurlab.data.source import DataArguments

    print_options(DataArguments(data=data, data_split=data_split, studies=studies, on_malformed="skip"), study_module)


@app.command("models", epilog="Examples:\n\ncentaurlab models\n\ncentaurlab models --family qwen3")
def models_list(
    family: Annotated[
        str | None, typer.Option("--family", help="Only models of this family of the catalog, such as qwen3.")
    ] = None,
) -> None:
    """List the models that can be named, and those that are on this machine."""
    from centaurlab.cli.models import print_models

    print_models(family)


@app.command(
    "plan",
    epilog="Examples:\n\ncentaurlab plan --model Qwen/Qwen3-32B-Base --data marcelbinz/Psych-201-test --devices 4xH100"
    "\n\ncentaurlab plan --model gemma-3-270m --data starter --devices cpu --calibrate runs/gemma"
    "\n\ncentaurlab plan --model Qwen/Qwen3-32B-Base --data my-studies/ --devices RTX4090 --load_in_4bit",
)
def plan_command(
    model: Annotated[str, typer.Option("--model", help="Hub id, folder with a config.json, *.gguf file or alias.")],
    data: Annotated[str, typer.Option("--data", help="'starter', a hub data set id, a file or a folder.")],
    devices: Annotated[str, typer.Option("--devices", help="Such as 4xH100, RTX4090, or cpu (with --calibrate).")],
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Finished run of eval/score.py, whose speed replaces the assumption."),
    ] = None,
    utilisation: Annotated[
        float | None, typer.Option("--utilisation", help="Share of the device's peak that is assumed (default: 0.3).")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="Of the weights.")] = "bfloat16",
    load_in_4bit: Annotated[bool, typer.Option("--load_in_4bit", help="NF4 weights.")] = False,
    load_in_8bit: Annotated[bool, typer.Option("--load_in_8bit", help="int8 weights.")] = False,
    protocol: Annotated[str, typer.Option("--protocol", help="full or paper.")] = "full",
    max_length: Annotated[int | None, typer.Option("--max_length", help="Context window in tokens.")] = None,
    data_split: Annotated[str | None, typer.Option("--data_split", help="Split of a hub data set.")] = None,
    studies: Annotated[str | None, typer.Option("--studies", help="Only these, comma separated.")] = None,
    participants: Annotated[str, typer.Option("--participants", help="all, train or test.")] = "all",
    max_participants: Annotated[
        int | None, typer.Option("--max_participants", help="At most so many sessions per study.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Model whose tokens are counted (default: the model's own).")
    ] = None,
) -> None:
    """Say what scoring will take: tokens, operations, memory, hours, and what that assumes."""
    from centaurlab.cli.plan import print_plan
    from centaurlab.data.source import DataArguments
    from centaurlab.models.arguments import ModelArguments
    from centaurlab.scoring.cost import ASSUMED_UTILISATION, PlanArguments, make_plan

    model_arguments = ModelArguments(model, dtype=dtype, load_in_4bit=load_in_4bit, load_in_8bit=load_in_8bit)
    data_arguments = DataArguments(
        *(data, data_split, studies), participants=participants, max_participants=max_participants, on_malformed="skip"
    )
    utilisation = ASSUMED_UTILISATION if utilisation is None else utilisation
    arguments = PlanArguments(devices, protocol, max_length, utilisation, calibrate, tokenizer)
    print_plan(make_plan(model_arguments, data_arguments, arguments), model_arguments, data_arguments, arguments)


@app.command(
    "compare", epilog="Examples:\n\ncentaurlab compare runs/*\n\ncentaurlab compare --job score --sort nll/mean"
)
def compare_command(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, or folders of them (default: the MLflow store).")
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, csv or markdown.")] = "table",
    job: Annotated[str | None, typer.Option("--job", help="Only runs of this job, such as score.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only runs whose name contains this.")] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Column to sort by; -COLUMN: from high to low.")] = None,
) -> None:
    """Show runs side by side: NLL per study, effects, and the settings that differ."""
    from centaurlab.cli.compare import as_format, compare_runs, print_comparison, read_folders, read_store

    chosen = as_format(output_format)
    runs = read_folders(folders) if folders else read_store()
    print_comparison(compare_runs(runs, job, name, sort), chosen)


@app.command("track", epilog="Example:\n\ncentaurlab track runs/gemma --report_to wandb")
def track_command(
    run_dir: Annotated[Path, typer.Argument(help="The folder of a run.")],
    report_to: Annotated[list[str] | None, typer.Option("--report_to", help="mlflow, wandb or all.")] = None,
) -> None:
    """Log a run's folder to the trackers: what they do not have yet."""
    from centaurlab.runs.tracker import TrackingArguments, track

    track(run_dir, TrackingArguments(report_to or ["mlflow"]))


@app.command(
    "report",
    epilog="Examples:\n\ncentaurlab report runs/effect\n\n"
    "centaurlab report runs/effect runs/centaur runs/generalisation --output results.html\n\n"
    "centaurlab report runs/effect --output results.md --format markdown",
)
def report_command(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    output: Annotated[
        Path | None, typer.Option("--output", help="The file to write (default: report.html or report.md).")
    ] = None,
    output_format: Annotated[
        str, typer.Option("--format", help="html: one file with everything; or markdown.")
    ] = "html",
) -> None:
    """Write a page on finished runs: question, answer with its interval, figures, tables, commands."""
    from centaurlab.report import write_report
    from centaurlab.runtime.errors import UserError

    if output_format not in ("html", "markdown"):
        raise UserError(f"--format is {output_format!r}; choose html or markdown")
    path = output or Path("report.html" if output_format == "html" else "report.md")
    for section in write_report(folders, path, "html" if output_format == "html" else "markdown"):
        print(section.title, *section.answers, sep="\n  ")
    print(f"report: {path}")


@app.command(
    "demo",
    epilog="Examples:\n\ncentaurlab demo\n\ncentaurlab demo --quick\n\n"
    "centaurlab demo --model Qwen/Qwen3-0.6B-Base --data my-studies/ --novel_studies stroop --output_dir runs/mine",
)
def demo_command(
    model: Annotated[str, typer.Option("--model", help="A base model.")] = "gemma-3-270m",
    data: Annotated[str, typer.Option("--data", help="Transcripts, as everywhere.")] = "starter",
    novel_studies: Annotated[
        str | None, typer.Option("--novel_studies", help="Of your own data: studies not to train on, comma separated.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", help="Folder for all runs and report.html (default: runs/demo, runs/demo-quick)."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer people and steps: only to see it run.")] = False,
) -> None:
    """Tell the story: score a base model, post-train it, compare, train a Centaur, judge it, report."""
    from centaurlab.cli.demo import Settings, run_demo

    folder = output_dir or Path("runs/demo-quick" if quick else "runs/demo")
    run_demo(Settings(model, data, novel_studies, folder, quick))
