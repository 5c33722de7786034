"""Finding entities in raw texts with a token classifier: characters to words to tags and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tutelage.tasks.spans import first_pieces, from_tags, split_words, strict_tags, to_characters
from tutelage.tasks.tag_decoding import allowed_moves, best_tags

_WINDOWS_AT_ONCE = 64


class _Window(NamedTuple):
    """A stretch of a text's tokens the network sees at once.

    Attributes:
        text: Index of the text.
        ids: Token ids, with special tokens around them.
        read: Tokens of the text read from this window, each with its position in ``ids``.
    """

    text: int
    ids: list[int]
    read: tuple[tuple[int, int], ...]


class _Encoded(NamedTuple):
    """The words of a text.

    Attributes:
        words: Character range [start, end) of each word.
        token_indices: First token of each word; -1 for a word without one.
    """

    words: list[tuple[int, int]]
    token_indices: tuple[int, ...]


def find_entities(
    network: Any,
    tokenizer: Any,
    max_length: int,
    texts: Sequence[str],
    *,
    with_confidence: bool = False,
) -> Iterator[dict[str, Any]]:
    """Finds the entities of raw texts.

    Words are split by :func:`~tutelage.tasks.spans.split_words`. Tags form valid IOB2 if they did
    in the run (``constrained_tags``). A text longer than ``max_length`` tokens is read through
    windows overlapping by half, each word in the window with the most context around it.

    Args:
        network: A token classifier with IOB2 tags as outputs.
        tokenizer: A fast tokenizer.
        max_length: Largest number of tokens per window, special tokens included.
        texts: The raw texts.
        with_confidence: Yield each text's "confidence", too, the probability of the least certain
            tag of all of its words; 1 without words.

    Yields:
        One ``{"text", "entities": [{"start", "end", "text", "label", "confidence"}]}`` per text,
        with character offsets into the text as given. ``confidence`` is the probability of the
        least certain tag of the entity.
    """
    tags = [
        network.config.id2label[token_index] for token_index in range(network.config.num_labels)
    ]
    moves = allowed_moves(tags) if getattr(network.config, "constrained_tags", True) else None
    # Phase 1: tokenise every text without cutting it, and lay windows over it.
    encoded: list[_Encoded] = []
    windows: list[_Window] = []
    for number, text in enumerate(texts):
        words = split_words(text)
        if not words:
            encoded.append(_Encoded([], ()))
            continue
        whole = tokenizer(
            [text[start:end] for start, end in words],
            is_split_into_words=True,
            truncation=False,
            verbose=False,
        )
        word_of = whole.word_ids(0)
        encoded.append(_Encoded(words, first_pieces(word_of, len(words))))
        windows += _windows(number, list(whole["input_ids"]), word_of, max_length)
    # Phase 2: one distribution per token, from its window.
    seen = _distributions(network, tokenizer.pad_token_id, windows)
    for number, (text, (words, token_indices)) in enumerate(zip(texts, encoded, strict=True)):
        rows = [seen.get((number, token_index)) for token_index in token_indices]
        # Phase 3: decode the words' tags, then map spans back to characters.
        path = best_tags(rows, tags, moves)
        # An unseen word counts as O, with certainty.
        confidences = [
            1.0 if row is None else row[tag] for row, tag in zip(rows, path, strict=True)
        ]
        entities = []
        for span in from_tags(strict_tags([tags[tag] for tag in path])):
            start, end = to_characters(words, span)
            confidence = round(min(confidences[span.start : span.end]), 4)
            entities.append(
                {
                    "start": start,
                    "end": end,
                    "text": text[start:end],
                    "label": span.type,
                    "confidence": confidence,
                }
            )
        found: dict[str, Any] = {"text": text, "entities": entities}
        if with_confidence:
            found["confidence"] = round(min(confidences, default=1.0), 4)
        yield found


def _windows(
    number: int, ids: list[int], word_of: Sequence[int | None], max_length: int
) -> list[_Window]:
    """Windows over the tokens of one text; each token of a word is read in exactly one of them.

    Args:
        number: Index of the text.
        ids: All token ids of the text, special tokens included.
        word_of: Word of each token; None for special tokens.
        max_length: Largest number of tokens per window.
    """
    held = [token_index for token_index, word in enumerate(word_of) if word is not None]
    if not held:
        return []
    # Special tokens surround every window and reduce its room.
    first, last = held[0], held[-1] + 1
    before, after = ids[:first], ids[last:]
    room = max(1, max_length - len(before) - len(after))
    starts = [first]
    while starts[-1] + room < last:
        # The last window is moved back to be as full as the others.
        starts.append(min(starts[-1] + max(1, room // 2), last - room))
    # Neighbours meet in the middle of their overlap.
    seams = [
        first,
        *((start + room + following) // 2 for start, following in pairwise(starts)),
        last,
    ]
    # Each window carries the special tokens, and the tokens between its two seams.
    return [
        _Window(
            number,
            [*before, *ids[start : min(start + room, last)], *after],
            tuple(
                (token_index, len(before) + token_index - start)
                for token_index in range(seams[index], seams[index + 1])
            ),
        )
        for index, start in enumerate(starts)
    ]


def _distributions(
    network: Any, padding: int, windows: Sequence[_Window]
) -> dict[tuple[int, int], list[float]]:
    """Tag distribution of each token, by index of its text and of the token."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    found: dict[tuple[int, int], list[float]] = {}
    for begin in range(0, len(windows), _WINDOWS_AT_ONCE):
        part = windows[begin : begin + _WINDOWS_AT_ONCE]
        ids = [torch.tensor(window.ids, dtype=torch.long) for window in part]
        mask = pad_sequence(
            [torch.ones_like(row) for row in ids], batch_first=True, padding_value=0
        )
        with torch.no_grad():
            logits = network(
                input_ids=pad_sequence(ids, batch_first=True, padding_value=padding),
                attention_mask=mask,
            ).logits
        for window, rows in zip(part, logits.float().softmax(-1).tolist(), strict=True):
            found |= {
                (window.text, token_index): rows[column] for token_index, column in window.read
            }
    return found
