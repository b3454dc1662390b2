"""A survey's sessions into windows of planned sessions: each prompt built once and handed on to all who need it.

Ordering, dividing, scoring and the table all ask for a session's prompt or its digest, and a prompt in a chat template
takes two renderings. What a window holds is therefore decided here, in one reading of its texts.
"""

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from centaurlab.data.options import SessionOptions
from centaurlab.data.transcripts import OPEN, SessionKey, Transcript
from centaurlab.prompts.context import Reading
from centaurlab.prompts.encoding import encode_prompt, likely_window
from centaurlab.prompts.prompt import Prompt
from centaurlab.scoring.options import OptionRules, OptionsFound
from centaurlab.scoring.order import order_texts
from centaurlab.scoring.survey import Survey

SAMPLED_PER_STUDY = 8
"""Sessions of a study and window that are tokenized to learn how many tokens its characters make."""

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class PlannedSession:
    """A session as it will be scored.

    ``index``: its place in its window, in the source's order. ``key`` and ``origin`` say which it is and where it was
    read, ``n_characters`` how long its text is. ``prompt`` is what the model reads, ``options`` what each response
    could have been, ``items_R`` what recurs over people at each, and ``digest`` (hex) the key of the result in the
    store. ``shared``: numbers of leading characters of the prompt that it has in common with neighbours, increasing;
    ``reused``: how many of these the session before it leaves in the cache.
    """

    index: int
    key: SessionKey
    origin: str
    n_characters: int
    prompt: Prompt
    options: SessionOptions
    items_R: npt.NDArray[np.int64]
    digest: str
    shared: tuple[int, ...]
    reused: int


@dataclass(frozen=True)
class SessionLength:
    """Estimated tokens of a session up to the end of its last response, of its responses, and per character."""

    n_tokens: float
    n_response_tokens: float
    per_character: float


class SessionPlan:
    """The sessions of ``survey`` as ``reading`` has them, window by window, each in the order of scoring."""

    def __init__(self, survey: Survey, reading: Reading) -> None:
        self.survey = survey
        self._reading = reading
        self._only_window: list[PlannedSession] | None = None
        self._digests = bytearray()  # of results, in the source's order
        self._items, self._n_items = array("q"), array("I")  # of the responses of each session, in the same order
        self.options: dict[str, OptionsFound] = {}
        """By study, how the options of its sessions are known; once all windows have been gone through."""

    def windows(self) -> Iterator[list[PlannedSession]]:
        """All sessions; the prompts of one window are in memory at a time.

        Where all texts fit in one window, its plan is kept for the next time; else the source is read again.
        """
        if self._only_window is not None:
            yield self._only_window
            return
        self._digests.clear()
        self._items, self._n_items = array("q"), array("I")
        self.options.clear()
        text_digests = (session.text_digest for session in self.survey)
        for transcripts in self.survey.windows():
            digests = [next(text_digests) for _ in transcripts]
            planned = plan_window(transcripts, digests, self._reading, self.survey.options)
            for session in sorted(planned, key=lambda session: session.index):
                self._digests += bytes.fromhex(session.digest)
                self._items.frombytes(session.items_R.tobytes())
                self._n_items.append(len(session.items_R))
                found = self.options.setdefault(session.key.study, OptionsFound())
                found.add(session.options, str(session.key))
            if self.survey.is_one_window:
                self._only_window = planned
            yield planned

    def results(self) -> Iterator[tuple[SessionKey, str, npt.NDArray[np.int64]]]:
        """Every session in the source's order, with the key of its result in the store, and the items of its responses.

        Items are not in the store: what is known of a text may be so from another study, or another study module.
        """
        if not self._digests:
            for _ in self.windows():
                pass
        first = 0
        for number, (session, n) in enumerate(zip(self.survey, self._n_items, strict=True)):
            start = number * _DIGEST_BYTES
            items_R = np.array(self._items[first : first + n], np.int64)
            yield session.key, self._digests[start : start + _DIGEST_BYTES].hex(), items_R
            first += n


def plan_window(
    transcripts: Sequence[Transcript], text_digests: Sequence[str], reading: Reading, rules: OptionRules
) -> list[PlannedSession]:
    """The sessions of a window in the order of scoring, each with its prompt; ``text_digests`` are of their texts."""
    prompts = [reading.prompt(transcript) for transcript in transcripts]
    options = [rules.of(transcript) for transcript in transcripts]
    beginnings = [reading.beginning(prompt) for prompt in prompts]
    first = [len(text.removesuffix(OPEN)) for text in beginnings] if reading.context else None
    return [
        PlannedSession(
            index=ordered.index,
            key=transcripts[ordered.index].key,
            origin=transcripts[ordered.index].origin,
            n_characters=len(transcripts[ordered.index].text),
            prompt=prompts[ordered.index],
            options=options[ordered.index],
            items_R=rules.items(transcripts[ordered.index], options[ordered.index]),
            digest=_digest(reading.digest(prompts[ordered.index], text_digests[ordered.index]), options[ordered.index]),
            shared=ordered.shared,
            reused=ordered.reused,
        )
        for ordered in order_texts(beginnings, first)
    ]


def _digest(of_prompt: str, options: SessionOptions) -> str:
    """The key of a result: it depends on what the model reads, and on what could have been answered."""
    return hashlib.sha256(f"{of_prompt} {options.digest()}".encode()).hexdigest()


def estimate_lengths(
    sessions: Sequence[PlannedSession], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> list[SessionLength]:
    """Tokens of each session, of which a few per study are tokenized and the others judged by their characters.

    Studies differ: a session of numbers has 1.6 characters per token where prose has 4. ``max_tokens`` cuts the longer
    ones, and their responses in proportion.
    """
    characters = [_characters(session.prompt) for session in sessions]
    by_study: dict[str, list[int]] = defaultdict(list)
    for i, session in enumerate(sessions):
        by_study[session.key.study].append(i)
    lengths = [SessionLength(0, 0, 0)] * len(sessions)
    for members in by_study.values():
        ranks = np.linspace(0, len(members) - 1, min(SAMPLED_PER_STUDY, len(members))).round().astype(int)
        sample = [members[rank] for rank in ranks]
        begun = [likely_window(sessions[i].prompt, max_tokens) for i in sample]
        encodings = [encode_prompt(prompt, tokenizer) for prompt in begun]
        n_read, n_answered = np.sum([_characters(prompt) for prompt in begun], axis=0).tolist()
        per_character = sum(len(e.input_ids_T) for e in encodings) / max(n_read, 1)
        per_answered = sum(int((e.end_R - e.start_R).sum()) for e in encodings) / max(n_answered, 1)
        for i in members:
            n_tokens = characters[i][0] * per_character
            kept = min(1, max_tokens / n_tokens) if n_tokens else 0
            lengths[i] = SessionLength(n_tokens * kept, characters[i][1] * per_answered * kept, per_character)
    return lengths


def _characters(prompt: Prompt) -> tuple[int, int]:
    """Characters up to the end of the last response, and of all responses."""
    if not prompt.responses:
        return 0, 0
    return prompt.responses[-1].end, sum(r.end - r.start for r in prompt.responses)
