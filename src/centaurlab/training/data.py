"""Transcripts into training and evaluation examples, and who is in which.

Test people and novel studies are set apart before anything is subset, by the same rule that evaluations
use, so that no choice of studies, shares or counts moves a person from one side to the other.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from centaurlab.data.held_out import PART, people_of
from centaurlab.data.novelty import Prints, families, nearest, study_prints
from centaurlab.data.persons import Persons, find_persons
from centaurlab.data.records import Problem
from centaurlab.data.source import DataArguments, TranscriptSource, open_source
from centaurlab.data.splits import first_people, partition, person_order, study_order
from centaurlab.data.transcripts import SessionKey, Transcript, data_fingerprint, study_fingerprint, text_digest, told
from centaurlab.prompts.encoding import Encoding, Ints, encode
from centaurlab.results.record import Coverage
from centaurlab.runtime.errors import UserError
from centaurlab.training.options import CentaurArguments

IGNORED = -100
"""Label of tokens that are not of a response."""


@dataclass(frozen=True)
class Example:
    """One training sequence, T tokens: ``labels_T`` equals ``input_ids_T`` at response tokens, else ``IGNORED``."""

    input_ids_T: Ints
    labels_T: Ints


@dataclass(frozen=True)
class TrainingData:
    """Examples to train on and to evaluate, and where they come from.

    ``train`` has columns ``input_ids`` and ``labels``; ``held_out`` also ``study`` (index into ``studies``) and
    ``responses`` (number scored). ``train_keys`` and ``held_out_keys``: one per row of each; ``persons`` says whose
    sessions they are. ``split``: for ``split.json``.
    """

    train: Dataset
    held_out: Dataset
    studies: tuple[str, ...]
    train_keys: tuple[SessionKey, ...]
    held_out_keys: tuple[SessionKey, ...]
    persons: Persons
    split: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def trained_on(self) -> dict[str, Any]:
        """Name and fingerprints of the data that are trained on, for ``run.json``."""
        known = self.split["studies"].items()
        return {
            "name": self.split["data"],
            "fingerprint": data_fingerprint({study: about["fingerprint"] for study, about in known}),
            "studies": {study: {"fingerprint": a["fingerprint"], "sessions": len(a["train"])} for study, a in known},
        }

    def split_of(self, n_rows: int) -> dict[str, Any]:
        """``split`` where the first ``n_rows`` of ``train`` alone are trained on."""
        keys, studies = frozenset(self.train_keys[:n_rows]), {}
        for study, known in self.split["studies"].items():
            test = [SessionKey(study, *who) for who in known["test"]]
            train = [who for who in known["train"] if SessionKey(study, *who) in keys]
            studies[study] = known | {"train": train, "people": people_of(study, keys, test, self.persons)}
        return {name: about for name, about in self.split.items() if name != "coverage"} | {"studies": studies}


def prepare_data(
    args: CentaurArguments, tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int
) -> TrainingData:
    """Read, split and encode what ``args`` name; sequences hold at most ``max_length`` tokens.

    ``seed`` orders the sessions that ``study_weighting='balanced'`` repeats. Raises ``UserError`` for an unknown
    novel study, an overlap of what is trained on and what is held out, and sessions without a response left.
    """
    source = _training_source(args)
    novel, prints = _novel_studies(args, source)
    responses: dict[SessionKey, int] = {}
    skipped: list[str] = []
    for session in source.read():
        if isinstance(session, Problem):
            skipped.append(str(session))
        elif session.study not in novel:
            responses[session.key] = session.text.count("<<")
    if comma := sorted({key.study for key in responses if "," in key.study}):
        raise UserError(f"the name of study {comma[0]!r} holds a comma, by which studies are listed; rename it")
    # Of all sessions, also those left out as malformed: so does '--participants test', which must find the same people.
    persons = source.persons
    parts = partition((key for key, _ in source.everybody()), persons, args.split_seed, novel)
    test_source = source
    test, train = parts.test & responses.keys(), parts.train & responses.keys()
    notes: tuple[str, ...] = ()
    if args.eval_data:
        test_source = open_source(
            DataArguments(data=args.eval_data, on_malformed=args.on_malformed, markers=args.markers)
        )
        persons = find_persons(chain(source.everybody(), test_source.everybody()))
        train = frozenset(responses)
        found = frozenset(transcript.key for transcript in test_source)
        test, note = _of_others(found, train, novel, persons, args)
        notes += note
    chosen = _subset(train, persons, responses, args)
    all_rows = _encode_sessions(source, chosen, args, tokenizer, max_length, split=args.long_sessions == "split")
    if not all_rows:
        raise UserError(f"{args.data}: nothing is left to train on; choose more studies or participants")
    order = list(range(len(all_rows)))
    if args.study_weighting == "balanced":
        order = balanced_order([row.key.study for row in all_rows], seed)
    train_rows = [all_rows[i] for i in order]
    seen = {row.key: row for row in train_rows}
    notes += _never_seen(chosen, all_rows, seen, max_length)
    studies = tuple(sorted({key.study for key in seen}))
    novelty = nearest(novel, studies, prints)
    notes += tuple(f"novel study {one.in_words()}" for one in novelty)
    of_studies = (key for key in test if key.study in studies)
    shown = first_people(of_studies, persons, args.eval_participants, args.split_seed)
    held_rows = _encode_sessions(test_source, shown, args, tokenizer, max_length, split=False)
    cut, held = (sum(getattr(row.coverage, name) for row in held_rows) for name in ("cut", "responses"))
    if args.long_sessions == "split" and cut:
        notes += (
            f"{cut:,} of {held:,} responses of held-out people lie beyond {max_length:,} tokens and are in no "
            "evaluation of this training, which reads the beginning of their sessions, not windows",
        )
    split = {
        "data": args.data,
        **{name: getattr(args, name) for name in PART},
        "eval_data": args.eval_data,
        "split_seed": args.split_seed,
        "held_out_by": "person",
        "studies": {
            study: {
                "fingerprint": _fingerprint(row for row in seen.values() if row.key.study == study),
                "train": [[k.experiment, k.participant] for k in sorted(seen, key=str) if k.study == study],
                "test": [[k.experiment, k.participant] for k in sorted(test, key=str) if k.study == study],
                "people": people_of(study, seen, test, persons),
            }
            for study in studies
        },
        "split": args.split,
        "novel_studies": list(novel),
        "novelty": [one.as_dict() for one in novelty],
        "coverage": asdict(sum((row.coverage for row in all_rows if row.key in seen), Coverage())),
    }
    return TrainingData(
        train=_dataset([row.example for row in train_rows]),
        held_out=_dataset(
            [row.example for row in held_rows],
            study=[studies.index(row.key.study) for row in held_rows],
            responses=[row.n_responses for row in held_rows],
        ),
        studies=studies,
        train_keys=tuple(row.key for row in train_rows),
        held_out_keys=tuple(row.key for row in held_rows),
        persons=persons,
        split=split,
        notes=(*source.notes, *skipped, *notes),
    )


def windows(encoding: Encoding, text: str, max_length: int) -> list[Example]:
    """The session in pieces of at most ``max_length`` tokens, each starting with the instructions.

    Instructions are the lines before that of the first response (at most half a window). Each response is
    labelled in one window; one that does not fit even alone is left out.
    """
    n_tokens = len(encoding.input_ids_T)
    if n_tokens <= max_length:
        return [whole(encoding)]
    first_line = text.rfind("\n", 0, text.find("<<")) + 1
    n_instructions = min(int(np.searchsorted(encoding.end_character_T, first_line, side="right")), max_length // 2)
    instructions_T = encoding.input_ids_T[:n_instructions]
    pieces: list[Example] = []
    start = 0
    while start < n_tokens:
        ahead_R = encoding.end_R > start
        first, last = int(encoding.start_R[ahead_R][0]), int(encoding.end_R[ahead_R][0])
        prefix_T = instructions_T if start or last > max_length else instructions_T[:0]
        room = max_length - len(prefix_T)
        if last - start > room and last - first >= room:
            start = last
            continue
        start = max(start, last - room)
        end = int(encoding.end_R[ahead_R & (encoding.end_R - start <= room)][-1])
        pieces.append(_example(prefix_T, encoding, start, end))
        start = end
    return pieces


def balanced_order(studies: Sequence[str], seed: int) -> list[int]:
    """Indices into ``studies``, as many as there are, in rounds that hold each study once.

    Sessions of a small study come again before every session of a large one has come.
    """
    rng = np.random.default_rng(seed)
    members = {study: np.flatnonzero(np.array(studies) == study) for study in sorted(set(studies))}
    rounds = math.ceil(len(studies) / len(members))
    columns = []
    for indices in members.values():
        repeats = math.ceil(rounds / len(indices))
        columns.append(np.concatenate([rng.permutation(indices) for _ in range(repeats)])[:rounds])
    shuffled = rng.permuted(np.stack(columns, axis=1), axis=1)
    return [int(i) for i in shuffled.ravel()]


def response_labels(input_ids_T: Ints, starts: Iterable[int], ends: Iterable[int]) -> Ints:
    """(T,) labels: the ids at [start, end) of each response, ``IGNORED`` elsewhere."""
    labels_T = np.full_like(input_ids_T, IGNORED)
    for start, end in zip(starts, ends, strict=True):
        labels_T[start:end] = input_ids_T[start:end]
    return labels_T


@dataclass(frozen=True)
class _Row:
    key: SessionKey
    example: Example
    n_responses: int
    coverage: Coverage
    digest: str


def _training_source(args: CentaurArguments) -> TranscriptSource:
    named = {name.strip() for name in (args.studies or "").split(",")}
    if both := sorted(named & set(args.novel)):
        raise UserError(f"study {both[0]!r} is in --studies and in --novel_studies; it cannot be trained on and novel")
    everyone = DataArguments(
        *(args.data, args.data_split, args.data_revision), on_malformed=args.on_malformed, markers=args.markers
    )
    if args.novel:
        open_source(replace(everyone, studies=args.novel_studies))  # raises where there is no such study
    return open_source(replace(everyone, studies=args.studies, domains=args.domains))


def _novel_studies(args: CentaurArguments, source: TranscriptSource) -> tuple[tuple[str, ...], Prints]:
    """The studies held out whole, by ``--split``; and what is compared of all studies, where there are such."""
    novel = args.novel
    if args.split != "person" and not novel:
        order = study_order((key for key, _ in source.everybody()), args.split_seed)
        novel = tuple(order[: max(1, len(order) // 10)])
    if not novel:
        return (), {}
    texts = open_source(
        DataArguments(args.data, args.data_split, args.data_revision, on_malformed="skip", markers=args.markers)
    )
    prints = study_prints(source.everybody(), texts, source.persons)
    return (tuple(sorted(families(novel, prints))) if args.split == "paradigm" else novel), prints


def _of_others(
    test: frozenset[SessionKey],
    train: frozenset[SessionKey],
    novel: Collection[str],
    persons: Persons,
    args: CentaurArguments,
) -> tuple[frozenset[SessionKey], tuple[str, ...]]:
    """The sessions of ``--eval_data`` of people who are not trained on; and a note on those of people who are."""
    overlap = sorted(train & test, key=str)
    if overlap:
        raise UserError(
            f"{overlap[0]} and {len(overlap) - 1} more are in --data {args.data} to train on and in --eval_data "
            f"{args.eval_data} to be tested; take them out of one"
        )
    both = sorted({key.study for key in train | test}.intersection(novel))
    if both:
        raise UserError(f"study {both[0]!r} is held out whole and in --eval_data {args.eval_data}; leave one away")
    trained = {persons.unit(key) for key in train}
    known = sorted((key for key in test if persons.unit(key) in trained), key=str)
    if not known:
        return test, ()
    if len(known) == len(test):
        raise UserError(
            f"all {len(test)} sessions of --eval_data {args.eval_data} are of people who are trained on, such as "
            f"{known[0]}; give other people"
        )
    note = (
        f"{len(known)} of {len(test)} sessions of --eval_data {args.eval_data} are of people who are trained on in "
        f"other sessions, such as {known[0]}: they are not held out"
    )
    return test.difference(known), (note,)


def _subset(
    train: frozenset[SessionKey], persons: Persons, responses: dict[SessionKey, int], args: CentaurArguments
) -> set[SessionKey]:
    """Of each study the first people in the seeded order, as far as every limit allows."""
    chosen: set[SessionKey] = set()
    seed = args.split_seed if args.people_seed is None else args.people_seed
    for people in person_order(train, persons, seed).values():
        n_responses = 0
        n_people = math.ceil(round(args.train_share * len(people), 9))  # 0.55 · 100 is 55.00000000000001
        for person in people[:n_people][: args.max_participants]:
            if args.max_responses is not None and n_responses >= args.max_responses:
                break
            n_responses += sum(responses[key] for key in person)
            chosen.update(person)
    return chosen


def _never_seen(
    chosen: Collection[SessionKey], rows: Sequence[_Row], seen: Collection[SessionKey], max_length: int
) -> tuple[str, ...]:
    """Notes on the sessions that were chosen and do not come in training: too long, or of a study with many others."""
    known = {row.key for row in rows}
    reasons = {
        f"have no response within {max_length:,} tokens": len(chosen) - len(known),
        "do not come, as balanced studies give as many each": len(known) - len(seen),
    }
    return tuple(
        f"{n:,} of {len(chosen):,} sessions {reason}, and are not trained on" for reason, n in reasons.items() if n
    )


def _encode_sessions(
    source: TranscriptSource,
    keys: Iterable[SessionKey],
    args: CentaurArguments,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    split: bool,
) -> list[_Row]:
    wanted = set(keys)
    rows = []
    for transcript in source:
        if transcript.key in wanted:
            encoding = encode(transcript.text, tokenizer, None if split else max_length)
            examples = windows(encoding, transcript.text, max_length) if split else [whole(encoding)]
            examples = [example for example in examples if (example.labels_T != IGNORED).any()]
            if not examples and args.on_malformed == "error":
                raise _nothing_left(transcript, max_length)
            digest = text_digest(transcript.text)
            n = len(encoding.start_R)
            rows += [
                _Row(transcript.key, example, n, encoding.coverage if i == 0 else Coverage(), digest)
                for i, example in enumerate(examples)
            ]
    return rows


def _nothing_left(transcript: Transcript, max_length: int) -> UserError:
    return UserError(
        f"{transcript.origin}: no response of {transcript.key} is left within {max_length} tokens; raise "
        "--max_length, or leave such sessions out with --on_malformed skip"
    )


def whole(encoding: Encoding) -> Example:
    """The whole of an encoded session, up to its last response."""
    return _example(encoding.input_ids_T[:0], encoding, 0, len(encoding.input_ids_T))


def _example(prefix_T: Ints, encoding: Encoding, start: int, end: int) -> Example:
    body_T = encoding.input_ids_T[start:end]
    inside_R = (encoding.start_R >= start) & (encoding.end_R <= end)
    labels_T = response_labels(body_T, encoding.start_R[inside_R] - start, encoding.end_R[inside_R] - start)
    return Example(np.concatenate([prefix_T, body_T]), np.concatenate([np.full_like(prefix_T, IGNORED), labels_T]))


def _dataset(examples: Sequence[Example], **columns: list[int]) -> Dataset:
    lists = {
        "input_ids": _list_array([example.input_ids_T for example in examples]),
        "labels": _list_array([example.labels_T for example in examples]),
    }
    return Dataset(pa.table(lists | {name: pa.array(values, pa.int32()) for name, values in columns.items()}))


def _list_array(arrays: Sequence[npt.NDArray[np.int32]]) -> pa.LargeListArray:
    offsets = np.cumsum([0, *map(len, arrays)])
    values = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values, pa.int32()))


def _fingerprint(rows: Iterable[_Row]) -> str:
    return study_fingerprint(sorted({told(row.key, row.digest) for row in rows}))
