"""Score human responses with a language model: one negative log-likelihood per response.

examples:
  accelerate launch eval/score.py --model_name_or_path gemma-3-270m --data starter --output_dir runs/gemma
  accelerate launch eval/score.py --model_name_or_path Qwen/Qwen3-8B-Base --data marcelbinz/Psych-201-test \\
      --output_dir runs/qwen3-8b
  python eval/score.py --model_name_or_path gemma-3-270m --data my_sessions.jsonl --protocol paper \\
      --dtype float32 --output_dir runs/mine
  python eval/score.py --model_name_or_path gemma-3-270m --data my_sessions.jsonl --precision 0.1 \\
      --output_dir runs/quick

With --precision people are scored in random order until the mean NLL over the studies is known as well as asked.
The same command again computes only what is missing. Output: scores.parquet, run.json (see README.md). Exit code 1:
some sessions could not be scored (run.json names them), the others are.
"""

from pathlib import Path

from accelerate import PartialState

from centaurlab.analyses.scores import print_run
from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import IncompleteError, exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure


def main() -> None:
    keep_freed_memory()
    model_args, data_args, score_args, tracking_args = parse_arguments(
        [ModelArguments, DataArguments, ScoreArguments, TrackingArguments], __doc__
    )
    folder = Path(score_args.output_dir)
    try:
        measure(model_args, data_args, score_args, tracking_args)
    except IncompleteError:
        if PartialState().is_main_process:
            print_run(folder)
        raise
    if PartialState().is_main_process:
        print_run(folder)


if __name__ == "__main__":
    exit_on_user_error(main)
