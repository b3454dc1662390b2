"""A folder of scores as a table to look at."""

import json
from pathlib import Path

from rich import box
from rich.table import Table

from centaurlab import terminal
from centaurlab.precision import sample_note


def print_run(folder: Path) -> None:
    """Print a score run's table: per study NLL, accuracy and what became of the responses."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    mean = "–" if run["nll_mean"] is None else f"{run['nll_mean']:.4f}"
    table = Table(
        "study",
        title=f"{run['model']['name']} on {run['data']['name']} ({run['protocol']['name']} protocol)",
        box=box.SIMPLE_HEAD,
        show_footer=True,
    )
    table.columns[0].footer = "mean over studies"
    counted = ("responses", "scored", "cut", "empty", "failed")
    for name in ("sessions", *counted, "NLL", "accuracy"):
        table.add_column(name, justify="right", footer=mean if name == "NLL" else "")
    for study, about in run["data"]["studies"].items():
        coverage = run["coverage"][study]
        counts = [about["sessions"], *(coverage[name] for name in counted)]
        measures = ["–" if about[name] is None else f"{about[name]:.4f}" for name in ("nll", "accuracy")]
        table.add_row(study, *(f"{count:,}" for count in counts), *measures)
    console = terminal.console()
    console.print(table)
    console.print("NLL: nats, mean over responses, lower is more human-like; accuracy: single-token responses only")
    if note := sample_note(run):
        console.print(f"a sample: {note}", markup=False, highlight=False, soft_wrap=True)
    speed = run["speed"]
    console.print(
        f"{speed['tokens']:,} tokens ({speed['tokens_computed_now']:,} computed now, "
        f"{speed['tokens_reused']:,} in shared prefixes) at "
        f"{speed['tokens_per_second']:,.0f} tokens/s per process, {speed['processes']} process(es); "
        f"peak memory {speed['peak_memory_bytes'] / 2**30:.1f} GiB"
    )
    console.print(f"scores: {folder / 'scores.parquet'}", soft_wrap=True)
