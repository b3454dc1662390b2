"""Does a chat template help a model to predict people? Sessions in the model's own template, against plain text.

examples:
  python eval/templates.py --model_name_or_path Qwen/Qwen3-8B --data starter --output_dir runs/template
  python eval/templates.py --model_name_or_path Qwen/Qwen3-8B meta-llama/Llama-3.1-8B-Instruct \\
      --data marcelbinz/Psych-201-test --output_dir runs/templates

In the template, what people are told is the user's turn and each response a turn of the assistant's; thinking is off
where the template knows 'enable_thinking', and the date is always the same. d(chat template − plain text) > 0: the
model predicts people worse in its template. What the template does to the sessions (text trimmed, dropped or
rewritten, a system prompt or date inserted) is found before anything is scored, and listed.
Output: templates.csv, audit.csv, run.json, figures (the paper's Fig. S1 among them), and the folders of scores.
"""

from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState

from centaurlab.analyses.contexts import Runs, compare_contexts, metrics_of, print_comparisons, write_comparisons
from centaurlab.analyses.templates import save_template_figures
from centaurlab.data.source import DataArguments, open_source
from centaurlab.jobs.job import check_scored, score_models
from centaurlab.jobs.templates import TemplateArguments
from centaurlab.models.arguments import LoadArguments, ModelArguments
from centaurlab.prompts.template_audit import Finding, audit, print_audit, write_audit
from centaurlab.prompts.templates import template_context
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError, exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.stats.estimate import CONFIDENCE
from centaurlab.stats.means import mean_nlls


def main() -> None:
    keep_freed_memory()
    args, load_args, data_args, tracking_args = parse_arguments(
        [TemplateArguments, LoadArguments, DataArguments, TrackingArguments], __doc__
    )
    audits = {
        name: audit(
            template_context(ModelArguments(**asdict(load_args) | {"model_name_or_path": name})),
            open_source(data_args),
            args.protocol,
        )
        for name in args.model_name_or_path
    }
    if PartialState().is_main_process:
        for name, findings in audits.items():
            print_audit(name, findings)
    folder = RunFolder(Path(args.output_dir), "templates")
    folder.check_job()
    tracking = tracking_args.grouped(args.output_dir)
    runs: dict[str, Runs] = {}
    failures: dict[str, str] = {}
    for condition, context_of in (("plain", None), ("template", template_context)):
        runs[condition], failed = score_models(
            [name for name in audits if name not in failures],
            ModelArguments(**asdict(load_args)),
            data_args,
            ScoreArguments(str(Path(args.output_dir) / "scores" / condition), args.protocol, args.max_length),
            len(audits) > 1,
            tracking.part({"plain": "plain text", "template": "chat template"}[condition]),
            context_of,
        )
        failures |= failed
    if not PartialState().is_main_process:
        return
    missing = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
    if not runs["template"]:
        raise UserError(f"no model is left to compare; {missing}")
    comparison = compare_contexts(
        "template", ("chat template", runs["template"]), ("plain text", runs["plain"]), args.resamples, args.seed
    )
    config = asdict(args) | asdict(load_args) | asdict(data_args) | {"model_name_or_path": args.model_name_or_path}
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):
            write_comparisons(folder.path / "templates.csv", [comparison])
            write_audit(folder.path / "audit.csv", audits)
            nlls = [
                (model, *(mean_nlls(runs[name][model], args.resamples, args.seed)[0].nll for name in runs))
                for model in runs["template"]
            ]
            save_template_figures(comparison, nlls, folder.path)
            overall = {comparison.name: asdict(comparison.overall) | {"verdict": comparison.verdict()}}
            folder.write_json("run.json", run_json(args, runs, audits) | {"overall": overall})
            folder.log(metrics_of([comparison]))
    print_comparisons([comparison], f"chat templates on {data_args.data}")
    print(f"templates: {folder.path / 'templates.csv'}\naudit: {folder.path / 'audit.csv'}")
    if failures:
        raise UserError(f"{len(failures)} of {len(audits)} models could not be scored; {missing}")
    check_scored(*runs.values())


def run_json(args: TemplateArguments, runs: dict[str, Runs], audits: dict[str, list[Finding]]) -> dict[str, object]:
    """Where the table comes from."""
    first = next(iter(runs["template"].values()))
    return provenance() | {
        "job": "templates",
        "audit": {name: [asdict(one) for one in findings] for name, findings in audits.items()},
        "bootstrap": {"resamples": args.resamples, "seed": args.seed, "confidence": CONFIDENCE},
        "data": {key: first.about["data"][key] for key in ("name", "fingerprint", "studies")},
        "models": [
            run.about["model"] | {"protocol": run.about["protocol"], "context": run.about["context"]}
            for run in runs["template"].values()
        ],
        "scores": {name: {model: str(run.folder) for model, run in of.items()} for name, of in runs.items()},
    }


if __name__ == "__main__":
    exit_on_user_error(main)
