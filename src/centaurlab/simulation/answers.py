"""What a model predicts after a question into an answer: one of the options offered, or words up to the marker."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedTokenizerBase

from centaurlab.data.transcripts import CLOSE, OPEN, is_blank
from centaurlab.prompts.encoding import encode_stretch
from centaurlab.scoring.option_trees import OptionTree, option_tree
from centaurlab.simulation.draws import draw, draw_token
from centaurlab.simulation.play import AnswerError

# O: options, N: places in their tree, V: vocabulary.
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_SPACES = "▁Ġ ĊĉČ\t\n\r"


@dataclass(frozen=True)
class Answer:
    """What was answered, and how likely it was in the model's own terms.

    ``p``: its probability among what could be drawn. ``off_option_nats``: −log of the probability of all that could be
    drawn, over the tokens of the answer: what the model would have said beside the options, or beside words that a
    session can hold. ``is_complete``: whether words ended by themselves, before they became too many.
    """

    text: str
    p: float
    off_option_nats: float
    n_options: int | None
    is_complete: bool = True


@dataclass(frozen=True)
class OfferedOptions:
    """``options`` of a question and the tree of their tokens, whose ``ids`` and ``parents`` are those of a stretch."""

    options: tuple[str, ...]
    tree: OptionTree

    def log_probabilities(self, root_V: torch.Tensor, log_p_NV: torch.Tensor | None) -> Doubles:
        """log p of each option (O,) from log-probabilities after the question and after each of the tree's ``ids``."""
        steps = np.array([step for path in self.tree.paths for step in path])
        places, tokens = torch.from_numpy(steps[:, 0]), torch.from_numpy(steps[:, 1])
        found = root_V[tokens.to(root_V.device)].double().cpu().numpy()
        if log_p_NV is not None:
            deeper = places >= 0
            where = places[deeper].to(log_p_NV.device), tokens[deeper].to(log_p_NV.device)
            found[deeper.numpy()] = log_p_NV[where].double().cpu().numpy()
        starts = np.cumsum([0, *(len(path) for path in self.tree.paths[:-1])])
        sums: Doubles = np.add.reduceat(found, starts)
        return sums


def offered_options(options: Sequence[str], after: str, tokenizer: PreTrainedTokenizerBase) -> OfferedOptions:
    """The options of a question as tokens, as scoring has them (``option_trees``), before the text ``after``.

    Raises ``AnswerError`` where the tokens do not tell them apart.
    """
    end = encode_stretch(CLOSE + after, tokenizer, is_first=False)[0]
    tree = option_tree([tuple(encode_stretch(option, tokenizer, is_first=False)) for option in options], end)
    if tree is None:
        raise AnswerError(f"the model's tokens do not tell the options {', '.join(options)} apart; use another model")
    return OfferedOptions(tuple(options), tree)


def choose(offered: OfferedOptions, log_p_O: Doubles, generator: np.random.Generator) -> Answer:
    """Draw one of the options, whose probabilities are made to sum to one. ``AnswerError`` for a NaN or infinity."""
    if np.isnan(log_p_O).any() or np.isneginf(log_p_O).all():
        raise AnswerError("the model gives its options NaN or no probability; try --dtype float32")
    which, log_p = draw(log_p_O, generator.random())
    off_option_nats = max(0.0, -float(np.logaddexp.reduce(log_p_O)))
    return Answer(offered.options[which], float(np.exp(log_p)), off_option_nats, len(offered.options))


class Vocabulary:
    """What each token of a vocabulary of ``size`` would do in an answer of free words."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
        self._tokenizer = tokenizer
        pieces = tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), size))))
        special = set(tokenizer.all_special_ids)
        never = [i for i, piece in enumerate(pieces) if piece is None or OPEN in piece or i in special]
        never += range(len(pieces), size)
        opens = [i for i, piece in enumerate(pieces) if piece is not None and piece.startswith("<")]
        closes = [i for i, piece in enumerate(pieces) if piece is not None and piece.lstrip(_SPACES).startswith(">")]
        self._impossible = {
            (is_half_open, is_unsaid): np.array(sorted({*never, *opens * is_half_open, *closes * is_unsaid}), np.intp)
            for is_half_open in (False, True)
            for is_unsaid in (False, True)
        }
        self._context = encode_stretch(".", tokenizer, is_first=False)

    def possible(self, logits_V: torch.Tensor, answer: str) -> tuple[Floats, float]:
        """Logits (V,) with −inf for what cannot go on with an answer, and log Σ exp of what those were.

        Special tokens cannot, nor markers within it, nor an end while it is blank.
        """
        impossible = self._impossible[answer.endswith("<"), is_blank(answer)]
        possible_V: Floats = logits_V.float().cpu().numpy().copy()
        with np.errstate(invalid="ignore"):  # of a NaN
            log_rest = float(np.logaddexp.reduce(possible_V[impossible], dtype=np.float64))
        possible_V[impossible] = -np.inf
        return possible_V, log_rest

    def text(self, ids: Sequence[int]) -> str:
        """Tokens as they read after others."""
        before, whole = (
            self._tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            for part in (self._context, [*self._context, *ids])
        )
        return str(whole[len(before) :])


class FreeWords:
    """An answer of free words, token by token; ``answer`` is set when it ends."""

    def __init__(self, vocabulary: Vocabulary, generator: np.random.Generator, max_new_tokens: int) -> None:
        self.ids: list[int] = []
        self.answer: Answer | None = None
        self._vocabulary = vocabulary
        self._generator = generator
        self._max_new_tokens = max_new_tokens
        self._text = ""
        self._log_p = self._off_option_nats = 0.0

    def add(self, logits_V: torch.Tensor) -> None:
        """Draw the next token by its logits; ``AnswerError`` for a NaN."""
        possible_V, log_rest = self._vocabulary.possible(logits_V, self._text)
        likeliest = possible_V.max()
        if np.isnan([likeliest, log_rest]).any() or max(likeliest, log_rest) == np.inf:
            raise AnswerError("the model gives NaN or infinity for a token; try --dtype float32")
        if np.isneginf(likeliest):
            raise AnswerError("the model gives no probability to any word; try --dtype float32")
        token, log_p, log_total = draw_token(possible_V, self._generator)
        self._log_p += log_p
        self._off_option_nats += float(np.logaddexp(log_total, log_rest)) - log_total
        self.ids.append(token)
        text = self._vocabulary.text(self.ids)
        is_closed = CLOSE in text
        self._text = text.partition(CLOSE)[0]
        if is_closed or len(self.ids) == self._max_new_tokens:
            self._text = self._text.rstrip(CLOSE[0])  # half a marker would make another of the one that is set here
            if OPEN in self._text or is_blank(self._text):
                raise AnswerError(f"the model's answer {self._text!r} is blank or holds a marker, and is none")
            self.answer = Answer(
                self._text, float(np.exp(self._log_p)), self._off_option_nats, n_options=None, is_complete=is_closed
            )
