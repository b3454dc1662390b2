"""A prediction's rows in a table of scores."""

import numpy as np

from centaurlab.cognitive.prediction import of_options, scores_of
from helpers.trials import choices, session_of


def test_of_equally_likely_options_none_is_the_likeliest() -> None:
    """Whichever is named first; or chance would be right as often as people take the first."""
    session = session_of(choices("aab", "abc"), "p")
    logs = [np.log([1 / 3] * 3), np.log([0.5, 0.3, 0.2]), np.log([0.4, 0.2, 0.4])]
    scores = scores_of(session, of_options(session, logs, [0.0] * 3), range(3))
    assert scores.greedy_correct_R.tolist() == [-1, 1, -1]
