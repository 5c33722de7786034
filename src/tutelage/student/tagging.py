"""Entities in raw texts by a token student: words in, tags decoded, and characters out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tutelage.tasks.spans import first_pieces, from_tags, split_words, strict_tags, to_characters
from tutelage.tasks.tag_decoding import allowed_moves, best_tags

_WINDOWS_AT_ONCE = 64


class _Window(NamedTuple):
    """A stretch of a text's tokens that the network sees at once.

    Attributes:
        ids: with the special tokens around them.
        read: places among the text's tokens that are read from this window, each with where it lies in ``ids``.
    """

    text: int
    ids: list[int]
    read: tuple[tuple[int, int], ...]


class _Encoded(NamedTuple):
    """A text's words as [start, end) in characters, and for each the place of its first token (-1 where it has none)."""

    words: list[tuple[int, int]]
    token_indices: tuple[int, ...]


def find_entities(
    network: Any, tokenizer: Any, max_length: int, texts: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """For each text ``{"text", "entities": [{"start", "end", "text", "label", "confidence"}]}``, characters of the text as given.

    Words are cut by :func:`~tutelage.tasks.spans.split_words`; tags form valid IOB2 where the run's did (``constrained_tags``). A text of
    more than ``max_length`` tokens is seen through windows that overlap by half, and each word is read where it has the most text around it.
    ``confidence`` is the probability of the least certain tag of the entity.

    Args:
        network: token classification, its outputs IOB2 tags.
        tokenizer: a fast one.
    """
    tags = [
        network.config.id2label[token_index] for token_index in range(network.config.num_labels)
    ]
    moves = allowed_moves(tags) if getattr(network.config, "constrained_tags", True) else None
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
    seen = _distributions(network, tokenizer.pad_token_id, windows)
    for number, (text, (words, token_indices)) in enumerate(zip(texts, encoded, strict=True)):
        rows = [seen.get((number, token_index)) for token_index in token_indices]
        path = best_tags(rows, tags, moves)
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
        yield {"text": text, "entities": entities}


def _windows(
    number: int, ids: list[int], word_of: Sequence[int | None], max_length: int
) -> list[_Window]:
    """The windows over one text's tokens; each token that belongs to a word is read in exactly one of them."""
    held = [token_index for token_index, word in enumerate(word_of) if word is not None]
    if not held:
        return []
    first, last = held[0], held[-1] + 1
    before, after = ids[:first], ids[last:]
    room = max(1, max_length - len(before) - len(after))
    starts = [first]
    while starts[-1] + room < last:
        # The last window is as full as the others.
        starts.append(min(starts[-1] + max(1, room // 2), last - room))
    # Neighbours meet in the middle of what they share.
    seams = [
        first,
        *((start + room + following) // 2 for start, following in pairwise(starts)),
        last,
    ]
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
    """The distribution over the tags at each token, by text and place."""
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
