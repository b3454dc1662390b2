"""A model that answers the questions of many sessions, all of which wait for the same pass.

Each session is advanced by one answer a pass; where one ends, the next takes its place. What the replicates of a
person share, and the beginning that the people of a study share, is computed once.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os.path import commonprefix

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from centaurlab.catalog.studies import UnreadableError
from centaurlab.data.transcripts import CLOSE, OPEN, SessionKey
from centaurlab.models.passes import n_embeddings, unknown_token
from centaurlab.models.reordered import reordered
from centaurlab.prompts.encoding import encode, encode_stretch
from centaurlab.simulation.answers import Answer, FreeWords, OfferedOptions, Vocabulary, choose, offered_options
from centaurlab.simulation.draws import generator_of, shared_generator_of
from centaurlab.simulation.packed import PackedModel, SessionCache, Stretch
from centaurlab.simulation.play import DRAWS_APART, AnswerError, Chance, Play, PlayError, Question
from centaurlab.simulation.questions import OpenLoop

_SHARED_TOKENS = 16
"""A beginning that people share is computed apart from this length on."""


@dataclass(frozen=True)
class Settings:
    """What answers depend on beside model and session."""

    seed: int
    temperature: float
    max_tokens: int
    max_new_tokens: int


@dataclass(frozen=True)
class Person:
    """A session to be answered anew, once for each of ``replicates`` (from 1)."""

    key: SessionKey
    session: OpenLoop
    replicates: tuple[int, ...]


@dataclass(frozen=True)
class Simulated:
    """A simulated session. ``n_cut``: questions of the person's session that lay beyond the context window.

    ``same_tokens``: whether scoring it would read the very tokens that it was simulated with.
    """

    text: str
    answers: tuple[Answer, ...]
    n_cut: int
    same_tokens: bool


Keep = Callable[[Person, int, Simulated | AnswerError], None]
"""Takes a replicate of a person when it has ended, or why it could not be."""


class Player:
    """Answers the sessions of people with a model, ``n_sessions`` at a time."""

    def __init__(
        self, model: PackedModel, tokenizer: PreTrainedTokenizerBase, settings: Settings, n_sessions: int
    ) -> None:
        self.model = model
        self.settings = settings
        self._n_known = n_embeddings(model.model)
        self._tokenizer = tokenizer
        self._n_sessions = n_sessions
        self._offered: dict[tuple[tuple[str, ...], str], OfferedOptions] = {}
        self._vocabulary: Vocabulary | None = None
        self._is_prepared = False

    def play(self, people: Iterable[Person], keep: Keep) -> None:
        """Simulate every replicate of ``people``, and hand each to ``keep`` as soon as it has ended."""
        in_order = sorted(people, key=lambda person: -person.session.n_passes)  # what takes longest ends among others
        trunks = [trunk for person in in_order for trunk in self._trunks(person, keep)]
        if trunks and not self._is_prepared:
            self.model.prepare(trunks[0].ids)
            self._is_prepared = True
        with reordered(self.model.model):
            self._play(trunks, keep)

    def _play(self, trunks: Sequence["_Trunk"], keep: Keep) -> None:
        beginnings = self._beginnings(trunks)
        waiting, ready, active = deque(trunks), deque[_Seat](), list[_Seat]()
        while waiting or ready or active:
            while ready and len(active) < self._n_sessions:
                active.append(ready.popleft())
            opened, n_planned = [], len(active)
            while waiting and n_planned < self._n_sessions:
                opened.append(waiting.popleft())
                n_planned += len(opened[-1].person.replicates)
            stretches = [
                trunk.stretch(beginnings[trunk.person.key.study])
                for trunk in opened
                if len(trunk.ids) < self.settings.max_tokens
            ]
            self.model.compute([*stretches, *self._advance(active, keep)])
            active = [seat for seat in active if not seat.has_ended]
            for trunk in opened:
                ready.extend(_Seat(self, trunk, replicate) for replicate in trunk.person.replicates)

    def _trunks(self, person: Person, keep: Keep) -> list["_Trunk"]:
        """Replicates by what they begin with: an environment may begin otherwise in each."""
        by_opening: dict[str, list[int]] = {}
        for replicate in person.replicates:
            try:
                opening = next(person.session.play(self.chance(person, replicate))).text
            except AnswerError as error:
                keep(person, replicate, error)
            except UnreadableError as error:
                keep(person, replicate, AnswerError(str(error)))
            else:
                by_opening.setdefault(opening, []).append(replicate)
        trunks = []
        for opening, those in by_opening.items():
            try:
                ids = self.encode(opening + OPEN, is_first=True)
            except AnswerError as error:
                for replicate in those:
                    keep(person, replicate, error)
            else:
                trunks.append(_Trunk(replace(person, replicates=tuple(those)), opening, ids))
        return trunks

    def chance(self, person: Person, replicate: int) -> Chance:
        """What happens in a session beside its answers."""
        seed, key = self.settings.seed, person.key
        return Chance(generator_of(seed, key, replicate, "environment"), shared_generator_of(seed, key.study))

    def _beginnings(self, trunks: Sequence["_Trunk"]) -> dict[str, SessionCache]:
        """What all people of each study share before their first answers, computed once; often nothing."""
        by_study: dict[str, list[list[int]]] = {}
        for trunk in trunks:
            by_study.setdefault(trunk.person.key.study, []).append(trunk.ids)
        caches = {study: self.model.new_cache() for study in by_study}
        for study, openings in by_study.items():
            shared = commonprefix(openings)[:-1]
            if len(openings) > 1 and _SHARED_TOKENS <= len(shared) <= self.settings.max_tokens:
                self.model.compute([Stretch(caches[study], shared, _nothing)])
        return caches

    def _advance(self, active: Sequence["_Seat"], keep: Keep) -> Iterator[Stretch]:
        """What each session has to have computed next; those that end are kept."""
        for seat in active:
            try:
                stretch = seat.next_stretch()
            except AnswerError as error:
                seat.has_ended = True
                keep(seat.trunk.person, seat.replicate, error)
                continue
            if stretch is None:
                keep(seat.trunk.person, seat.replicate, seat.simulated())
            else:
                yield stretch

    def encode(self, text: str, is_first: bool = False) -> list[int]:
        """Tokens of a stretch of a session. Raises ``AnswerError`` for one that the model does not know."""
        ids = encode_stretch(text, self._tokenizer, is_first)
        if said := unknown_token(self._n_known, ids):
            raise AnswerError(said)
        return ids

    def offered(self, options: tuple[str, ...], after: str) -> OfferedOptions:
        """The options as tokens."""
        closing = after[:8]
        if (options, closing) not in self._offered:
            offered = offered_options(options, after, self._tokenizer)
            if said := unknown_token(self._n_known, offered.tree.tokens):
                raise AnswerError(said)
            self._offered[options, closing] = offered
        return self._offered[options, closing]

    def vocabulary(self, size: int) -> Vocabulary:
        """That of the model, whose logits are ``size`` many."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self._tokenizer, size)
        return self._vocabulary

    def reads_the_same(self, text: str, ids: Sequence[int]) -> bool:
        """Whether scoring reads ``text`` as the tokens ``ids``, up to the end of its last response."""
        encoded: list[int] = encode(text, self._tokenizer).input_ids_T.tolist()
        return encoded == list(ids[: len(encoded)])


def _nothing(logits_RV: torch.Tensor) -> None:
    """What a beginning predicts is asked by nobody."""


@dataclass
class _Trunk:
    """What all replicates of a person begin with: the tokens up to the first answer, and what they predict."""

    person: Person
    opening: str
    ids: list[int]
    cache: SessionCache | None = None
    logits_V: torch.Tensor | None = None

    def stretch(self, start: SessionCache) -> Stretch:
        self.cache = start.copy()
        return Stretch(self.cache, self.ids[start.length :], self._take)

    def _take(self, logits_1V: torch.Tensor) -> None:
        self.logits_V = logits_1V[0].clone()


@dataclass
class _Seat:
    """One session under way: what it has said so far, and what the model predicts next."""

    player: Player
    trunk: _Trunk
    replicate: int
    has_ended: bool = False
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._play: Play = self.trunk.person.session.play(self.player.chance(self.trunk.person, self.replicate))
        self._question: Question = next(self._play)
        self._text = self._question.text + OPEN
        self._ids = list(self.trunk.ids)
        self._cache: SessionCache | None = None
        self._root_V: torch.Tensor | None = None
        self._log_p_NV: torch.Tensor | None = None
        self._offered: OfferedOptions | None = None
        self._words: FreeWords | None = None
        self._spoken: list[int] = []
        self._n_cut = 0

    def next_stretch(self) -> Stretch | None:
        """What has to be computed before the next answer; None where the session has ended."""
        if self._cache is None:
            is_too_long = len(self._ids) + self._answer_tokens() > self.player.settings.max_tokens
            if is_too_long or self.trunk.cache is None or self.trunk.logits_V is None:
                raise AnswerError(self._too_long())
            if self._question.text != self.trunk.opening:
                raise PlayError(DRAWS_APART)
            self._cache = self.trunk.cache.copy()
            self._take_root(self.trunk.logits_V[None])
        stretch = self._words_stretch() if self._question.options is None else self._options_stretch()
        return stretch or self._ask_next()

    def simulated(self) -> Simulated:
        """The session, once it has ended."""
        same_tokens = self.player.reads_the_same(self._text, self._ids)
        return Simulated(self._text, tuple(self.answers), self._n_cut, same_tokens)

    def _options_stretch(self) -> Stretch | None:
        assert self._question.options is not None
        assert self._cache is not None
        assert self._root_V is not None
        self._offered = self._offered or self.player.offered(self._question.options, self._question.after)
        tree = self._offered.tree
        if tree.ids and self._log_p_NV is None:
            return Stretch(self._cache, tree.ids, self._take_tree, tree.parents)
        log_p_O = self._offered.log_probabilities(self._root_V.log_softmax(-1), self._log_p_NV)
        self._answer(choose(self._offered, log_p_O, self._generator()))
        return None

    def _words_stretch(self) -> Stretch | None:
        assert self._cache is not None
        assert self._root_V is not None
        if self._words is None:
            room = self.player.settings.max_tokens - len(self._ids)
            vocabulary = self.player.vocabulary(self._root_V.shape[-1])
            most = min(self.player.settings.max_new_tokens, room)
            self._words = FreeWords(vocabulary, self._generator(), most)
        self._words.add(self._root_V)
        if self._words.answer is None:
            return Stretch(self._cache, self._words.ids[-1:], self._take_root)
        self._answer(self._words.answer, self._words.ids[:-1])
        return None

    def _answer(self, answer: Answer, spoken: Sequence[int] = ()) -> None:
        """Note an answer; ``spoken``: which of its tokens are in the cache."""
        self.answers.append(answer)
        self._spoken = list(spoken)
        self._text += answer.text + CLOSE
        self._root_V = self._log_p_NV = self._offered = self._words = None

    def _ask_next(self) -> Stretch | None:
        """Tell the session's next part; the tokens of words are read anew, as scoring would read them."""
        answer = self.answers[-1]
        try:
            self._question = self._play.send(answer.text)
        except StopIteration as ended:
            self._text += str(ended.value)
            self._end(answer)
            return None
        except UnreadableError as error:
            raise AnswerError(f"the study's module cannot go on after {answer.text!r} ({error})") from error
        assert self._cache is not None
        ids = self.player.encode(answer.text) + self.player.encode(f"{CLOSE}{self._question.text}{OPEN}")
        if len(self._ids) + len(ids) + self._answer_tokens() > self.player.settings.max_tokens:
            self._n_cut = max(1, self.trunk.person.session.n_answers - len(self.answers))
            self._end(answer)
            return None
        known = len(commonprefix([ids, self._spoken]))
        self._cache.truncate(len(self._ids) + known)
        self._ids += ids
        self._text += self._question.text + OPEN
        return Stretch(self._cache, ids[known:], self._take_root)

    def _end(self, answer: Answer) -> None:
        self._ids += self.player.encode(answer.text)
        self._cache = None
        self.has_ended = True

    def _answer_tokens(self) -> int:
        """How many tokens the longest option may have."""
        if self._question.options is None:
            return 1
        offered = self.player.offered(self._question.options, self._question.after)
        return max(len(path) for path in offered.tree.paths)

    def _take_root(self, logits_1V: torch.Tensor) -> None:
        self._root_V = self._heated(logits_1V)[0]

    def _take_tree(self, logits_NV: torch.Tensor) -> None:
        self._log_p_NV = self._heated(logits_NV).log_softmax(-1)

    def _heated(self, logits_RV: torch.Tensor) -> torch.Tensor:
        heated_RV = logits_RV.to(torch.float32, copy=True)  # a part of the pass's logits would hold all of them
        temperature = self.player.settings.temperature
        return heated_RV if temperature == 1 else heated_RV.div_(temperature)

    def _generator(self) -> np.random.Generator:
        return generator_of(self.player.settings.seed, self.trunk.person.key, self.replicate, len(self.answers))

    def _too_long(self) -> str:
        return (
            f"its first answer lies beyond the context window of {self.player.settings.max_tokens} tokens; use a model "
            "with a longer one, or raise --max_length"
        )
