"""What the student says of texts before the teacher labels them: for NER the places that *verify* then asks about too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.methods.protocol import Ground
from tutelage.teacher.labelling import Draft, Labeller


def with_proposals(drafts: Sequence[Draft], labeller: Labeller, ground: Ground, round: int) -> list[Draft]:
    """The drafts with what the student proposes of each, where the labeller has a use for it (teacher.candidates names student).

    In round 0 they stay as they are: a student that has learnt nothing sees names anywhere.
    """
    if not (drafts and round and labeller.asks_student):
        return list(drafts)
    ground.on_phase("proposals", 0)
    proposed = ground.look([draft.text for draft in drafts], ()).proposed()
    return [replace(draft, proposed=places) for draft, places in zip(drafts, proposed, strict=True)]
