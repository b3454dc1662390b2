"""A session as it was published, and told anew with other letters for its options: has a model seen the published one?

Whoever transcribed a study drew the letters of its options at random, for each person anew. A model that has not seen
the transcript has no reason to expect the published letters more than others in the same words; so, among the published
session and R others with letters drawn in the same way, the rank of the published one's likelihood is uniform.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np

from centaurlab.catalog.studies import Study
from centaurlab.data.options import session_options
from centaurlab.data.transcripts import SessionKey, Transcript
from centaurlab.prompts.prompt import Prompt, PromptResponse, protocol_text
from centaurlab.stats.bootstrap import generator

_FEW = 5
"""Sessions of a study whose letters may stand in the alphabet's order by chance."""

_CAPITAL = re.compile(r"(?<!\w)[A-Z](?!\w)")


@dataclass(frozen=True)
class Lettered:
    """A session's letters, in the order of the text's first mention, and how often they are mentioned in all.

    ``pool``: the letters of its study, which are those that were drawn from, as far as can be seen: whatever they were,
    given those seen each of them is as likely in a session as another. ``n_responses``: of the session; the mentions of
    the published text and of the others are numbered from there on.
    """

    letters: tuple[str, ...]
    pool: tuple[str, ...]
    n_mentions: int
    n_responses: int

    def version(self, number: int) -> int:
        """Which text a number is of: 0, the published one, or another."""
        return (number - self.n_responses) // self.n_mentions


def find_lettered(
    transcripts: Iterable[Transcript], protocol: str = "full", own: Mapping[str, Study] | None = None
) -> tuple[dict[SessionKey, Lettered], Counter[tuple[str, str]]]:
    """The sessions whose options are letters drawn for each person; and how many others a study has, by the reason.

    A study is left out where a letter stands alone in a session that does not have it as an option, for then it may be
    a word, or where everybody has the same letters or has them in the alphabet's order, for then they were not drawn.
    """
    found: dict[SessionKey, Lettered] = {}
    refused: Counter[tuple[str, str]] = Counter()
    strange: dict[str, str] = {}
    of_study: dict[str, set[frozenset[str]]] = defaultdict(set)
    for one in transcripts:
        options = session_options(one, {}, own)
        names = {option for offered in options.sets for option in offered}
        if not all(_CAPITAL.fullmatch(name) for name in names):
            refused[one.study, "options are no letters"] += 1
            continue
        if not names or (options.set_R < 0).any():
            refused[one.study, "it is not known of each answer what else could be said"] += 1
            continue
        of_study[one.study].add(frozenset(names))
        text = protocol_text(one.text, protocol)
        mentioned = [letter for letter in _CAPITAL.findall(text) if letter not in "AI" or letter in names]
        if other := set(mentioned) - names:
            strange[one.study] = min(other)
        if names & {"A", "I"}:
            refused[one.study, "a letter is A or I, which are words as well"] += 1
        elif len(names) > 1:
            found[one.key] = Lettered(tuple(dict.fromkeys(mentioned)), (), len(mentioned), len(options.set_R))
    by_study: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for key, lettered in found.items():
        by_study[key.study].append(lettered.letters)
    for key in list(found):
        reason = ""
        of_sessions = by_study[key.study]
        if key.study in strange:
            reason = f"{strange[key.study]} stands alone where it is no option"
        elif len(of_study[key.study]) == 1:
            reason = "everybody has the same letters, so that they were not drawn"
            if len(of_sessions) == 1:
                reason = "a session alone does not show whether its letters were drawn"
        elif len(of_sessions) >= _FEW and all(sorted(letters) == list(letters) for letters in of_sessions):
            reason = "all letters stand in the order of the alphabet, so that it was not drawn which comes first"
        if reason:
            refused[key.study, reason] += 1
            del found[key]
        else:
            found[key] = replace(found[key], pool=tuple(sorted(set().union(*of_sessions))))
    return found, refused


@dataclass(frozen=True)
class RelabelledContext:
    """Every session as published and with letters drawn ``n`` times; what is scored are all mentions of letters.

    The space before a letter is scored with it, so that both stay the token that they are in the text.
    """

    lettered: Mapping[SessionKey, Lettered] = field(repr=False)
    n: int
    seed: int = 0

    @property
    def sessions(self) -> frozenset[SessionKey]:
        """Those with letters."""
        return frozenset(self.lettered)

    @property
    def identity(self) -> Mapping[str, Any]:
        """How often letters are drawn, and by which seed."""
        return {"relabelled": self.n, "seed": self.seed}

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The published text and the others, each read from its beginning."""
        one, text = self.lettered[transcript.key], protocol_text(transcript.text, protocol)
        places = [found.start() for found in _CAPITAL.finditer(text) if found[0] in one.letters]
        text = text[: places[-1] + 1]
        rng = generator(self.seed, "letters", *astuple(transcript.key))
        drawn = [rng.choice(one.pool, len(one.letters), replace=False).tolist() for _ in range(self.n)]
        responses, texts, starts = [], [], []
        for version, letters in enumerate([list(one.letters), *drawn]):
            start = version * len(text)
            starts.append(start)
            names = str.maketrans(dict(zip(one.letters, letters, strict=True)))
            signs = np.array(list(text))
            signs[places] = [sign.translate(names) for sign in signs[places]]
            texts.append("".join(signs))
            first = one.n_responses + version * one.n_mentions
            responses += [
                PromptResponse(first + i, start + at - (text[at - 1 : at] == " "), start + at + 1)
                for i, at in enumerate(places)
            ]
        return Prompt("".join(texts), tuple(responses), len(responses), starts=tuple(starts[1:]))
