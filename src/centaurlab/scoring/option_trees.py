"""Options of several tokens as a tree: the few places after which a model has to be asked, for all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OptionTree:
    """What has to be computed after a question to know the probability of each option.

    ``ids`` and ``parents``: the tokens that options go on from, each with the place of the token before it among them,
    -1 for the question itself; both are empty where the first token tells the options apart. ``paths``: of each option,
    its tokens with the place before each.
    """

    ids: tuple[int, ...]
    parents: tuple[int, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def tokens(self) -> list[int]:
        """Those of all options."""
        return [token for path in self.paths for _, token in path]

    def depths(self) -> list[int]:
        """How many of ``ids`` each of them continues."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        return depths


@dataclass(frozen=True)
class Branching:
    """The options of one response: its number ``r``, where its first token stands, and which option was ``chosen``."""

    r: int
    start: int
    tree: OptionTree
    chosen: int


def option_tree(options: Sequence[tuple[int, ...]], end: int) -> OptionTree | None:
    """The tree of options, each given as its tokens; None where these do not tell them apart.

    No two of them may happen at once. So an option whose tokens begin those of another ("1" and "10") includes
    ``end``, the first token of the marker that closes an answer; others do not, as NLLs do not.
    """
    sequences = [(*ids, end) if _begins_another(ids, options) else ids for ids in options]
    if not all(options) or len(set(sequences)) < len(sequences):
        return None
    if any(_begins_another(ids, sequences) for ids in sequences):  # a longer option goes on as the marker does
        return None
    places: dict[tuple[int, ...], int] = {(): -1}
    ids: list[int] = []
    parents: list[int] = []
    paths = []
    for sequence in sequences:
        path = []
        for n, token in enumerate(sequence):
            before = sequence[:n]
            if before not in places:
                places[before] = len(ids)
                ids.append(before[-1])
                parents.append(places[before[:-1]])
            path.append((places[before], token))
        paths.append(tuple(path))
    return OptionTree(tuple(ids), tuple(parents), tuple(paths))


def _begins_another(ids: tuple[int, ...], options: Sequence[tuple[int, ...]]) -> bool:
    return any(other[: len(ids)] == ids for other in options if other != ids)
