"""Metadata into the contexts in which models are scored: no persona, a person's own, another's; and these compared."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from functools import partial

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.contexts import compare_contexts
from centaurlab.analyses.personas import ANALYSIS, PersonaArguments, find_persona_effects
from centaurlab.analyses.unmatched import compare_unmatched
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey
from centaurlab.jobs.job import Asked, Plan, Round, Scored, everywhere, job
from centaurlab.prompts.context import PlainContext
from centaurlab.prompts.personas import (
    PersonaContext,
    Personas,
    field_context,
    own_context,
    persona_fields,
    read_personas,
    shuffled_context,
)
from centaurlab.runtime.errors import UserError
from centaurlab.stats.contrast import Contrast

NONE, OWN, ANOTHERS, EVERYBODY = "no", "own", "another's", "everybody: no"
UNLIKE = "another's unlike"
_CONDITIONS = {"without": "no persona", "with": "own persona", "shuffled": "another's persona"}


def plan(asked: Asked[PersonaArguments]) -> Plan:
    """Everybody with metadata in every context, by every model."""
    own, data = asked.own, asked.data
    personas = find_personas(own.persona_table, data)
    chosen = personas.chosen(data.max_participants, data.data_seed)
    shuffled, kept = shuffled_context(personas, chosen, data.data_seed)
    contexts: dict[str, PlainContext | PersonaContext] = {
        "without": PlainContext(chosen),
        "with": own_context(personas, chosen),
        "shuffled": shuffled,
    }
    singles = {name: field_context(personas, chosen, name) for name in asked_fields(own.fields, personas)}
    contexts |= {f"field-{name}": context for name, context in singles.items() if context.texts}
    late_cut = own.unmatched and asked.scoring.protocol == "paper"
    if own.unmatched:
        contexts["everybody"] = PlainContext(personas.of_their_studies(data.max_participants, data.data_seed))
    if late_cut:
        contexts["with-late-cut"] = own_context(personas, chosen, late_cut=True)
    models = {name: asked.load.of(name) for name in own.model_name_or_path}
    rounds = {
        name: Round(
            *(models, data, asked.folder / "scores" / name),
            context_of=everywhere(context),
            tolerant=len(models) > 1,
            condition=_CONDITIONS.get(name, name),
        )
        for name, context in contexts.items()
    }

    def compute(scored: Scored) -> Finding:
        runs = scored.rounds
        if not runs["with"]:
            raise UserError(f"no model is left to compare; {scored.missing}")
        n, seed = asked.estimates.resamples, asked.estimates.seed
        compare = partial(compare_contexts, n_resamples=n, seed=seed)
        without, with_own, anothers = runs["without"], runs["with"], runs["shuffled"]
        comparisons = [
            compare("persona", between(NONE, OWN), without, with_own),
            compare("shuffled", between(NONE, ANOTHERS), without, anothers),
            compare("own_or_anothers", between(ANOTHERS, OWN), anothers, with_own),
        ]
        changed = []
        if kept and kept != chosen:
            changed = [compare("own_or_unlike", between(UNLIKE, OWN), anothers, with_own, without=kept)]
        alone = [
            compare(f"field {name}", between(NONE, f"{name}-only"), without, runs[f"field-{name}"], same_sessions=False)
            for name in singles
            if f"field-{name}" in runs
        ]
        second = runs["with-late-cut" if late_cut else "with"]
        published = [
            compare_unmatched(f"unmatched {model}", between(EVERYBODY, OWN), run, second[model], n, seed)
            for model, run in runs.get("everybody", {}).items()
        ]
        title = f"personas on {data.data}"
        found = find_persona_effects(comparisons, title, changed=changed, alone=alone, published=published)
        first = next(iter(runs["without"].values()))
        about = about_people(personas, chosen, kept)
        record = {
            "personas": about,
            "data": {key: first.about["data"][key] for key in ("name", "fingerprint", "studies")},
            "models": [run.about["model"] | {"protocol": run.about["protocol"]} for run in runs["without"].values()],
            "scores": {name: {model: str(run.folder) for model, run in of.items()} for name, of in runs.items()},
        }
        notes = [f"left out {reason}" for reason in personas.refused]
        if kept:
            n_kept, n_people = about["people_kept_their_own"], about["people"]
            notes.insert(
                0, f"note: {n_kept} of {n_people} people found no other persona in their study and kept their own"
            )
        return replace(found, record={**found.record, **record}, shown=[*found.shown, *notes])

    return Plan(rounds, compute)


def about_people(personas: Personas, chosen: Collection[SessionKey], kept: Collection[SessionKey]) -> dict[str, object]:
    """What ``run.json`` says of those who have metadata; ``participants`` are sessions, and the other counts people."""

    def n_people(of: Iterable[SessionKey]) -> int:
        return len(personas.persons.by_person(of))

    return {
        "participants": len(chosen),
        "people": n_people(chosen),
        "fields": {
            name: n_people(key for key in chosen if name in personas.answers[key]) for name in personas.found_fields
        },
        "kept_their_own": sorted(map(str, kept)),
        "people_kept_their_own": n_people(kept),
        "refused": personas.refused,
        "table": [asdict(one) for one in personas.fields],
    }


def between(first: str, second: str) -> Contrast:
    """Two personas."""
    return Contrast(first, second, "persona", by="with")


def asked_fields(fields: str | None, personas: Personas) -> tuple[str, ...]:
    """The ``--fields`` to be tried alone; ``UserError`` for one that nobody answers."""
    found = personas.found_fields
    if fields in (None, "each"):
        return found if fields else ()
    asked = tuple(name.strip() for name in str(fields).split(",") if name.strip())
    for name in asked:
        if name not in found:
            raise UserError(f"--fields {name!r}: nobody in the data answers it; there are {', '.join(found)}")
    return asked


def find_personas(persona_table: str | None, data: DataArguments) -> Personas:
    """The personas in the data, whatever ``--max_participants``; ``UserError`` where there are none."""
    source = open_source(replace(data, max_participants=None))
    transcripts = (examined.transcript for examined in source.examine() if examined.transcript)
    personas = read_personas(transcripts, persona_fields(persona_table), source.persons, data.on_malformed)
    if not personas.answers:
        named = ", ".join(one.name for one in personas.fields[:5])
        raise UserError(
            f"{data.data}: no participant has metadata of the persona table ({named}, …); 'centaurlab data stats' "
            "lists what there is, and --persona_table names it"
        )
    return personas


COMMAND = job(ANALYSIS, plan)
