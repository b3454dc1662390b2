"""Models under another context: which of them are draws of their own."""

import numpy as np

from centaurlab.analyses.contexts import _base
from centaurlab.results.joined import StudyScores
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.sums import ComparedPair, sum_study


def study(name: str, draw: np.random.Generator, shift: float) -> StudyScores:
    second_R = draw.normal(2, 0.5, 40)
    nlls = second_R.astype(np.float32), (second_R + shift + draw.normal(0, 0.2, 40)).astype(np.float32)
    return StudyScores(name, np.repeat(np.arange(8), 5), *nlls)


def test_a_base_and_what_was_made_of_it_are_one_draw_of_models() -> None:
    draw = np.random.default_rng(0)
    names = ("Qwen/Qwen3-8B-Base", "Qwen/Qwen3-8B")
    pairs = [
        ComparedPair(
            Contrast("persona", "plain"),
            [sum_study(study(f"s{i}", draw, shift)) for i in range(3)],
            name=name,
            base=_base(name),
        )
        for name, shift in zip(names, (0.4, 0.5), strict=True)
    ]
    overall = next(e for e in estimate_effects(pairs, 100) if e.n_pairs == 2 and e.level == "overall")
    assert overall.d.has_interval
    assert not overall.d_models.has_interval
