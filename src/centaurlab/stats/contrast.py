"""The two sides of a comparison, and the one direction in which their difference is taken: first − second.

Whatever is compared (models, a model before and after training, contexts), its NLL is a cost, so that a difference
above zero says: people are predicted worse by the first side. Signs, sentences, titles of columns and the ends of axes
are taken from here, so that none of them is turned round by hand.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contrast:
    """Two sides, by name. ``noun`` is the last word of both names where they share it, such as "persona".

    ``by`` is the word before a side in "people are predicted worse by …": models predict, contexts are predicted with.

    Examples
    --------
    >>> str(Contrast("no", "their own", "persona", by="with"))
    'no persona − their own persona'
    """

    first: str
    second: str
    noun: str = ""
    by: str = "by"

    @property
    def names(self) -> tuple[str, str]:
        """The two sides in full."""
        return f"{self.first} {self.noun}".strip(), f"{self.second} {self.noun}".strip()

    @property
    def turned(self) -> "Contrast":
        """The same sides the other way round: its differences are the negative of these."""
        return Contrast(self.second, self.first, self.noun, self.by)

    @property
    def ends(self) -> tuple[str, str]:
        """What lies below zero and what above, for the two ends of an axis."""
        first, second = (name.removeprefix("the ") for name in self.names)
        return f"{second} worse", f"{first} worse"

    def __str__(self) -> str:
        """``first − second``, in full."""
        return " − ".join(self.names)


POST_TRAINING = Contrast("the post-trained models", "the base models")
"""What an average over pairs of models contrasts."""
