"""How an adapter does on people and on studies that it never saw, against its base model and simple baselines."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from centaurlab import terminal
from centaurlab.baselines import marginal_nll, uniform_nll
from centaurlab.comparison import read_run
from centaurlab.effect_table import no_interval
from centaurlab.effects import compare, estimate_effects
from centaurlab.errors import UserError
from centaurlab.models import DTYPES, ModelArguments, identify, quantization
from centaurlab.runs import read_json
from centaurlab.sources import DataArguments, open_source
from centaurlab.transcripts import SessionKey, Transcript

KINDS = {"held_out": "held-out participants", "novel": "novel studies"}


@dataclass(frozen=True)
class StudyGain:
    """One study. ``d``: base − centaur, positive: the adapter predicts better, with a 95 % interval over people.

    NLLs in nats per response; ``nll_marginal`` is NaN for novel studies, which have no training participants.
    """

    kind: str
    study: str
    participants: int
    responses: int
    nll_base: float
    nll_centaur: float
    d: float
    d_low: float
    d_high: float
    nll_uniform: float
    nll_marginal: float


@dataclass(frozen=True)
class Summary:
    """Over the studies of one kind: mean d and its standard error over studies, as the paper reports them.

    ``d_low`` and ``d_high``: 95 %, from drawing studies. ``improved``: share of studies
    whose NLL fell.
    """

    kind: str
    studies: int
    nll_base: float
    nll_centaur: float
    d: float
    d_low: float
    d_high: float
    d_sem: float
    improved: float


@dataclass(frozen=True)
class Split:
    """What ``split.json`` of an adapter says.

    ``test``: the held-out people of the studies that it was trained on, who are in ``eval_data`` where that is given.
    """

    data: str
    eval_data: str | None
    train: frozenset[SessionKey]
    test: frozenset[SessionKey]
    novel_studies: tuple[str, ...]
    split_seed: int
    base_fingerprint: str


def read_split(adapter: Path) -> Split:
    """Who the adapter was trained on. ``UserError`` where the folder does not say it."""
    if not adapter.is_dir():
        raise UserError(f"there is no folder {adapter}; --adapter is a folder that recipes/centaur.py wrote")
    split = read_json(adapter / "split.json")
    if not split:
        raise UserError(
            f"{adapter} holds no split.json, or a damaged one, and so does not say who was trained on; give the whole "
            "folder that recipes/centaur.py wrote"
        )
    train, test = (
        frozenset(SessionKey(study, *person) for study, about in split["studies"].items() for person in about[half])
        for half in ("train", "test")
    )
    if not test and not split["novel_studies"]:
        raise UserError(f"training {adapter} held out nobody to judge it on; train with more people or --novel_studies")
    return Split(
        split["data"],
        split["eval_data"],
        train,
        test,
        tuple(split["novel_studies"]),
        int(split["split_seed"]),
        split["base_fingerprint"],
    )


def check_people(people: frozenset[SessionKey], data: DataArguments, remedy: str) -> None:
    """Raise ``UserError`` when some of the people whom an adapter was trained on, or held out, are not in the data."""
    if missing := people.difference(open_source(data).ranked_keys()):
        raise UserError(
            f"{data.data} lacks {len(missing)} of {len(people)} people whom the adapter's split.json names, such as "
            f"{min(missing, key=str)}; give {remedy}, as in training"
        )


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


def study_gains(
    kind: str, base: Path, centaur: Path, sessions: Iterable[Transcript], training: Iterable[Transcript] = ()
) -> tuple[list[StudyGain], Summary]:
    """Gains per study and over them, from two folders of scores of ``sessions``; ``training``: for the marginals."""
    effects = estimate_effects([compare(read_run(centaur), read_run(base))])
    judged_on, fitted = _by_study(sessions), _by_study(training)
    gains = [
        StudyGain(
            kind,
            e.name,
            e.n_participants,
            e.n_responses,
            nll_base=e.nll_post,
            nll_centaur=e.nll_base,
            d=e.d.value,
            d_low=e.d.low,
            d_high=e.d.high,
            nll_uniform=uniform_nll(judged_on[e.name]),
            nll_marginal=marginal_nll(fitted.get(e.name, []), judged_on[e.name]),
        )
        for e in effects
        if e.level == "study" and e.n_responses
    ]
    overall = effects[0]
    return gains, Summary(
        kind,
        len(gains),
        nll_base=overall.nll_post,
        nll_centaur=overall.nll_base,
        d=overall.d.value,
        d_low=overall.d.low,
        d_high=overall.d.high,
        d_sem=standard_error([gain.d for gain in gains]),
        improved=sum(gain.nll_centaur < gain.nll_base for gain in gains) / len(gains),
    )


def print_gains(gains: Sequence[StudyGain], summaries: Sequence[Summary]) -> None:
    """Print a row per study, and a sentence for held-out participants and for novel studies."""
    table = Table("study", title="NLL in nats per response; d(base − centaur): positive where the centaur is better")
    table.box = box.SIMPLE_HEAD
    for name in ("judged on", "people", "responses", "base", "centaur", "d", "95 % interval", "uniform", "marginal"):
        table.add_column(name, justify="left" if name == "judged on" else "right")
    for gain in gains:
        baselines = (f"{x:.4f}" if math.isfinite(x) else "–" for x in (gain.nll_uniform, gain.nll_marginal))
        table.add_row(
            gain.study,
            KINDS[gain.kind],
            f"{gain.participants:,}",
            f"{gain.responses:,}",
            f"{gain.nll_base:.4f}",
            f"{gain.nll_centaur:.4f}",
            f"{gain.d:.3f}" if math.isfinite(gain.d) else "–",
            f"[{gain.d_low:.3f}, {gain.d_high:.3f}]" if math.isfinite(gain.d_low) else "–",
            *baselines,
        )
    console = terminal.console()
    console.print(table)
    for s in summaries:
        known = no_interval("studies")
        if math.isfinite(s.d_low):
            known = f"95 % interval [{s.d_low:.3f}, {s.d_high:.3f}], standard error over studies {s.d_sem:.3f}"
        size = "d is not defined: too few responses, or all with the same NLL"
        if math.isfinite(s.d):
            size = f"d = {s.d:.3f}, {known}"
        console.print(
            f"{KINDS[s.kind]}: {size}; {s.improved:.0%} of {s.studies} studies improved",
            soft_wrap=True,
            highlight=False,
        )
    console.print(
        "uniform: every answer of the session equally likely; marginal: as often as training participants gave it "
        "(says nothing where the letters of options are drawn anew for each participant)",
        soft_wrap=True,
    )


def standard_error(values: Sequence[float]) -> float:
    """SD (ddof 1) over the square root of the number of finite values; NaN with fewer than two."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.std(finite, ddof=1) / math.sqrt(len(finite))) if len(finite) > 1 else math.nan


def _by_study(sessions: Iterable[Transcript]) -> dict[str, list[Transcript]]:
    found: dict[str, list[Transcript]] = defaultdict(list)
    for transcript in sessions:
        found[transcript.study].append(transcript)
    return found
