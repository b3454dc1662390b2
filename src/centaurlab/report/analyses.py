"""Sections of a report on why models differ, and on what a persona or a chat template changes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from centaurlab.diagnosis import PARTS, read_diagnosis, verdict
from centaurlab.errors import UserError
from centaurlab.figures.style import model_label
from centaurlab.report.content import INTERVAL, INTERVALS, NLL, ReportFigure, ReportTable, Section, table_of
from centaurlab.report.folders import Run, command, provenance, score_runs_of
from centaurlab.report.tables import coverage_tables, folder_pictures, folder_tables
from centaurlab.runs import read_json

_OWN = frozenset({"diagnosis", "excluded", "personas", "templates", "audit"})
"""Tables that a section shows in its own way."""
_COUNTS = {"n_responses": "responses", "n_participants": "people"}


def diagnosis(run: Run) -> Section:
    """Why one model predicts choices worse than another."""
    base, post = (model_label(str(run.about[name])) for name in ("base", "post"))
    found = {name: scored for name, scored in score_runs_of(run) if scored is not None}
    rows = _read(run, "diagnosis")
    columns = {name: name for name in ("study", "difference", *PARTS)}
    columns |= {"accuracy_base": "right, base", "accuracy_post": "right, post"}
    columns |= {"responses": "choices", "participants": "people"}
    tables = [table_of("Parts of the difference (nats per choice)", rows, columns, _RIGHT, n_summary=1)]
    excluded = _read(run, "excluded")
    if len(excluded):
        tables.append(table_of("Left out", excluded, note=_LEFT_OUT))
    temperatures = (
        f"{name} {', '.join(f'{t:.2f}' for t in run.about[f'temperatures_{side}'])}"
        for side, name in (("base", base), ("post", post))
    )
    return Section(
        title=f"Why {post} and {base} differ",
        question=f"Why does {post} predict choices worse, or better, than {base}: format, calibration or preference?",
        answers=(_sentence(verdict(base, post, read_diagnosis(rows)[0])),),
        explanation=(
            "Calibration: what one temperature per model, fitted on other participants, makes good. Format: at that "
            "temperature, probability outside the options that the session uses. Preference: the rest, which option "
            "is thought likely. The three sum to the difference of the mean NLLs. It is defined for sessions whose "
            "answers are two to ten single tokens.",
            f"Best temperatures, by fold of participants: {'; '.join(temperatures)}.",
            *([_AT_BOUND] if run.about["at_bound"] else []),
            INTERVALS,
        ),
        figures=_figures(run),
        tables=(
            *tables,
            *coverage_tables(list(map(model_label, found)), list(found.values())),
            *folder_tables([run], _OWN),
        ),
        provenance=tuple(provenance(run)),
        commands=tuple(dict.fromkeys([*(command(scored) for scored in found.values()), command(run)])),
    )


def personas(run: Run) -> Section:
    """What it brings to know who the participant is."""
    people = run.about["personas"]
    fields = ", ".join(f"{name} ({n:,})" for name, n in people["fields"].items())
    kept = len(people["kept_their_own"])
    return _contexts(
        run,
        "Personas",
        "Are people predicted better when the model is told who they are?",
        ("persona", "own_or_anothers"),
        (
            f"{people['participants']:,} people have metadata; how many answer what: {fields}. Everybody is scored "
            "without a persona, with one, and with that of another participant of the study, on the same responses."
            + (f" {kept:,} found no other persona in their study and kept their own." if kept else ""),
            "d(a − b) is the mean NLL in a minus that in b, in standard deviations of NLLs over responses; positive: "
            "b is the better one. Own against another's persona says whether it helps by what it says of this person.",
        ),
    )


def templates(run: Run) -> Section:
    """What a chat template changes."""
    audit = _read(run, "audit").fillna({"study": "every session"})
    audit["model"] = audit["model"].map(model_label)
    columns = {"model": "model", "study": "study", "kind": "what", "n": "turns", "of": "of", "example": "for example"}
    return _contexts(
        run,
        "Chat templates",
        "Does a model predict people better or worse in its chat template?",
        ("template",),
        (
            "In the template, what people are told is the user's turn and each response a turn of the assistant's. "
            "d(chat template − plain text) is the difference of mean NLLs in standard deviations over responses; "
            "positive: people are predicted worse in the template. The table of the audit says what the template does "
            "to the sessions.",
        ),
        table_of("What the template does to the sessions", audit, columns),
    )


def _contexts(
    run: Run, title: str, question: str, answered: Sequence[str], explanation: Sequence[str], *more: ReportTable
) -> Section:
    """A section on comparisons of contexts, as ``context_effects`` writes them; those ``answered`` say it in words."""
    rows = _read(run, run.job)
    overall = rows[rows["level"] == "overall"].copy()
    overall.insert(0, "what", overall["first"] + " − " + overall["second"])
    names = overall["models"].map(model_label)
    overall["models"] = names.where(overall["group"] == "model", "mean of " + names)
    columns = {"what": "first − second", "models": "models", "d": "d"}
    columns |= {"nll_first": "NLL first", "nll_second": "NLL second"} | _COUNTS | {"n_studies": "studies"}
    said = [str(run.about["overall"][name]["verdict"]) for name in answered]
    scored = dict(_scored(run))
    return Section(
        title=f"{title} on {run.about['data']['name']}",
        question=question,
        answers=tuple(map(_sentence, said)),
        explanation=(*explanation, NLL, INTERVALS),
        figures=_figures(run),
        tables=(
            table_of("Over all studies", overall, columns),
            *_level_tables(rows),
            *more,
            *folder_tables([run], _OWN),
            *coverage_tables(list(scored), list(scored.values())),
        ),
        provenance=tuple(provenance(run)),
        commands=(command(run),),
    )


def _level_tables(rows: pd.DataFrame) -> Iterator[ReportTable]:
    """Domains and studies of the first comparison, averaged over its models where there are several."""
    first = rows.iloc[0]
    same = (rows["comparison"] == first["comparison"]) & (rows["models"] == first["models"])
    same &= rows["group"] == first["group"]
    columns = {"name": "study", "d": "d", "d_paired": "paired d"}
    columns |= {"nll_first": "NLL first", "nll_second": "NLL second"} | _COUNTS
    for level, title in (("study", "Studies"), ("domain", "Domains")):
        chosen = rows[same & rows["level"].isin(["overall", level])]
        if (chosen["level"] == level).any():
            head = f"{title}: d({first['first']} − {first['second']})"
            yield table_of(head, chosen, columns | {"name": level}, n_summary=1)


def _scored(run: Run) -> Iterator[tuple[str, Run]]:
    """The score runs of a run in contexts that are at hand, by context and, where there are several, model."""
    for context, of_model in run.about["scores"].items():
        for model, folder in of_model.items():
            places = (Path(folder), run.folder / "scores" / context / Path(folder).name)
            for place in places:
                about = read_json(place / "run.json")
                if about.get("job") == "score":
                    yield f"{context} {model_label(model)}" if len(of_model) > 1 else context, Run(place, about, {})
                    break


def _figures(run: Run) -> tuple[ReportFigure, ...]:
    return tuple(replace(one, caption=_CAPTIONS.get(one.name, one.caption)) for one in folder_pictures([run]))


def _sentence(verdict: str) -> str:
    return f"{verdict[:1].upper()}{verdict[1:]}."


def _read(run: Run, name: str) -> pd.DataFrame:
    path = run.folder / f"{name}.csv"
    try:
        return pd.read_csv(path, dtype=dict.fromkeys(("study", "name", "models"), str))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); give the run's command again") from error


_CAPTIONS = {
    "parts": f"Parts of the difference, with {INTERVAL}s; filled: it excludes zero.",
    "personas": f"d(no persona − own persona) of each model over all studies, with {INTERVAL}s.",
    "comparisons": f"Every comparison over all studies, with {INTERVAL}s; filled: it excludes zero.",
    "templates": f"Mean NLL without and with the chat template, with {INTERVAL}s; grey: models of the paper.",
    "studies": f"d of each study, with {INTERVAL}s; filled: it excludes zero.",
}
_RIGHT = "right: share of choices that were the likeliest token"
_LEFT_OUT = "no choice among two to ten single tokens for both models"
_AT_BOUND = "A temperature lies at the end of the range that was scored: calibration is understated."
