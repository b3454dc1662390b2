"""What a model that is asked through an API replied, into the option it chose and what that says of a person's answer.

Such models say the likeliest few tokens and keep the rest, so that the NLL of an answer is known from below alone.
"""

import math
from collections.abc import Mapping, Sequence

_QUOTES = " \t\r\n\"'`*."


def chosen(reply: str, options: Sequence[str]) -> str | None:
    """The option that a reply names, with or without markers, quotes and a full stop; None where it is none of them."""
    said = reply.strip().removeprefix("<<").split(">>")[0]
    for form in (said.strip(), said.strip(_QUOTES)):
        found = [option for option in options if option == form] or [
            option for option in options if option.casefold() == form.casefold()
        ]
        if len(found) == 1:
            return found[0]
    return None


def option_nll_at_least(likeliest: Mapping[str, float], options: Sequence[str], answer: str) -> float | None:
    """The least that −log of the answer's share among the options can be, in nats.

    Parameters
    ----------
    likeliest
        The likeliest first tokens of a reply, with their log-probabilities.
    options, answer
        What could have been answered, and what was.

    Returns
    -------
    float or None
        Of an answer that is not among the likeliest, by the least likely of these; None where nothing is known, or
        where a token begins several options.
    """
    if not likeliest:
        return None
    share = dict.fromkeys(options, 0.0)
    for token, log_probability in likeliest.items():
        begun = token.strip().removeprefix("<<").lstrip()
        fitting = [option for option in options if begun and option.startswith(begun)]
        if len(fitting) > 1:
            return None
        if fitting:
            share[fitting[0]] += math.exp(log_probability)
    of_answer = share[answer] or math.exp(min(likeliest.values()))
    others = sum(share.values()) - share[answer]
    return math.log((of_answer + others) / of_answer)
