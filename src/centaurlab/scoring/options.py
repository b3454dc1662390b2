"""What each response of a session could have been, as tokens of a model, so that their probability can be summed.

Which options there are, the data say (``data.options``). Here they become token ids, each tokenized where the answer
stands, between the same characters; that the answer itself gets its own tokens so is checked, and where it does not, or
the answer is none of its options, the response has no set. Options of one token each are read off the tokens that the
model predicts; longer ones make a tree (``option_trees``), where it is known what was offered. Of the rest only their
number is known, which is what guessing rests on.

Shapes: R responses, O options, the union over the session.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from centaurlab.catalog.studies import Study, find_study
from centaurlab.data.options import SessionOptions, session_items, session_options
from centaurlab.data.transcripts import Transcript
from centaurlab.prompts.encoding import Encoding, Ints, encode_prompt, encode_stretch
from centaurlab.prompts.prompt import Prompt, PromptResponse
from centaurlab.scoring.option_trees import Branching, option_tree

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AROUND = (8, 40)
"""Characters before the answer that decide how it is tokenized, as tried in turn."""
_AFTER = 4
_KEPT = 1 << 15
"""So many tokenizations are remembered: what recurs does so soon, and a large data set ends nowhere."""


@dataclass(frozen=True)
class ResponseOptions:
    """``ids_O`` of all options of one token, which of them are each response's, and how many options it has.

    ``n_options_R`` is 0 where it is not known what could have been answered. ``long``: of the responses with options of
    several tokens, these.
    """

    ids_O: Ints
    is_option_RO: npt.NDArray[np.bool_]
    n_options_R: Ints
    long: tuple[Branching, ...] = ()


class OptionRules:
    """Sessions into their options: by the ``labels`` that everybody in a study used and the user's own modules."""

    def __init__(self, labels: Mapping[str, tuple[str, ...]], own_studies: Mapping[str, Study] | None = None) -> None:
        self._labels = labels
        self._own = own_studies or {}

    def of(self, transcript: Transcript) -> SessionOptions:
        """What each response could have been, and by which rule that is known."""
        return session_options(transcript, self._labels, self._own)

    def items(self, transcript: Transcript, options: SessionOptions) -> npt.NDArray[np.int64]:
        """(R,) a number for what recurs over people at each response; 0 where nothing does."""
        named = session_items(transcript, options, find_study(transcript.study, self._own))
        return np.array([_number(f"{transcript.study}\0{name}") if name else 0 for name in named], np.int64)


@dataclass
class OptionsFound:
    """By which rule the options of a study's sessions are known, and a digest of them all."""

    rules: Counter[str] = field(default_factory=Counter)
    problem: str | None = None
    _digest: int = 0

    def add(self, options: SessionOptions, session: str) -> None:
        """Count a session, whatever the order of sessions."""
        self.rules[options.rule] += 1
        self.problem = self.problem or options.problem
        self._digest ^= int.from_bytes(hashlib.sha256(f"{session}\0{options.digest()}".encode()).digest())

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the options of every response of every session."""
        return hashlib.sha256(self._digest.to_bytes(32)).hexdigest()


class OptionTokens:
    """Options into token ids; what was tokenized between the same characters before is not tokenized again.

    ``long``: whether options of several tokens are wanted.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", long: bool = True) -> None:
        self._tokenizer = tokenizer
        self._long = long
        self._tokens = lru_cache(_KEPT)(self._tokenize)
        self._end = lru_cache(_KEPT)(self._first_token)

    def of(self, prompt: Prompt, encoding: Encoding, options: SessionOptions) -> ResponseOptions:
        """The options of each scored response of a session."""
        spans = {response.number: (response.start, response.end) for response in prompt.responses}
        ids_R: list[tuple[int, ...]] = []
        n_options_R = np.zeros(len(encoding.response_R), np.int32)
        long: list[Branching] = []
        for r, number in enumerate(encoding.response_R.tolist()):
            offered = options.of(number) if number < len(options.set_R) else None
            answer = tuple(encoding.input_ids_T[encoding.start_R[r] : encoding.end_R[r]].tolist())
            said = prompt.text[slice(*spans[number])]
            names = sorted({option.strip() for option in offered or ()})
            is_known = options.rule != "own answers"  # of these nobody knows whether longer ones were offered
            ids: tuple[int, ...] = ()
            if said.strip() in names and len(names) > 1 and (is_known or len(answer) == 1):
                found = self._find(prompt.text, spans[number], said, answer, names)
                if all(len(tokens) == 1 for tokens in found):
                    ids = tuple(tokens[0] for tokens in found)
                elif self._long and is_known:
                    tree = option_tree(found, self._end(prompt.text[spans[number][1] :][: _AROUND[1]]))
                    if tree:
                        start = int(encoding.start_R[r])
                        long.append(Branching(r, start, tree, names.index(said.strip())))
                if ids or is_known:
                    n_options_R[r] = len(names)
            ids_R.append(ids)
        ids_O = np.array(sorted({token for ids in ids_R for token in ids}), np.int32)
        is_option_RO = np.zeros((len(ids_R), len(ids_O)), bool)
        for r, ids in enumerate(ids_R):
            is_option_RO[r, np.searchsorted(ids_O, list(ids))] = True
        return ResponseOptions(ids_O, is_option_RO, n_options_R, tuple(long))

    def _find(
        self, text: str, span: tuple[int, int], said: str, answer: tuple[int, ...], names: Sequence[str]
    ) -> tuple[tuple[int, ...], ...]:
        """The tokens of each option; none where two share theirs."""
        start, end = span
        before = said[: len(said) - len(said.lstrip())]
        after = said[len(said.rstrip()) :]
        for around in _AROUND:
            left, right = text[max(0, start - around) : start], text[end : end + _AFTER]
            if self._tokens(left, said, right) != answer:
                continue
            found = tuple(self._tokens(left, f"{before}{name}{after}", right) for name in names)
            return found if len(set(found)) == len(names) else ()
        return ()

    def _first_token(self, after: str) -> int:
        """Of the marker that closes an answer, before what follows it."""
        return encode_stretch(after, self._tokenizer, is_first=False)[0]

    def _tokenize(self, left: str, said: str, right: str) -> tuple[int, ...]:
        response = PromptResponse(0, len(left), len(left) + len(said))
        encoding = encode_prompt(Prompt(left + said + right, (response,), 1), self._tokenizer)
        return tuple(
            encoding.input_ids_T[encoding.start_R[0] : encoding.end_R[0]].tolist() if len(encoding.start_R) else ()
        )


def _number(name: str) -> int:
    """A number other than 0, of 63 bits of a digest."""
    return (int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8]) >> 1) or 1
