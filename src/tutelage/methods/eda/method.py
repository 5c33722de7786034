"""EDA: easy data augmentation of the shots, a baseline without a teacher.

After Wei and Zou 2019 (arXiv 1901.11196): each new text is a shot with a few words replaced,
inserted, swapped or deleted. The paper takes new words from WordNet's synonyms; here they come from
the shots of the class, so that no dictionary is needed and every language works. With one shot per
class, these are the words of the shot itself, which then changes little. For entities, after Dai
and Adel 2020 (arXiv 2010.11683): names give way to names of their type in the shots, words outside
entities to words outside entities, and no other change touches an entity.
"""

from __future__ import annotations

import random
from collections import Counter

from tutelage.characters import counts_in_characters
from tutelage.characters import unspaced as spaces_removed
from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext, gold_rows
from tutelage.methods.eda.changes import changed, pieces_of
from tutelage.methods.eda.settings import EDASettings
from tutelage.methods.generation.duplicates import Repeats
from tutelage.methods.generation.variants import Marked, marked
from tutelage.methods.gold import GoldOnly
from tutelage.records import Growth, Row, derive_seed, record_id
from tutelage.tasks.spans import joined, split_words, write_spans

_TRIES = 8
"""Maximum number of changes tried for a text before it is rejected as a repetition."""


class EDA(GoldOnly):
    """Trains on the shots and on random changes of them, all made before the student begins.

    Args:
        settings: The settings of the method.
    """

    settings_type = EDASettings

    def __init__(self, settings: EDASettings) -> None:
        super().__init__(settings.name)
        self._settings = settings

    def setup(self, context: MethodContext) -> None:
        """Keeps the context, and collects the words and names of the gold rows.

        Raises:
            ConfigError: There are no gold rows, or no mode suits the task.
        """
        super().setup(context)
        settings = self._settings
        by_word = context.task.is_token_level
        self._modes = [mode for mode in settings.modes if by_word or mode != "rename"]
        if not self._modes:
            raise ConfigError(
                "method.modes=[rename] gives entities other names, and this task has none. Give "
                "task=ner, or another mode, such as method.modes=[swap]."
            )
        # Chinese and Japanese have no spaces to split at.
        unspaced = not by_word and counts_in_characters(shot.text for shot in context.shots)
        self._shots = [
            (row, marked(row) if by_word else Marked(row.id, _split(row.text, unspaced), ()))
            for row in gold_rows(context.shots)
        ]
        self._joined = spaces_removed if unspaced else str
        # Words by class, and for entities those outside names; names by type.
        self._words: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        for row, sentence in self._shots:
            pieces = pieces_of(sentence)
            words = [piece.words for piece in pieces if not piece.type]
            # Punctuation and symbols would be most of some texts.
            words = [word for word in words if any(sign.isalnum() for sign in word)]
            self._words.setdefault("" if by_word else row.target, []).extend(words)
            for piece in pieces:
                names = self._names.setdefault(piece.type, [])
                if piece.type and piece.words not in names:
                    names.append(piece.words)
        # Only exact repetitions count among the run's own texts: each resembles its shot.
        self._repeats = Repeats(context, settings.near_duplicate, near_own=1.0)

    def first_rows(self) -> Growth:
        """Returns the gold rows, and the texts made from each of them."""
        numbers = range(self._settings.n_texts)
        made = [
            self._row(shot, sentence, number)
            for shot, sentence in self._shots
            for number in numbers
        ]
        return Growth(
            round=0,
            rows=(*(shot for shot, _ in self._shots), *made),
            quota=dict(Counter(f"{row.asked}/{row.source}" for row in made if row.asked)),
        )

    def _row(self, shot: Row, sentence: Marked, number: int) -> Row:
        """Makes one text; a rejected row where every try repeats a known text.

        Args:
            shot: The gold row.
            sentence: Its words and entities.
            number: Number of the text among those of the shot, from 0.
        """
        context = self._context
        rng = random.Random(derive_seed("eda", context.seed, shot.id, number))
        asked = "" if context.task.is_token_level else shot.target
        # Each try takes the next mode, since one mode may have no way to change this text.
        for attempt in range(_TRIES):
            mode = self._modes[(number + attempt) % len(self._modes)]
            new = changed(
                mode, sentence, self._words[asked], self._names, self._settings.share, rng
            )
            text = self._joined(new.text)
            if (known := self._repeats.check(text)) is None:
                self._repeats.add(text, "pool")
                break
        return Row(
            id=record_id("row", 0, "init", shot.id, number, text),
            text=text,
            target=shot.target if asked else write_spans(new.spans),
            source="init",
            round=0,
            accepted=known is None,
            reason=f"{known.kind} duplicate of {known.against}" if known else "",
            asked=asked,
            parents=(shot.id,),
            detail={"mode": mode},
        )


def _split(text: str, unspaced: bool) -> str:
    """Words of a text joined by single spaces; characters of a script without spaces."""
    return joined(text, split_words(text)) if unspaced else " ".join(text.split())
