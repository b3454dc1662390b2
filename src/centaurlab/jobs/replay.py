"""The command that says what ``--precision`` would have saved on finished scores."""

from pathlib import Path

import pandas as pd

from centaurlab.analyses.replay import DESCRIPTION, PrecisionArguments, replay
from centaurlab.display.tables import table_of
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.results.run import read_run
from centaurlab.runtime.terminal import say
from centaurlab.stats.words import number, percent


def run(asked: PrecisionArguments) -> None:
    """Replay, and print a row per target."""
    base, post = read_run(Path(asked.base)), read_run(Path(asked.post)) if asked.post else None
    replays = replay(base, post, asked.targets, asked.people, asked.orders, asked.seed)
    n_sessions, quantity = replays[0].samples[0].of_sessions, "d" if post else "NLL"
    names = f"{post.model} against {base.model}" if post else base.model
    rows = []
    for found in replays:
        median, low, high = found.scored
        row = {"target ±": f"{found.target:g}", "reached": percent(found.is_reached)}
        row |= {"sessions scored": percent(median), "middle 90 % of orders": f"{percent(low)} to {percent(high)}"}
        rows.append(row | {"interval holds that of all": percent(found.holds, decimals=1)})
    value = number(replays[0].value, signed=post is not None)
    show(table_of(f"{quantity} of {names}: {value}, {n_sessions:,} sessions", pd.DataFrame(rows)))
    drawn = f"{asked.people:,} people drawn in every study" if asked.people else "every person once"
    say(f"{asked.orders:,} random orders, {drawn}")


COMMAND = Command(DESCRIPTION, (PrecisionArguments,), run)
