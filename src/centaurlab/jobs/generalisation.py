"""An adapter and its base into scores on the people and the studies that it was not trained on, and into gains."""

from collections.abc import Collection
from dataclasses import replace
from itertools import chain, product
from pathlib import Path

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.generalisation import (
    ANALYSIS,
    GeneralisationArguments,
    StudyGain,
    Summary,
    find_gains,
    study_gains,
)
from centaurlab.catalog.studies import load_studies
from centaurlab.data.held_out import KINDS, Split, check_novel, check_people, read_split, split_before
from centaurlab.data.novelty import Likeness, nearest, study_prints
from centaurlab.data.persons import Persons, find_persons
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import first_people
from centaurlab.jobs.job import Asked, Plan, Round, Scored, everywhere, job
from centaurlab.models.arguments import DTYPES, ModelArguments
from centaurlab.models.identity import identify, quantization
from centaurlab.prompts.context import PlainContext
from centaurlab.runtime.errors import UserError


def plan(asked: Asked[GeneralisationArguments]) -> Plan:
    """Base and adapter on held-out people and on novel studies, as far as the adapter's split.json names any."""
    adapter = Path(asked.own.adapter)
    base = asked.load.of(asked.own.base)
    is_foreign = asked.own.novel_studies is not None
    if is_foreign:
        split = split_of_foreign(asked.own, asked.data)
    else:
        split = read_split(adapter)
        check_base(split, base, adapter)
    _check_data(asked.data)
    wanted = _asked_studies(asked.data)
    trained = replace(asked.data, data_seed=split.split_seed, max_participants=None, studies=None, domains=None)
    kinds: dict[str, tuple[DataArguments, PlainContext | None]] = {}
    notes: list[str] = []
    if is_foreign:
        notes.append(
            f"note: nothing here says what {adapter} was trained on; that it never saw these studies is your word"
        )
    test = frozenset(key for key in split.test if wanted is None or key.study in wanted)
    novel_studies = [study for study in split.novel_studies if wanted is None or study in wanted]
    if not test and not novel_studies:
        raise UserError(f"{adapter} was judged on no study of those that --studies or --domains leave; name others")
    if test:
        eval_data = asked.own.eval_data or split.eval_data
        held_out = replace(trained, data=eval_data, data_split=None, data_revision=None) if eval_data else trained
        sources = [open_source(trained), *([open_source(held_out)] if eval_data else [])]
        persons = find_persons(chain.from_iterable(source.everybody() for source in sources))
        check_people(split.train, sources[0], split.named)
        people = first_people(test, persons, asked.data.max_participants, split.split_seed)
        check_people(people, sources[-1], f"--eval_data {split.eval_data}" if eval_data else split.named)
        kinds["held_out"] = held_out, PlainContext(people)
        notes += known_people(replace(split, test=people), persons, adapter)
    if novel_studies:
        novel = replace(trained, studies=",".join(novel_studies), max_participants=asked.data.max_participants)
        kinds["novel"] = novel, None
    rounds = {}
    for kind, (data, context) in kinds.items():
        models = {f"{kind}-base": base, f"{kind}-centaur": replace(base, adapter_name_or_path=asked.own.adapter)}
        context_of = everywhere(context) if context else None
        rounds[kind] = Round(models, data, asked.folder, context_of, condition=KINDS[kind])

    def compute(scored: Scored) -> Finding:
        gains: list[StudyGain] = []
        summaries: list[Summary] = []
        for kind, (data, context) in kinds.items():
            runs = scored.rounds[kind]
            rows, summary = study_gains(
                *(kind, runs[f"{kind}-base"], runs[f"{kind}-centaur"]),
                sessions=open_source(data, context.sessions if context else None),
                training=open_source(trained, split.train) if kind == "held_out" else (),
                n_resamples=asked.estimates.resamples,
                seed=asked.estimates.seed,
                own_studies=load_studies(Path(data.study_module)) if data.study_module else None,
            )
            gains += rows
            summaries.append(summary)
        novelty = find_novelty(split, trained, novel_studies)
        return find_gains(asked.own, gains, summaries, novelty, notes)

    return Plan(rounds, compute, joins=asked.own.adapter)


def split_of_foreign(own: GeneralisationArguments, data: DataArguments) -> Split:
    """A split without people, of an adapter trained elsewhere; ``UserError`` for one that has a split of its own."""
    novel = tuple(dict.fromkeys(name.strip() for name in (own.novel_studies or "").split(",") if name.strip()))
    known = split_before(own.adapter)
    if "studies" in known:
        raise UserError(f"the split.json of {own.adapter} says which studies are novel; leave --novel_studies away")
    check_novel(known, novel, own.adapter)
    if own.eval_data or not novel:
        raise UserError("--novel_studies names studies of --data, and goes without --eval_data")
    return Split(data.data, None, frozenset(), frozenset(), novel, split_seed=0, base_fingerprint="")


def _check_data(data: DataArguments) -> None:
    """Raise ``UserError`` for options that say who is held out, which the adapter's split.json does."""
    for name, value, usual in (("participants", data.participants, "all"), ("data_seed", data.data_seed, 0)):
        if value != usual:
            raise UserError(f"--{name} would judge on others than the adapter's split.json names; leave it away")


def _asked_studies(data: DataArguments) -> frozenset[str] | None:
    """The studies that --studies and --domains leave; None: all."""
    if not (data.studies or data.domains):
        return None
    everybody = replace(data, max_participants=None)
    return frozenset(key.study for key in open_source(everybody).ranked_keys())


def find_novelty(split: Split, data: DataArguments, novel: Collection[str]) -> list[Likeness]:
    """What each novel study shares with the nearest of those that an adapter was trained on."""
    if not novel:
        return []
    source = open_source(replace(data, on_malformed="skip"))
    trained = {key.study for key in split.train}
    prints = study_prints(source.everybody(), source, source.persons, trained.union(novel))
    return nearest(novel, trained, prints)


def known_people(split: Split, persons: Persons, adapter: Path) -> list[str]:
    """A note where held-out sessions are of people who were trained on, as older versions split by session."""
    known = split.on_both_sides(persons)
    if not known:
        return []
    return [
        f"note: {len(known)} of {len(split.test)} held-out sessions are of people whom {adapter} was trained on in "
        f"other sessions: it was split by {split.held_out_by}; train it again to judge it on new people"
    ]


def check_base(split: Split, base: ModelArguments, adapter: Path) -> None:
    """Raise ``UserError`` when the adapter was trained on other weights than ``base``, or on these loaded otherwise."""
    if identify(base).fingerprint == split.base_fingerprint:
        return
    name = base.model_name_or_path
    plain = replace(base, load_in_4bit=False, load_in_8bit=False)
    ways = {"and no quantisation": plain}
    if quantization(plain) == "none":
        ways["--load_in_4bit"] = replace(plain, load_in_4bit=True)
        ways["--load_in_8bit"] = replace(plain, load_in_8bit=True)
    for (option, way), dtype in product(ways.items(), DTYPES):
        if identify(replace(way, dtype=dtype)).fingerprint == split.base_fingerprint:
            raise UserError(
                f"{adapter} was trained on {name} loaded with --dtype {dtype} {option}; load it here in the same way"
            )
    raise UserError(f"{adapter} was trained on another base than {name}; give the one that its run.json names")


COMMAND = job(ANALYSIS, plan)
