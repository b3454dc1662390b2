"""Models into scores in their own chat template and in plain text, after what a template does has been found."""

from dataclasses import asdict, replace

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.templates import ANALYSIS, TemplateArguments, find_template_effects
from centaurlab.data.source import open_source
from centaurlab.jobs.job import Asked, Plan, Round, Scored, job
from centaurlab.runtime.errors import UserError


def plan(asked: Asked[TemplateArguments]) -> Plan:
    """Every model in plain text, then in its template; what templates do to the sessions is printed at once."""
    # Here and not above: they import transformers and torch, and --help answers without.
    from accelerate import PartialState

    from centaurlab.prompts.template_audit import audit, audit_table, print_audit
    from centaurlab.prompts.templates import template_context

    models = {name: asked.load.of(name) for name in asked.own.model_name_or_path}
    audits = {
        name: audit(template_context(model), open_source(asked.data), asked.scoring.protocol)
        for name, model in models.items()
    }
    if PartialState().is_main_process:
        for name, findings in audits.items():
            print_audit(name, findings)
    scores = asked.folder / "scores"
    plain = Round(models, asked.data, scores / "plain", tolerant=len(models) > 1, condition="plain text")
    rounds = {
        "plain": plain,
        "template": replace(plain, folder=scores / "template", context_of=template_context, condition="chat template"),
    }

    def compute(scored: Scored) -> Finding:
        if not scored.rounds["template"]:
            raise UserError(f"no model is left to compare; {scored.missing}")
        found = find_template_effects(
            *(scored.rounds["template"], scored.rounds["plain"], audit_table(audits), asked.estimates),
            title=f"chat templates on {asked.data.data}",
        )
        listed = {name: [asdict(one) for one in findings] for name, findings in audits.items()}
        audited = f"audit: {asked.folder / 'audit.csv'}"
        return replace(found, record={**found.record, "audit": listed}, shown=[*found.shown, audited])

    return Plan(rounds, compute)


COMMAND = job(ANALYSIS, plan)
