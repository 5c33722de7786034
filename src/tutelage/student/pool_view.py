"""What the student makes of texts without labels, for the selectors that choose among them: many texts, one pass, little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from tutelage.errors import ConfigError
from tutelage.selectors.measures import KINDS, checked_kind, mutual_information, uncertainty_of
from tutelage.selectors.protocol import Uncertainty
from tutelage.student.module import StudentModule
from tutelage.student.observing import evaluating, logits_and_states, mean_state
from tutelage.tasks.spans import first_pieces

Progress = Callable[[str, int, int], None]
"""Told after each chunk what is looked at ("pool", "labelled" or "dropout"), how many texts are done, and of how many."""


class _Batch(NamedTuple):
    """B texts of similar length: their places among all, the student's inputs, and for words the token of each (-1 where it has none)."""

    indices: NDArray[np.int64]
    inputs: dict[str, torch.Tensor]
    tokens: tuple[tuple[int, ...], ...]

    @property
    def read(self) -> list[list[int]]:
        """For words the tokens that are read of each text."""
        return [[token for token in own if token >= 0] for own in self.tokens]


class _Sights(NamedTuple):
    """The arrays of one pass, float32: [N, C], [N, D], and [N] for each kind of uncertainty."""

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    uncertainties: dict[Uncertainty, NDArray[np.float32]]


class PredictionCache:
    """What one state of the student made of texts, shared by all sights of it, so that no text is run through the student twice.

    It holds the arrays of the passes that were made, which their sights share, and a dictionary entry a text. Whoever trains the student
    calls :meth:`forget` before it does.
    """

    def __init__(self) -> None:
        self._passes: list[_Sights] = []
        self._at: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """Begin anew: the student is about to change."""
        self._passes, self._at = [], {}

    def fetch(self, texts: Sequence[str], run: Callable[[Sequence[str]], _Sights]) -> _Sights:
        """The arrays of ``texts``, in order; ``run`` makes a pass over those of them that were not seen yet."""
        new = [text for text in texts if text not in self._at]
        if len(new) == len(texts):
            return self._remembered(texts, run(texts))
        if new:
            new = list(dict.fromkeys(new))
            self._remembered(new, run(new))
        numbers, indices = np.array([self._at[text] for text in texts], dtype=np.int64).T

        def gathered(part: Callable[[_Sights], NDArray[np.float32]]) -> NDArray[np.float32]:
            found = np.empty((len(texts), *part(self._passes[0]).shape[1:]), dtype=np.float32)
            for number, one in enumerate(self._passes):
                own = numbers == number
                found[own] = part(one)[indices[own]]
            return found

        uncertainties = {
            kind: gathered(lambda one, kind=kind: one.uncertainties[kind]) for kind in KINDS
        }  # type: ignore[misc]
        return _Sights(
            gathered(lambda one: one.probabilities),
            gathered(lambda one: one.embeddings),
            uncertainties,
        )

    def _remembered(self, texts: Sequence[str], found: _Sights) -> _Sights:
        for index, text in enumerate(texts):
            self._at.setdefault(text, (len(self._passes), index))
        self._passes.append(found)
        return found


class StudentPoolView:
    """N unlabelled texts as the student sees them now: the :class:`tutelage.selectors.protocol.PoolView` of a real student.

    One pass over the texts, when the first of its arrays is asked for, gives probabilities, uncertainties and embeddings; they are kept,
    so a sight belongs to one state of the student: make a new one after training. Sights of the same state that are given the same ``seen``
    make one pass over a text between them. Texts are tokenised chunk by chunk and nothing of a
    chunk is kept but its results, so that beside the embeddings a text costs 4 (C + 3) bytes. Training is left as it was: gradients,
    each module's mode, and the state of the random generators.

    For words probabilities are those of the least certain word and uncertainties the means over the words. A text of which the student
    sees no word (an empty one) has no numbers (NaN), which selectors rank last.

    Args:
        module: the student, on the device where it trains.
        tokenizer: the student's, with a padding token; for words a fast one.
        texts: the pool's; for words single spaces between them.
        labelled: the texts that the run has already.
        max_length: longer texts are cut, in tokens with the special ones.
        seed: of the dropout masks.
        batch_size: texts of a forward pass.
        chunk: texts that are tokenised at a time, and sorted by length.
        on_chunk: see :data:`Progress`.
        seen: what other sights of this state of the student have seen; None: there are no others.

    Raises:
        ConfigError: ``batch_size`` or ``chunk`` is below 1.
    """

    def __init__(
        self,
        module: StudentModule,
        tokenizer: Any,
        texts: Sequence[str],
        labelled: Sequence[str] = (),
        *,
        max_length: int,
        seed: int,
        batch_size: int = 64,
        chunk: int = 4096,
        on_chunk: Progress | None = None,
        seen: PredictionCache | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("chunk", chunk)):
            if value < 1:
                raise ConfigError(f"A sight of the pool was given {name}={value}; give 1 or more.")
        self._module = module
        self._tokenizer = tokenizer
        self._texts = texts
        self._labelled = labelled
        self._max_length = max_length
        self._seed = seed
        self._batch_size = batch_size
        self._chunk = chunk
        self._on_chunk = on_chunk
        self._seen = seen or PredictionCache()
        self._by_word = module.task.is_token_level
        self._pool_sights: _Sights | None = None
        self._labelled_sights: _Sights | None = None
        self._disagreements: dict[int, NDArray[np.float32]] = {}

    @property
    def texts(self) -> Sequence[str]:
        """The texts, in the order given."""
        return self._texts

    def probabilities(self) -> NDArray[np.float32]:
        """The student's distribution, [N, C]; for words that of the least certain word."""
        return self._pool().probabilities

    def uncertainty(self, kind: Uncertainty) -> NDArray[np.float32]:
        """In [0, 1], [N]; for words the mean over the words.

        Raises:
            ConfigError: there is no such kind.
        """
        checked_kind(kind)
        return self._pool().uncertainties[kind]

    def embeddings(self) -> NDArray[np.float32]:
        """Mean over the real tokens of the encoder's last hidden states, [N, D]."""
        return self._pool().embeddings

    def labelled_embeddings(self) -> NDArray[np.float32]:
        """Those of the labelled texts, [M, D]."""
        if self._labelled_sights is None:
            self._labelled_sights = self._seen.fetch(
                self._labelled, lambda texts: self._look("labelled", texts)
            )
        return self._labelled_sights.embeddings

    def disagreement(self, passes: int) -> NDArray[np.float32]:
        """Mutual information between prediction and dropout mask over ``passes`` stochastic passes, in nats, [N]; for words the mean.

        Dropout modules alone are active. The masks follow from the seed, so that the same student gives the same numbers.

        Raises:
            ConfigError: ``passes`` is below 2, or the student has no dropout that could make passes differ.
        """
        if passes < 2:
            raise ConfigError(f"{passes} passes cannot disagree; give 2 or more (selector.passes).")
        if passes not in self._disagreements:
            self._disagreements[passes] = self._disagree(passes)
        return self._disagreements[passes]

    def proposed(self) -> list[tuple[tuple[int, int], ...]]:
        """For each text where the student sees a name or nearly does, as [start, end) in words, by a pass of its own; see the task."""
        found: list[tuple[tuple[int, int], ...]] = [() for _ in self._texts]
        with evaluating(self._module):
            for batch in self._batches("pool", self._texts) if self._by_word else ():
                seen = self._module(batch.inputs).float().softmax(dim=-1).cpu().numpy()
                for index, rows, tokens in zip(batch.indices, seen, batch.tokens, strict=True):
                    found[index] = self._module.task.proposed(
                        [rows[token] if token >= 0 else None for token in tokens]
                    )
        return found

    def _pool(self) -> _Sights:
        if self._pool_sights is None:
            self._pool_sights = self._seen.fetch(
                self._texts, lambda texts: self._look("pool", texts)
            )
        return self._pool_sights

    def _look(self, name: str, texts: Sequence[str]) -> _Sights:
        total, classes = len(texts), len(self._module.task.outputs)
        uncertainties = {kind: np.full(total, np.nan, dtype=np.float32) for kind in KINDS}
        probabilities = np.full((total, classes), np.nan, dtype=np.float32)
        embeddings = np.zeros((total, self._width()), dtype=np.float32)
        with evaluating(self._module):
            for batch in self._batches(name, texts):
                logits, states = logits_and_states(self._module, batch.inputs)
                embeddings[batch.indices] = (
                    mean_state(states, batch.inputs["attention_mask"]).cpu().numpy()
                )
                found = logits.softmax(dim=-1).cpu().numpy()
                if not self._by_word:
                    probabilities[batch.indices] = found
                    for kind, values in uncertainties.items():
                        values[batch.indices] = uncertainty_of(found, kind)
                    continue
                for index, rows, read in zip(batch.indices, found, batch.read, strict=True):
                    if read:
                        words = rows[read]
                        probabilities[index] = words[words.max(axis=1).argmin()]
                        for kind, values in uncertainties.items():
                            values[index] = uncertainty_of(words, kind).mean()
        return _Sights(probabilities, embeddings, uncertainties)

    def _disagree(self, passes: int) -> NDArray[np.float32]:
        droppers = [
            one
            for one in self._module.modules()
            if isinstance(one, torch.nn.modules.dropout._DropoutNd)
        ]
        if not any(one.p > 0 for one in droppers):
            raise ConfigError(
                "The student has no dropout, so its passes over a text never disagree. Give student.head_dropout=0.1, or another selector=."
            )
        found = np.full(len(self._texts), np.nan, dtype=np.float32)
        with evaluating(self._module), _seeded(self._module.device, self._seed):
            for one in droppers:
                one.train()
            for batch in self._batches("dropout", self._texts):
                mean = entropies = 0.0
                for _ in range(passes):
                    # In double precision: two numbers that are almost equal are subtracted in the end.
                    logs = self._module(batch.inputs).double().log_softmax(dim=-1)
                    mean, entropies = (
                        mean + logs.exp(),
                        entropies + torch.special.entr(logs.exp()).sum(-1),
                    )
                assert isinstance(mean, torch.Tensor)
                assert isinstance(entropies, torch.Tensor)
                values = mutual_information(
                    (mean / passes).cpu().numpy(), (entropies / passes).cpu().numpy()
                )
                if not self._by_word:
                    found[batch.indices] = values
                    continue
                for index, row, read in zip(batch.indices, values, batch.read, strict=True):
                    if read:
                        found[index] = row[read].mean()
        return found

    def _width(self) -> int:
        """D. Asked of the configuration, since there may be no text to see it on."""
        encoder: Any = self._module.network.base_model
        return int(encoder.config.hidden_size)

    def _batches(self, name: str, texts: Sequence[str]) -> Iterator[_Batch]:
        """All texts, chunk by chunk, each chunk from short to long."""
        for start in range(0, len(texts), self._chunk):
            some = texts[start : start + self._chunk]
            given = [text.split(" ") for text in some] if self._by_word else list(some)
            encoded = self._tokenizer(
                given,
                truncation=True,
                max_length=self._max_length,
                is_split_into_words=self._by_word,
                return_attention_mask=False,
            )
            ids = encoded["input_ids"]
            order = sorted(range(len(ids)), key=lambda index: (len(ids[index]), index))
            for first in range(0, len(order), self._batch_size):
                own = order[first : first + self._batch_size]
                rows = [torch.tensor(ids[index], dtype=torch.long) for index in own]
                inputs = {
                    "input_ids": pad_sequence(
                        rows, batch_first=True, padding_value=self._tokenizer.pad_token_id
                    ),
                    "attention_mask": pad_sequence(
                        [torch.ones_like(row) for row in rows], batch_first=True, padding_value=0
                    ),
                }
                tokens = tuple(
                    first_pieces(encoded.word_ids(index), len(given[index]))
                    if self._by_word
                    else ()
                    for index in own
                )
                moved = {key: value.to(self._module.device) for key, value in inputs.items()}
                yield _Batch(np.array(own, dtype=np.int64) + start, moved, tokens)
            if self._on_chunk is not None:
                self._on_chunk(name, min(start + self._chunk, len(texts)), len(texts))


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Draw from ``seed`` on the device and the CPU, and leave their generators as they were."""
    on_cuda = device.type == "cuda"
    index = (
        device.index
        if device.index is not None
        else (torch.cuda.current_device() if on_cuda else 0)
    )
    with torch.random.fork_rng(devices=[index] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
