"""What --precision would have saved: finished scores replayed in other orders of the people.

examples:
  python eval/precision.py --base runs/gemma --targets 0.2 0.1 0.05
  python eval/precision.py --base runs/gemma --targets 0.2 0.1 --people 500
  python eval/precision.py --base runs/gemma --post runs/other --targets 0.2 0.1

Of the NLL of one folder of scores or, with --post, of d of two. For each target: in how many orders it was reached,
how many of the sessions that took, and in how many orders the interval holds what all of the people give. With
--people so many are drawn, with replacement, in every study: what a larger data set of such people would take. Nothing
is scored, and nothing is written.
"""

from pathlib import Path

from rich import box
from rich.table import Table

from centaurlab.analyses.replay import PrecisionArguments, replay
from centaurlab.results.run import read_run
from centaurlab.runtime import terminal
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error


def main() -> None:
    (args,) = parse_arguments([PrecisionArguments], __doc__)
    base, post = read_run(Path(args.base)), read_run(Path(args.post)) if args.post else None
    replays = replay(base, post, args.targets, args.people, args.orders, args.seed)
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
    drawn = f"{args.people:,} people drawn in every study" if args.people else "every person once"
    print(f"{args.orders:,} random orders, {drawn}")


if __name__ == "__main__":
    exit_on_user_error(main)
