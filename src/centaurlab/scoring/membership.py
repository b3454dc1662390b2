"""Every token of a session under a model into what Min-K%++ and LogProber make of it.

Shapes: T tokens of a session, N of a chunk, V vocabulary.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from centaurlab.data.transcripts import SessionKey, Transcript, text_digest
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_config, load_model, load_tokenizer
from centaurlab.models.passes import evaluating, logits_of, n_embeddings, new_cache, unknown_token
from centaurlab.models.self_check import SelfCheck, self_check
from centaurlab.models.shape import usable_window
from centaurlab.prompts.encoding import Encoding, Ints, encode
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import read_sound_json
from centaurlab.stats.estimate import NAN, BoolArray, FloatArray
from centaurlab.stats.membership import log_prober, min_k_plus_plus

_FILE = "membership.json"
_CHUNK = 256
_WRITTEN_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class Membership:
    """Of one session: Min-K%++ (no unit) and nats per character of instructions and of answers, LogProber's A and B.

    Instructions are the tokens before the first response; A and B are of these. NaN where there are too few.
    """

    min_k_instructions: float
    min_k_answers: float
    nll_character_instructions: float
    nll_character_answers: float
    logprober_a: float
    logprober_b: float


def token_scores(model: PreTrainedModel, ids_T: Ints, check: SelfCheck) -> tuple[FloatArray, FloatArray]:
    """(T,) log-probability of each token, and z: how far above its expectation, in SDs of log p under the model.

    NaN of the first token, which nothing predicts.
    """
    log_p_T, z_T = (np.full(len(ids_T), NAN) for _ in range(2))
    device = next(model.parameters()).device
    ids = torch.from_numpy(ids_T.astype(np.int64)).to(device)
    is_whole = check.is_whole(len(ids_T))
    cache = None if is_whole else new_cache(model)
    chunk = len(ids) if is_whole else _CHUNK
    with evaluating(model):
        for start in range(0, len(ids) - 1, chunk):
            logits_NV = logits_of(model, ids[None, start : start + chunk], cache)[0]
            targets_N = ids[start + 1 : start + 1 + len(logits_NV)]
            for row in range(0, len(targets_N), 64):
                found = _of_rows(logits_NV[row : row + 64][: len(targets_N) - row], targets_N[row : row + 64])
                place = slice(start + 1 + row, start + 1 + row + found.shape[1])
                log_p_T[place], z_T[place] = found
    return log_p_T, z_T


def _of_rows(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> FloatArray:
    log_p_NV = logits_NV.float().log_softmax(-1)
    p_NV = log_p_NV.exp()
    own_N = log_p_NV.gather(-1, targets_N[:, None])[:, 0]
    mean_N = (p_NV * log_p_NV).sum(-1)
    sd_N = (p_NV * (log_p_NV - mean_N[:, None]) ** 2).sum(-1).sqrt().clamp(min=1e-6)
    found: FloatArray = torch.stack([own_N, (own_N - mean_N) / sd_N]).double().cpu().numpy()
    return found


def membership(encoding: Encoding, log_p_T: FloatArray, z_T: FloatArray) -> Membership:
    """Of a session's tokens."""
    is_answer_T = np.zeros(len(log_p_T), bool)
    for start, end in zip(encoding.start_R, encoding.end_R, strict=True):
        is_answer_T[start:end] = True
    n_before = int(encoding.start_R[0]) if len(encoding.start_R) else len(log_p_T)
    is_instruction_T = (np.arange(len(log_p_T)) < n_before) & np.isfinite(log_p_T)
    is_answer_T &= np.isfinite(log_p_T)
    width_T = np.diff(encoding.end_character_T, prepend=0)

    def per_character(of_T: BoolArray) -> float:
        n_characters = int(width_T[of_T].sum())
        return float(-log_p_T[of_T].sum() / n_characters) if n_characters else NAN

    return Membership(
        min_k_plus_plus(z_T[is_instruction_T]),
        min_k_plus_plus(z_T[is_answer_T]),
        per_character(is_instruction_T),
        per_character(is_answer_T),
        *log_prober(log_p_T[is_instruction_T]),
    )


def memberships(
    arguments: ModelArguments, sessions: Iterable[Transcript], folder: Path, protocol: str, max_length: int | None
) -> dict[SessionKey, Membership]:
    """Of each session as published; read from ``folder`` where it holds its text's already.

    NaN of one with a token that the model does not know, which scoring has named.
    What is computed is written every half minute, and where it is interrupted.
    """
    transcripts = list(sessions)
    digest_of = {one.key: text_digest(one.text) for one in transcripts}
    identity = identify(arguments)
    asked = {"model": identity.fingerprint, "protocol": protocol, "max_length": max_length}
    known = read_sound_json(folder / _FILE)
    found = known.get("sessions", {}) if known.get("asked") == asked else {}
    missing = [one for one in transcripts if digest_of[one.key] not in found]
    if missing:
        tokenizer = load_tokenizer(arguments)
        window = usable_window(load_config(arguments), max_length)
        device = torch.accelerator.current_accelerator() or torch.device("cpu")
        model = load_model(arguments, device)
        check = self_check(model, identity.fingerprint)
        written = time.monotonic()
        try:
            for one in tqdm(missing, desc="Min-K and LogProber", unit="session"):
                encoding = encode(one.text, tokenizer, window, protocol)  # type: ignore[arg-type]
                of = Membership(*[NAN] * len(fields(Membership)))
                if not unknown_token(n_embeddings(model), encoding.input_ids_T):
                    of = membership(encoding, *token_scores(model, encoding.input_ids_T, check))
                found[digest_of[one.key]] = asdict(of)
                if time.monotonic() - written > _WRITTEN_EVERY:
                    RunFolder(folder, "score").write_json(_FILE, {"asked": asked, "sessions": found})
                    written = time.monotonic()
        finally:
            RunFolder(folder, "score").write_json(_FILE, {"asked": asked, "sessions": found})
    values = {key: found[digest] for key, digest in digest_of.items()}
    return {key: Membership(**{k: NAN if v is None else v for k, v in of.items()}) for key, of in values.items()}
