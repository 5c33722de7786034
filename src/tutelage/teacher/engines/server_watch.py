"""Counts how often the labels are among a server's likely tokens, and says so where they are not.

A label that is missing gets the lowest log-probability of the list. That is harmless for unlikely
labels; where all labels are missing, the reply says nothing about the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_FIRST = 8
"""Replies after which there is a verdict; fewer say little."""
_MANY = 16
_MOST, _SOME = 0.5, 0.1
_SHOWN = 8
_PLENTY = 100
"""A label that is not among so many likely tokens has next to no probability anyway."""
_UNLIKELY = (
    "In most replies, all labels together have less than 0.01 % of the probability of the next "
    "token. Check that teacher.tokenizer is the tokenizer of the server's model, and with "
    "`tutelage plan` that the model can answer such a prompt."
)


class LabelWatch:
    """Counts replies, and those without a label.

    Args:
        top: Number of most likely tokens in each reply; 0 if every label has its own probability.

    Attributes:
        replies: Number of scored replies so far.
        blind: Number of those without any label.
        partial: Number of those that lack some label.
        floored: Number of labels that were missing, over all replies.
        choices: Number of labels, over all replies.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._seen: tuple[str, ...] = ()
        self._wanted: tuple[str, ...] = ()
        self._told: set[str] = set()
        self.replies = self.blind = self.partial = self.floored = self.choices = 0

    def count(
        self,
        missing: int,
        choices: int,
        example: Callable[[], tuple[Sequence[str], Sequence[str]]],
    ) -> None:
        """Counts one reply.

        Args:
            missing: Number of labels that are not in the list.
            choices: Number of labels.
            example: Returns the labels' tokens and the server's tokens, for messages.
        """
        self.replies += 1
        self.choices += choices
        self.floored += missing
        self.partial += missing > 0
        self.blind += missing == choices
        if missing and (not self._seen or (missing == choices and self.blind == 1)):
            wanted, seen = example()
            self._seen, self._wanted = tuple(seen[:_SHOWN]), tuple(wanted[:_SHOWN])

    @property
    def never_found(self) -> bool:
        """Whether no reply had a label so far."""
        return self.blind == self.replies

    @property
    def verdict(self) -> str:
        """Why the run must stop; "" if it may go on."""
        if not self._top:
            return ""
        first = self.never_found and self.replies >= _FIRST
        if not first and not (self.replies >= _MANY and self.blind > _MOST * self.replies):
            return ""
        found = "None of the labels is" if first else "In most replies, none of the labels is"
        return (
            f"{found} among the {self._top} most likely tokens ({self.blind} of {self.replies} "
            f"replies). {self._example()} Check that teacher.tokenizer is the tokenizer of the "
            "server's model, and with `tutelage plan` that the model can answer such a prompt; or "
            "use a server that gives the probability of every label (teacher.scoring=exact)."
        )

    def warning(self) -> str:
        """Returns what a user should know by now; "" for nothing, or for what was told before."""
        kind, text = self._finding()
        if not kind or kind in self._told:
            return ""
        self._told.add(kind)
        return f"{text} {self._example()}"

    def _finding(self) -> tuple[str, str]:
        if self.replies < _FIRST or self.verdict:
            return "", ""
        if not self._top:
            return ("unlikely", _UNLIKELY) if self.blind > _MOST * self.replies else ("", "")
        guessed = (
            f"among the {self._top} most likely tokens, so its probability is a guess that is too "
            "large."
        )
        if self.blind > _SOME * self.replies:
            return "blind", (f"In {self.blind} of {self.replies} replies, no label is {guessed}")
        if self.partial > _MOST * self.replies and self._top < _PLENTY:
            return "partial", (
                f"In {self.partial} of {self.replies} replies, some label is not {guessed}"
            )
        return "", ""

    @property
    def summary(self) -> str:
        """The counts, for readers of the results; "" if nothing was missing."""
        if not self._top or not self.floored:
            return ""
        return (
            f"{self.floored:,} of {self.choices:,} label probabilities were not among the "
            f"{self._top} most likely tokens and got the lowest one there; {self.blind:,} of "
            f"{self.replies:,} replies had no label at all"
        )

    def _example(self) -> str:
        wanted, seen = (", ".join(map(repr, names)) for names in (self._wanted, self._seen))
        return f"The labels begin with {wanted}; the server's likely tokens were {seen}."
