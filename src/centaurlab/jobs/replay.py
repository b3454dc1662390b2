"""The command that says what ``--precision`` would have saved on finished scores."""

from pathlib import Path

from rich import box
from rich.table import Table

from centaurlab.analyses.replay import DESCRIPTION, PrecisionArguments, replay
from centaurlab.jobs.command import Command
from centaurlab.results.run import read_run
from centaurlab.runtime import terminal


def run(asked: PrecisionArguments) -> None:
    """Replay, and print a row per target."""
    base, post = read_run(Path(asked.base)), read_run(Path(asked.post)) if asked.post else None
    replays = replay(base, post, asked.targets, asked.people, asked.orders, asked.seed)
    n_sessions, quantity = replays[0].samples[0].of_sessions, "d" if post else "NLL"
    names = f"{post.model} against {base.model}" if post else base.model
    table = Table(title=f"{quantity} of {names}: {replays[0].value:.3f}, {n_sessions:,} sessions", box=box.SIMPLE_HEAD)
    for header in ("target ±", "reached", "sessions scored", "middle 90 % of orders", "interval holds that of all"):
        table.add_column(header, justify="right")
    for found in replays:
        median, low, high = found.scored
        shares = (f"{found.is_reached:.0%}", f"{median:.0%}", f"{low:.0%} to {high:.0%}", f"{found.holds:.1%}")
        table.add_row(f"{found.target:g}", *shares)
    terminal.console().print(table)
    drawn = f"{asked.people:,} people drawn in every study" if asked.people else "every person once"
    print(f"{asked.orders:,} random orders, {drawn}")


COMMAND = Command(DESCRIPTION, (PrecisionArguments,), run)
