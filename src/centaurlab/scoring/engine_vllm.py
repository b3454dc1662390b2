"""Sessions scored by vLLM: our own token ids in, log-probabilities of what people answered and could have answered out.

vLLM packs requests and shares its memory among them by itself, so that it is given many sessions at once. It says the
log-probability of the tokens it is asked for and of the likeliest one: NLLs, greedy accuracy and the probability of
options of one token. What needs all logits (entropies, other temperatures, options of several tokens) stays unknown.
Before the first session it is held against our own scorer on some sessions, and refused where the two differ too far.

Signatures: vLLM 0.33 (``LLM``, ``SamplingParams``, ``TokensPrompt``, ``RequestOutput``).
"""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import _find
from centaurlab.models.self_check import SelfCheck
from centaurlab.prompts.encoding import Encoding
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.runtime.errors import UserError, one_line
from centaurlab.runtime.names import counted
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.options import ResponseOptions
from centaurlab.scoring.responses import SessionError, no_scores, per_response, response_positions
from centaurlab.scoring.scorer import ModelFailureError, Piece, ScoredSession, SessionScorer
from centaurlab.scoring.token_statistics import TokenStatistics

BATCH_TOKENS = 131_072
"""Tokens of the sessions that vLLM is given at once."""

TOLERANCE = {"float32": 1e-3}
TOLERANCE_ROUNDED = 0.05
"""Nats per response, on average, by which vLLM and our scorer may differ; rounded weights allow for more."""

FLIPPED = {"float32": 0.01}
FLIPPED_ROUNDED = 0.25
"""The share of answers, beyond one, at which another token may be the likeliest: of ties, and what is nearly one."""

_OLDEST = (0, 33)
_TRIED_SESSIONS = 4
_INSTALL = "install both from a clone, in an environment of their own: pip install . 'vllm>=0.33' (docs/engines.md)"


@dataclass(frozen=True)
class VllmEngine:
    """vLLM as it is installed: ``name`` with the version, and how many GPUs have a model together."""

    name: str
    tensor_parallel: int

    def scorer(
        self, model: ModelArguments, max_tokens: int, own: Callable[[ModelArguments], SessionScorer]
    ) -> "VllmScorer":
        """A scorer of ``model``; ``own`` makes our own of it."""
        spread = replace(model, device_map="auto") if self.tensor_parallel > 1 else model
        return VllmScorer(
            self.name,
            _find(model, weights=True).base.folder,
            lambda: own(spread),
            model.dtype,
            max_tokens,
            tensor_parallel_size=self.tensor_parallel,
            trust_remote_code=model.trust_remote_code,
        )


def find_engine(model: ModelArguments, scoring: ScoreArguments, is_loaded: bool, n_processes: int) -> VllmEngine:
    """The engine that is installed; ``UserError`` where there is none, or it cannot do what is asked for."""
    try:
        found = version("vllm")
    except PackageNotFoundError as error:
        raise UserError(f"--engine vllm: vLLM is not installed; {_INSTALL}") from error
    if tuple(int(part) for part in found.split("+")[0].split(".")[:2]) < _OLDEST:
        raise UserError(f"--engine vllm: vLLM {found} cannot score given tokens; {_INSTALL}")
    if is_loaded:
        raise UserError("--engine vllm loads models by itself; give the model's name or folder")
    if n_processes > 1:
        raise UserError("--engine vllm starts its own processes: one command, and --tensor_parallel N for N GPUs")
    given = [n for n in ("load_in_4bit", "load_in_8bit", "device_map", "attn_implementation") if getattr(model, n)]
    given += ["chunk_tokens"] if scoring.chunk_tokens else []
    if given:
        raise UserError(f"--engine vllm has no --{given[0]}; leave it out, or leave out --engine")
    if _find(model, weights=False).adapter:
        raise UserError(
            "--engine vllm scores no adapter on its base; make one model of the two with 'centaurlab merge'"
        )
    return VllmEngine(f"vllm {found}", scoring.tensor_parallel)


class VllmScorer:
    """Scores sessions with vLLM, in the place of a ``SessionScorer``; the engine starts with the first of them.

    ``folder``: of the model. ``own`` loads our own scorer of it, for the comparison before the start. ``notes``: what
    that found.
    """

    check = SelfCheck(True, True, True, None, packed=True)

    def __init__(
        self, name: str, folder: Path, own: Callable[[], SessionScorer], dtype: str, max_tokens: int, **settings: Any
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._name = name
        self._own: Callable[[], SessionScorer] | None = own
        self._dtype = dtype
        self._settings = settings | {
            "model": str(folder),
            "skip_tokenizer_init": True,  # it is given our own token ids
            "dtype": dtype,
            "max_model_len": max_tokens + 1,  # a request has to generate a token
            "max_logprobs": -1,  # as many options as there are
            "enable_prefix_caching": False,  # requests for log-probabilities do not read it
            "gpu_memory_utilization": 0.85,  # our own scorer has left some of it in use
            "generation_config": "vllm",  # and not the checkpoint's, which may hold a temperature
        }
        self._vllm: Any = None
        self._engine: Any = None

    def forget(self) -> None:
        """Nothing of the sessions scored is kept."""

    def can_be_packed(self, encoding: Encoding, options: ResponseOptions) -> bool:
        """Whether a session may be given together with others."""
        return bool(len(encoding.start_R))

    def score_pieces(self, pieces: Sequence[Piece]) -> ScoredSession:
        """Score all responses of a session, as ``SessionScorer.score_pieces``."""
        pieces = [piece for piece in pieces if len(piece.encoding.start_R)]
        if not pieces:
            return ScoredSession(no_scores())
        scored = self.score_together([(piece.encoding, piece.options) for piece in pieces])
        columns = zip(*(vars(one.scores).values() for one in scored), strict=True)
        return ScoredSession(ResponseScores(*map(np.concatenate, columns)), sum(one.n_computed for one in scored))

    def score_together(self, sessions: Sequence[tuple[Encoding, ResponseOptions]]) -> list[ScoredSession]:
        """Score sessions as vLLM sees fit to pack them. Raises ``SessionError`` where it cannot score one of them."""
        if self._own is not None:
            self._compare(sessions[:_TRIED_SESSIONS], self._own)
            self._own = None
        return self._score(sessions)

    def _compare(self, sessions: Sequence[tuple[Encoding, ResponseOptions]], own: Callable[[], SessionScorer]) -> None:
        """Say how far vLLM's numbers lie from ours; ``UserError`` where that is too far."""
        scorer: SessionScorer | None = own()
        assert scorer is not None
        expected = [scorer.score(encoding, (), options).scores for encoding, options in sessions]
        scorer = None
        gc.collect()
        clear_device_cache(garbage_collection=True)  # for the engine's own copy of the weights
        try:
            found = [one.scores for one in self._score(sessions)]
        except SessionError as error:  # not to load our own beside the engine once more
            raise UserError(f"{error}; it was to be held against our own scorer on this session first") from error
        self.notes = (f"self-check: {_parity(self._name, found, expected, self._dtype)}",)

    def _score(self, sessions: Sequence[tuple[Encoding, ResponseOptions]]) -> list[ScoredSession]:
        if self._engine is None:
            self._start()
        prompts = [self._vllm.TokensPrompt(prompt_token_ids=encoding.input_ids_T.tolist()) for encoding, _ in sessions]
        asked = [_asked(encoding, options) for encoding, options in sessions]
        parameters = [
            self._vllm.SamplingParams(
                max_tokens=1,
                temperature=0.0,
                detokenize=False,
                flat_logprobs=True,
                prompt_logprobs=1,
                prompt_logprob_start=int(response_positions(encoding)[0]) - 1,
                prompt_logprob_token_ids=ids_TO,
            )
            for (encoding, _), ids_TO in zip(sessions, asked, strict=True)
        ]
        try:
            outputs = self._engine.generate(prompts, parameters, use_tqdm=False)
        except ValueError as error:  # one of the requests
            raise ModelFailureError(f"{self._name} cannot score it: {one_line(error)}") from error
        except Exception as error:  # EngineDeadError is no RuntimeError, and its process dies of anything
            raise UserError(
                f"{self._name} ended: {one_line(error)}; what is scored is kept, and the same command goes on"
            ) from error
        return [
            self._read(encoding, options, ids_TO, output)
            for (encoding, options), ids_TO, output in zip(sessions, asked, outputs, strict=True)
        ]

    def _start(self) -> None:
        os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "1")  # the one that scores given tokens
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        import vllm  # here: it is in an environment of its own, and takes seconds

        try:
            self._engine = vllm.LLM(**self._settings)
        except (ValueError, RuntimeError, NotImplementedError, torch.OutOfMemoryError) as error:
            raise UserError(f"{self._name} does not start with {self._settings['model']}: {one_line(error)}") from error
        self._vllm = vllm

    def _read(self, encoding: Encoding, options: ResponseOptions, ids_TO: Any, output: Any) -> ScoredSession:
        """The scores in what vLLM gave for a session."""
        position_N = response_positions(encoding)
        log_p_TO = output.prompt_token_id_logprobs
        if log_p_TO is None or log_p_TO.shape != ids_TO.shape or output.prompt_logprobs is None:
            raise SessionError(f"{self._name} gave no log-probabilities for it")
        log_p_NO = log_p_TO[position_N - position_N[0]].astype(np.float64)
        log_p_N = log_p_NO[:, 0]
        is_likeliest_N = [_is_likeliest(output.prompt_logprobs[int(at)], encoding.input_ids_T[at]) for at in position_N]
        unknown_NK = np.full((len(position_N), len(TEMPERATURES)), np.nan, np.float32)
        option_nll_N1 = -np.logaddexp.reduce(log_p_NO[:, 1:], axis=1, initial=-np.inf)[:, None]
        statistics = TokenStatistics(
            log_probability_N=log_p_N.astype(np.float32),
            greedy_N=np.array(is_likeliest_N),
            entropy_N=unknown_NK[:, 0],
            nll_NK=unknown_NK,
            option_nll_N1K=np.concatenate([option_nll_N1, unknown_NK], axis=1).astype(np.float32),
        )
        scores = per_response(encoding, statistics, options, whole=False)
        return ScoredSession(scores, len(encoding.input_ids_T) - 1)


def _parity(name: str, found: Sequence[ResponseScores], expected: Sequence[ResponseScores], dtype: str) -> str:
    """How far an engine's numbers lie from ours, in words; ``UserError`` where that is too far."""

    def both(column: str) -> Iterator[np.ndarray[Any, Any]]:
        return (np.concatenate([getattr(one, column) for one in side]) for side in (found, expected))

    found_R, expected_R = both("nll_R")
    moved_R = np.abs(found_R - expected_R)
    allowed = TOLERANCE.get(dtype, TOLERANCE_ROUNDED)
    said = (
        f"{name} and our own scorer differ by {moved_R.mean():.1e} nats per response on average, "
        f"{moved_R.max():.1e} at most ({counted(len(moved_R), 'response')} of {counted(len(expected), 'session')})"
    )
    is_alike = moved_R.mean() <= allowed
    found_R, expected_R = both("option_nll_R")
    has_options_R = np.isfinite(found_R) | np.isfinite(expected_R)
    if has_options_R.any():
        moved = np.abs(found_R - expected_R)[has_options_R].mean()  # NaN where one of them knows it alone
        said += f", by {moved:.1e} in -log of the options' probability"
        is_alike &= moved <= allowed
    found_R, expected_R = (column_R[column_R >= 0] for column_R in both("greedy_correct_R"))
    if len(expected_R):
        n_other = int((found_R != expected_R).sum())
        said += f", and {n_other} of {len(expected_R)} times in whether the answer was the likeliest token"
        is_alike &= n_other <= 1 + FLIPPED.get(dtype, FLIPPED_ROUNDED) * len(expected_R)
    if not is_alike:
        raise UserError(
            f"{said}; more than {allowed:g} nats, or other likeliest tokens than rounding explains, is refused: score "
            "this model without --engine"
        )
    return said


def _is_likeliest(here: Any, token: int) -> bool:
    """Whether no token is likelier than the one that was given, as ``token_statistics`` says; here both are told."""
    return bool(here[int(token)].logprob >= max(one.logprob for one in here.values()))


def _asked(encoding: Encoding, options: ResponseOptions) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Token ids, a row for each token that follows the first question: none (-1) but of what was answered.

    The first of a row is what was answered; where a response begins, the others are what could have been.
    """
    position_N = response_positions(encoding)
    n_options = int(options.is_option_RO.sum(axis=1).max(initial=0))
    ids_TO = np.full((len(encoding.input_ids_T) - position_N[0], 1 + n_options), -1, np.int32)
    ids_TO[position_N - position_N[0], 0] = encoding.input_ids_T[position_N]
    for start, is_option_O in zip(encoding.start_R, options.is_option_RO, strict=True):
        ids_O = options.ids_O[is_option_O]
        ids_TO[start - position_N[0], 1 : 1 + len(ids_O)] = ids_O
    return ids_TO
