"""What a chat template does to the sessions of a data set: what it adds to them, takes from them, and changes.

Whatever is in every session (a system prompt, a date) is found by writing a small conversation in two ways and
comparing; what befalls single turns is counted over all sessions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from os.path import commonprefix

import pandas as pd

from centaurlab.data.transcripts import Transcript
from centaurlab.display.tables import rows_of
from centaurlab.display.terminal import show
from centaurlab.prompts.templates import TemplateContext, Turn

_EXAMPLE = 200  # characters
_PROBE = (Turn("How are you?", None), Turn("Fine.", 0), Turn("And now?", None))


@dataclass(frozen=True)
class Finding:
    """What befell ``n`` of ``of`` turns of a study (``study`` is '' and both are 0 for what is in every session).

    ``participant`` is whom the example is of.
    """

    kind: str
    study: str
    n: int
    of: int
    participant: str
    example: str


def audit(context: TemplateContext, transcripts: Iterable[Transcript], protocol: str = "full") -> list[Finding]:
    """What the template does, in general and then by study. ``UserError`` for a session that cannot be written so."""
    found: dict[tuple[str, str], Finding] = {}
    totals: dict[tuple[str, str], int] = {}
    for transcript in transcripts:
        written = context.write(transcript, protocol)
        for one in written.turns:
            who = "user" if one.turn.number is None else "response"
            totals[transcript.study, who] = totals.get((transcript.study, who), 0) + 1
            if one.fate != "kept":
                now = written.text[one.start : one.end]
                became = f" became {now!r}" if one.fate in ("trimmed", "rewritten") else ""
                _count(found, transcript, f"{who} {one.fate}", 1, f"{one.turn.content!r}{became}")
        totals[transcript.study, "empty"] = totals.get((transcript.study, "empty"), 0) + written.n_responses
        if written.n_merged:
            _count(found, transcript, "empty response left out", written.n_merged, "the text around it is one turn")
    counted = (replace(one, of=totals[one.study, one.kind.split()[0]]) for one in found.values())
    return [*_in_every_session(context), *sorted(counted, key=lambda one: (one.study, one.kind))]


def audit_table(by_model: Mapping[str, Sequence[Finding]]) -> pd.DataFrame:
    """The findings of each model, one per row."""
    rows = [{"model": model} | asdict(one) for model, findings in by_model.items() for one in findings]
    return pd.DataFrame(rows, columns=["model", "study", "kind", "n", "of", "participant", "example"])


def print_audit(model: str, findings: Iterable[Finding]) -> None:
    """Print what the template does."""
    rows = (
        (one.study or "every session", one.kind, f"{one.n:,} of {one.of:,}" if one.of else None, one.example)
        for one in findings
    )
    title = f"what the chat template of {model} does"
    show(rows_of(title, ("study", "what", "turns", "for example"), rows))


def _count(found: dict[tuple[str, str], Finding], transcript: Transcript, kind: str, n: int, example: str) -> None:
    key = (transcript.study, kind)
    if key not in found:
        found[key] = Finding(kind, transcript.study, 0, 0, transcript.participant, _shortened(example))
    found[key] = replace(found[key], n=found[key].n + n)


def _in_every_session(context: TemplateContext) -> Iterator[Finding]:
    messages = [turn.message for turn in _PROBE]
    pieces, numbers = context.frame(_PROBE)
    if numbers != [0, 1, 2]:
        yield _general("turns left out", f"of user, assistant, user it writes turns {[i + 1 for i in numbers]}")
        return
    system = pieces[0].removesuffix(_common_suffix(pieces[0], pieces[2]))
    if _words(context, system):
        yield _general("system prompt inserted", repr(system))
    if context.render(messages) != replace(context, today=context.today + timedelta(days=40)).render(messages):
        yield _general("date inserted", f"always {context.today:%d %b %Y} here; elsewhere the day of the run")
    bos = context.tokenizer.bos_token
    plain = context.tokenizer("a").input_ids
    if bos and plain[0] == context.tokenizer.bos_token_id and bos not in pieces[0]:
        yield _general("no beginning of sequence", f"{bos!r} stands before plain text, and not in the template's")
    before_reply = context.render(messages[:1], reply_follows=True).partition(_PROBE[0].content)[2]
    if before_reply != pieces[1]:
        example = f"asked for a reply it writes {before_reply!r}; before the responses stands {pieces[1]!r}"
        yield _general("responses begin unlike replies", example)
    if context.knows_thinking:
        changes = context.render(messages) != context.render(messages, thinking=None)
        says = "changes" if changes else "does not change"
        yield _general("thinking turned off", f"enable_thinking=False {says} what is written of the session")
    if "think" in pieces[1]:
        yield _general("thinking inserted", repr(pieces[1]))


def _general(kind: str, example: str) -> Finding:
    return Finding(kind, "", 0, 0, "", _shortened(example, 3 * _EXAMPLE))


def _words(context: TemplateContext, text: str) -> str:
    """What is left of ``text`` without the tokenizer's special tokens."""
    for token in context.tokenizer.added_tokens_decoder.values():
        if token.special:
            text = text.replace(token.content, "")
    return text.strip()


def _common_suffix(a: str, b: str) -> str:
    return commonprefix([a[::-1], b[::-1]])[::-1]


def _shortened(text: str, width: int = _EXAMPLE) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
