"""What a model must beat: predictions that know nothing of the task but which answers people give.

Both count a response as one event, whatever its number of tokens; NLLs are in nats per response.
"""

import math
from collections import Counter
from collections.abc import Iterable

from centaurlab.transcripts import Transcript, find_responses


def responses_of(transcript: Transcript) -> list[str]:
    """The answers of a session as they stand in its text, without surrounding white space and empty ones."""
    texts = (transcript.text[r.start : r.end].strip() for r in find_responses(transcript.text))
    return [text for text in texts if text]


def uniform_nll(sessions: Iterable[Transcript]) -> float:
    """Mean NLL where every different answer of a session is equally likely throughout it: mean of log K.

    It is told the session's options in advance, so it is a lower bound for guessing. NaN without responses.
    """
    total, count = 0.0, 0
    for session in sessions:
        answers = responses_of(session)
        total += len(answers) * math.log(len(set(answers)) or 1)
        count += len(answers)
    return total / count if count else math.nan


def marginal_nll(training: Iterable[Transcript], sessions: Iterable[Transcript]) -> float:
    """Mean NLL under the frequencies of answers among the training participants of the study.

    With n of N training answers, p = (n + 1) / (N + K + 1) for K different answers and one more event, "any other
    answer" (Laplace's rule). NaN where there are no training answers, or nothing to predict.
    """
    counts = Counter(answer for session in training for answer in responses_of(session))
    answers = [answer for session in sessions for answer in responses_of(session)]
    if not counts or not answers:
        return math.nan
    denominator = counts.total() + len(counts) + 1
    return -sum(math.log((counts[answer] + 1) / denominator) for answer in answers) / len(answers)
