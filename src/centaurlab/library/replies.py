"""What a model that is asked through an API replied, into the option it chose and what that says of a person's answer.

Such models say the likeliest few tokens and keep the rest, so that the NLL of an answer is known from below alone.
"""

import math
from collections.abc import Mapping, Sequence

from centaurlab.data.options import SessionOptions
from centaurlab.prompts.prompt import Prompt, PromptResponse

_QUOTES = " \t\r\n\"'`*."
_ROUNDED = 1e-6
"""The probability of what is not among the likeliest, at least: theirs are rounded, and can sum to 1 without it."""


def choices(prompt: Prompt, options: SessionOptions) -> list[tuple[PromptResponse, tuple[str, ...]]]:
    """The responses that are a choice among options, with these; none where options are the session's own answers.

    Those say what the person goes on to answer, and no language model is told them.
    """
    if options.rule == "own answers":
        return []
    return [
        (response, offered)
        for response in prompt.responses
        if (offered := options.of(response.number)) and len(offered) > 1
        if prompt.text[response.start : response.end].strip() in offered
    ]


def chosen(reply: str, options: Sequence[str]) -> str | None:
    """The option that a reply names, with or without markers, quotes and a full stop; None where it is none of them."""
    for form in _forms(reply):
        found = [option for option in options if option == form] or [
            option for option in options if option.casefold() == form.casefold()
        ]
        if len(found) == 1:
            return found[0]
    return None


def option_nll_at_least(likeliest: Mapping[str, float], options: Sequence[str], answer: str) -> float | None:
    """The least that −log of the answer's share among the options can be by the first token of a reply, in nats.

    A reply counts as the option that its first token begins. What can begin the answer counts as the answer's: tokens
    that begin other options as well, that begin any reply (markers, quotes), and all that is not among the likeliest.

    Parameters
    ----------
    likeliest
        The likeliest first tokens of a reply, with their log-probabilities.
    options, answer
        What could have been answered, and what was.

    Returns
    -------
    float or None
        None where no token is known.
    """
    if not likeliest:
        return None
    of_answer = max(_ROUNDED, 1 - math.fsum(map(math.exp, likeliest.values())))
    others = 0.0
    for token, log_probability in likeliest.items():
        begun = [option for option in options if _begins(token, option)]
        if answer in begun:
            of_answer += math.exp(log_probability)
        elif begun:
            others += math.exp(log_probability)
    return math.log((of_answer + others) / of_answer)


def _forms(reply: str) -> tuple[str, str]:
    """A reply without markers, and without quotes and full stops as well."""
    said = reply.strip().removeprefix("<<").split(">>")[0]
    return said.strip(), said.strip(_QUOTES)


def _begins(token: str, option: str) -> bool:
    """Whether a reply that begins with ``token`` can name the option; a character that is cut in two can be any."""
    if "<<".startswith(token.strip()) or "\ufffd" in token:
        return True
    return any(option.casefold().startswith(form.casefold()) for form in _forms(token))
