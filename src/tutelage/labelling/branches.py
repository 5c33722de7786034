"""Labels of several tokens: a tree of beginnings, and the probability of each label along it.

A label's probability is the product of the next-token probabilities at the places where it and
another label part. Labels whose first tokens are all different part once, right after the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.labelling.verbalizer import Tokens, Verbalizer, common_length

NEGLIGIBLE = 0.3
"""Labels that share a beginning are asked about further only if the beginning has at least this
share of the highest probability of a label or beginning. Below it, they share its probability
evenly. No label of theirs can be the most probable one before calibration. On Banking77 by its own
label names (Qwen2.5-Coder-0.5B, 40 texts, one shot a class) a label costs 749 tokens instead of the
939 that a tenth costs, and as many texts are right before calibration."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A place after the prompt where labels part.

    Attributes:
        tokens: The tokens up to here, shared by all labels of the branch.
        beginning: Their text.
        choices: The next tokens, all different.
        words: The text of each choice.
        members: The label behind each choice by its index, or the branch of several.
        ending: A label that ends here while others go on, if its end has no known token.
    """

    tokens: Tokens
    beginning: str
    choices: Tokens
    words: tuple[str, ...]
    members: tuple[int | Branch, ...]
    ending: int | None = None

    @property
    def labels(self) -> tuple[int, ...]:
        """All labels of the branch, by their indices."""
        ends = () if self.ending is None else (self.ending,)
        return sum((_labels(member) for member in self.members), ends)

    def all(self) -> list[Branch]:
        """Returns this branch and all branches below it."""
        inner = [member for member in self.members if isinstance(member, Branch)]
        return [self, *(one for branch in inner for one in branch.all())]


def _labels(member: int | Branch) -> tuple[int, ...]:
    return (member,) if isinstance(member, int) else member.labels


def branch_of(verbalizer: Verbalizer, labels: Sequence[int]) -> Branch:
    """Builds the tree of some labels.

    Args:
        verbalizer: Their words and tokens.
        labels: Their indices; two or more.
    """
    sequences = {label: verbalizer.sequence(label) for label in labels}
    depth = common_length(tuple(sequences.values())) if verbalizer.spelt else 0
    here = sequences[labels[0]][:depth]
    beginning = verbalizer.beginnings.get(here, "")
    # Labels by their next token, in their own order.
    groups: dict[int | None, list[int]] = {}
    for label, tokens in sequences.items():
        groups.setdefault(tokens[depth] if len(tokens) > depth else verbalizer.end, []).append(
            label
        )
    ended = groups.pop(None, None)
    members = [own[0] if len(own) == 1 else branch_of(verbalizer, own) for own in groups.values()]
    return Branch(
        here,
        beginning,
        tuple(token for token in groups if token is not None),
        tuple(_shown(verbalizer, member, beginning) for member in members),
        tuple(members),
        ended[0] if ended else None,
    )


def _shown(verbalizer: Verbalizer, member: int | Branch, beginning: str) -> str:
    """Returns the text of a choice: the rest of its word, or of a shared beginning."""
    if isinstance(member, Branch):
        return member.beginning[len(beginning) :] if beginning else member.beginning.lstrip(" ")
    word = verbalizer.words[member]
    return word[len(beginning.lstrip(" ")) :]


@dataclass(frozen=True, slots=True)
class Split:
    """The natural-log probabilities behind a branch.

    Attributes:
        labels: Of the labels that the branch decides, by index.
        branches: Of each branch below it, with its total.
    """

    labels: Mapping[int, float]
    branches: tuple[tuple[Branch, float], ...]


def split(branch: Branch, logprobs: Sequence[float], total: float) -> Split:
    """Reads the answer about a branch.

    Args:
        branch: The branch.
        logprobs: Natural-log probability of each choice as the next token.
        total: Natural-log probability of the branch itself.
    """
    labels: dict[int, float] = {}
    branches: list[tuple[Branch, float]] = []
    for member, logprob in zip(branch.members, logprobs, strict=True):
        if isinstance(member, int):
            labels[member] = total + logprob
        else:
            branches.append((member, total + logprob))
    if branch.ending is not None:
        # Whatever does not go on to another label ends here.
        rest = 1.0 - math.fsum(map(math.exp, logprobs))
        labels[branch.ending] = total + math.log(max(rest, 1e-12))
    return Split(labels, tuple(branches))


def shared_evenly(branch: Branch, total: float) -> dict[int, float]:
    """Returns the labels of a branch with an equal share of its natural-log probability each."""
    labels = branch.labels
    return dict.fromkeys(labels, total - math.log(len(labels)))
