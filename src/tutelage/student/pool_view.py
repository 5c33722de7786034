"""The student's view of unlabelled texts, for the selectors choosing among them.

Made for large pools: one pass over the texts, in chunks, with little memory per text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from tutelage.data.tokens import tokenize
from tutelage.errors import ConfigError
from tutelage.selectors.measures import KINDS, checked_kind, mutual_information, uncertainty_of
from tutelage.selectors.protocol import Prediction, Uncertainty
from tutelage.student.changed_copies import changed_copies, mean_divergence
from tutelage.student.module import StudentModule
from tutelage.student.observing import evaluating, logits_and_states, mean_state
from tutelage.student.units import least_certain, unit_means

Progress = Callable[[str, int, int], None]
"""Callback after each chunk: name of the pass, texts done, texts in total.

Passes are named "pool", "labelled", "dropout" or "instability".
"""


class _Batch(NamedTuple):
    """B texts of similar length.

    Attributes:
        indices: Indices of the texts among all texts, [B].
        inputs: Token ids and attention mask, [B, L] each.
        positions: Positions at which each text's output is read: for NER the first token of each
            word, -1 for a word without one; otherwise 0.
    """

    indices: NDArray[np.int64]
    inputs: dict[str, torch.Tensor]
    positions: tuple[tuple[int, ...], ...]

    @property
    def read(self) -> list[list[int]]:
        """Positions of each text with an output."""
        return [[at for at in own if at >= 0] for own in self.positions]


class _Predictions(NamedTuple):
    """Arrays of one pass, float32: [N, C], [N, D], and [N] per kind of uncertainty."""

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    uncertainties: dict[Uncertainty, NDArray[np.float32]]


class PredictionCache:
    """Predictions of one state of the student, shared by all its pool views.

    No text runs through the student twice. The cache holds the arrays of the passes made so far,
    which their views share, and one dictionary entry per text. Call :meth:`forget` before training
    the student.
    """

    def __init__(self) -> None:
        self._passes: list[_Predictions] = []
        self._at: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """Drops everything, since the student is about to change."""
        self._passes, self._at = [], {}

    def fetch(
        self, texts: Sequence[str], run: Callable[[Sequence[str]], _Predictions]
    ) -> _Predictions:
        """Predictions for ``texts``, in order.

        Args:
            texts: The texts.
            run: Makes a pass over the texts missing from the cache.
        """
        new = [text for text in texts if text not in self._at]
        # Nothing cached: the arrays of the pass are shared as they are, without a copy.
        if len(new) == len(texts):
            return self._store(texts, run(texts))
        if new:
            new = list(dict.fromkeys(new))
            self._store(new, run(new))
        # Otherwise copy each text's numbers from its pass and index.
        numbers, indices = np.array([self._at[text] for text in texts], dtype=np.int64).T

        def gathered(part: Callable[[_Predictions], NDArray[np.float32]]) -> NDArray[np.float32]:
            found = np.empty((len(texts), *part(self._passes[0]).shape[1:]), dtype=np.float32)
            for number, one in enumerate(self._passes):
                own = numbers == number
                found[own] = part(one)[indices[own]]
            return found

        uncertainties = {
            kind: gathered(
                lambda one, kind=kind: one.uncertainties[kind]  # type: ignore[misc]
            )
            for kind in KINDS
        }
        return _Predictions(
            gathered(lambda one: one.probabilities),
            gathered(lambda one: one.embeddings),
            uncertainties,
        )

    def _store(self, texts: Sequence[str], found: _Predictions) -> _Predictions:
        for index, text in enumerate(texts):
            # A text repeated within one pass points to its first occurrence.
            self._at.setdefault(text, (len(self._passes), index))
        self._passes.append(found)
        return found


class StudentPoolView:
    """N unlabelled texts as the student sees them now.

    Implements :class:`tutelage.selectors.protocol.PoolView`.

    Probabilities, uncertainties and embeddings come from a single pass over the texts, on first
    access, and are kept. A view therefore belongs to one state of the student: create a new one
    after training. Views of the same state sharing a cache in ``seen`` run each text only once.
    Texts are tokenised chunk by chunk and only the results of a chunk are kept, so apart from the
    embeddings a text costs 4 (C + 3) bytes. Gradients, module modes and random states are left
    unchanged.

    For NER, probabilities are those of the least certain word and uncertainties the means over the
    words. A text without any word visible to the student (an empty one) has NaN in both, which
    selectors rank last.

    Args:
        module: The student, on its training device.
        tokenizer: The student's tokenizer, with a padding token; for NER a fast one.
        texts: Texts of the pool; for NER, words joined by single spaces.
        labelled: Texts the run already has.
        max_length: Length in tokens to cut texts to, special tokens included.
        seed: Seed of the dropout masks, and of the changes of texts.
        batch_size: Number of texts per forward pass.
        chunk: Number of texts to tokenise at a time and sort by length.
        on_chunk: Callback after each chunk; see :data:`Progress`.
        seen: Cache shared with other views of this state of the student; None for a private one.

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
                raise ConfigError(f"StudentPoolView got {name}={value}; give 1 or more.")
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
        self._pool_predictions: _Predictions | None = None
        self._labelled_predictions: _Predictions | None = None
        self._disagreements: dict[int, NDArray[np.float32]] = {}
        self._instabilities: dict[tuple[int, float], NDArray[np.float32]] = {}

    @property
    def texts(self) -> Sequence[str]:
        """The texts, in the given order."""
        return self._texts

    def probabilities(self) -> NDArray[np.float32]:
        """Student distributions, [N, C]; for NER the distribution of the least certain word."""
        return self._pool().probabilities

    def uncertainty(self, kind: Uncertainty) -> NDArray[np.float32]:
        """Student uncertainties, [N], in [0, 1]; for NER the mean over the words.

        Args:
            kind: "entropy", "least_confidence" or "margin".

        Raises:
            ConfigError: ``kind`` is unknown.
        """
        checked_kind(kind)
        return self._pool().uncertainties[kind]

    def embeddings(self) -> NDArray[np.float32]:
        """Mean over the real tokens of the encoder's last hidden states, [N, D]."""
        return self._pool().embeddings

    def labelled_embeddings(self) -> NDArray[np.float32]:
        """Embeddings of the labelled texts, [M, D]."""
        if self._labelled_predictions is None:
            self._labelled_predictions = self._seen.fetch(
                self._labelled, lambda texts: self._predict("labelled", texts)
            )
        return self._labelled_predictions.embeddings

    def disagreement(self, passes: int) -> NDArray[np.float32]:
        """Mutual information between prediction and dropout mask, in nats, [N]; for NER the mean.

        Only dropout modules are active. The masks follow from the seed, so the same student always
        gives the same numbers.

        Args:
            passes: Number of stochastic forward passes per text; at least 2.

        Raises:
            ConfigError: ``passes`` is below 2, or the student has no dropout.
        """
        if passes < 2:
            raise ConfigError(
                f"acquire.passes={passes} cannot measure disagreement; give 2 or more passes."
            )
        if passes not in self._disagreements:
            self._disagreements[passes] = self._dropout_disagreement(passes)
        return self._disagreements[passes]

    def instability(self, copies: int, share: float) -> NDArray[np.float32]:
        """Mean divergence of the prediction for changed copies of a text, in nats, [N].

        A copy leaves out words, or swaps them; for NER only words outside the entities that the
        student sees, or nearly sees, and the divergence is the mean over the words of the copy. The
        changes follow from the seed and the text, whatever other texts there are.

        Args:
            copies: Number of copies of each text, one pass each.
            share: Share of the words that a copy changes, at least one.
        """
        if (copies, share) not in self._instabilities:
            self._instabilities[copies, share] = self._divergence_of_copies(copies, share)
        return self._instabilities[copies, share]

    def proposed(self) -> list[tuple[tuple[int, int], ...]]:
        """Word ranges [start, end) of each text where the student sees, or nearly sees, an entity.

        Makes a pass of its own. See :meth:`tutelage.tasks.protocol.Task.proposed`.
        """
        found: list[tuple[tuple[int, int], ...]] = [() for _ in self._texts]
        with evaluating(self._module):
            for batch in self._batches("pool", self._texts):
                seen = self._module(batch.inputs).float().softmax(dim=-1).cpu().numpy()
                for index, rows, own in zip(batch.indices, seen, batch.positions, strict=True):
                    rows = rows.reshape(-1, rows.shape[-1])
                    found[index] = self._module.task.proposed(
                        [rows[at] if at >= 0 else None for at in own]
                    )
        return found

    def predictions(self) -> list[Prediction | None]:
        """The student's own label of each text; None for a text of which it sees no word.

        Makes a pass of its own. Probabilities are rounded to 6 digits before they are decoded, as
        those of outcomes are.
        """
        task, found = self._module.task, list[Prediction | None]([None] * len(self._texts))
        groups = np.array(task.output_groups)
        with evaluating(self._module):
            for batch in self._batches("pool", self._texts):
                seen = self._module(batch.inputs).float().softmax(dim=-1).cpu().numpy()
                least = least_certain(seen, batch.read)
                for index, rows, own, unit in zip(
                    batch.indices, seen, batch.positions, least, strict=True
                ):
                    if np.isnan(unit).any():
                        continue
                    rows = np.round(rows.reshape(-1, rows.shape[-1]).astype(np.float64), 6)
                    reading = task.read([rows[at].tolist() if at >= 0 else None for at in own])
                    shares = np.bincount(groups, weights=unit, minlength=task.num_groups)
                    found[index] = Prediction(
                        reading.predicted,
                        max(reading.probabilities),
                        tuple(round(share, 6) for share in (shares / shares.sum()).tolist()),
                    )
        return found

    def _pool(self) -> _Predictions:
        if self._pool_predictions is None:
            self._pool_predictions = self._seen.fetch(
                self._texts, lambda texts: self._predict("pool", texts)
            )
        return self._pool_predictions

    def _predict(self, name: str, texts: Sequence[str]) -> _Predictions:
        total, classes = len(texts), len(self._module.task.outputs)
        uncertainties = {kind: np.full(total, np.nan, dtype=np.float32) for kind in KINDS}
        probabilities = np.full((total, classes), np.nan, dtype=np.float32)
        embeddings = np.zeros((total, self._width()), dtype=np.float32)
        # Each batch writes to its own rows; texts without a readable word keep NaN.
        with evaluating(self._module):
            for batch in self._batches(name, texts):
                logits, states = logits_and_states(self._module, batch.inputs)
                embeddings[batch.indices] = (
                    mean_state(states, batch.inputs["attention_mask"]).cpu().numpy()
                )
                found = logits.softmax(dim=-1).cpu().numpy()
                probabilities[batch.indices] = least_certain(found, batch.read)
                for kind, values in uncertainties.items():
                    values[batch.indices] = unit_means(uncertainty_of(found, kind), batch.read)
        return _Predictions(probabilities, embeddings, uncertainties)

    def _dropout_disagreement(self, passes: int) -> NDArray[np.float32]:
        droppers = [
            one
            for one in self._module.modules()
            if isinstance(one, torch.nn.modules.dropout._DropoutNd)
        ]
        if not any(one.p > 0 for one in droppers):
            raise ConfigError(
                "The student has no dropout, so its passes over a text never disagree. Give "
                "student.head_dropout=0.1, or choose another acquire=."
            )
        found = np.full(len(self._texts), np.nan, dtype=np.float32)
        with evaluating(self._module), _seeded(self._module.device, self._seed):
            # Evaluation mode everywhere except in the dropout modules.
            for one in droppers:
                one.train()
            # Per batch: mean distribution and mean entropy over the passes.
            for batch in self._batches("dropout", self._texts):
                mean = entropies = 0.0
                for _ in range(passes):
                    # Double precision: the result is a difference of two nearly equal numbers.
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
                found[batch.indices] = unit_means(values, batch.read)
        return found

    def _divergence_of_copies(self, copies: int, share: float) -> NDArray[np.float32]:
        task, total = self._module.task, len(self._texts)
        by_word = task.is_token_level
        found = np.full(total, np.nan, dtype=np.float32)
        step = max(1, self._chunk // copies)
        with evaluating(self._module):
            for start in range(0, total, step):
                # The student's reading of a text says which of its words may change.
                texts = self._texts[start : start + step]
                logs = self._unit_logs(texts)
                changed = [
                    copy
                    for text, own in zip(texts, logs, strict=True)
                    for copy in changed_copies(
                        text,
                        copies,
                        share,
                        by_word=by_word,
                        fixed=_words_of(task.proposed(_distributions(own))),
                        seed=self._seed,
                    )
                ]
                others = self._unit_logs([copy.text for copy in changed])
                for number, own in enumerate(logs):
                    mine = range(number * copies, (number + 1) * copies)
                    # Without a label per word, the only unit is the text itself.
                    units = [changed[at].kept if by_word else (0,) for at in mine]
                    found[start + number] = mean_divergence(own, [others[at] for at in mine], units)
                if self._on_chunk is not None:
                    self._on_chunk("instability", min(start + step, total), total)
        return found

    def _unit_logs(self, texts: Sequence[str]) -> list[NDArray[np.float64]]:
        """Log-probabilities of the units of each text, [units, C]; NaN for words without one."""
        found = [np.zeros((0, 0))] * len(texts)
        for batch in self._batches_of_chunk(texts):
            # Double precision: a divergence is a difference of nearly equal numbers.
            seen = self._module(batch.inputs).double().log_softmax(dim=-1).cpu().numpy()
            for index, rows, positions in zip(batch.indices, seen, batch.positions, strict=True):
                at = np.array(positions, dtype=np.int64)
                units = rows.reshape(-1, rows.shape[-1])[at]
                units[at < 0] = np.nan
                found[index] = units
        return found

    def _width(self) -> int:
        """Embedding size D, from the configuration, since the pool may be empty."""
        encoder: Any = self._module.network.base_model
        return int(encoder.config.hidden_size)

    def _batches(self, name: str, texts: Sequence[str]) -> Iterator[_Batch]:
        """Batches of all texts, chunk by chunk."""
        for start in range(0, len(texts), self._chunk):
            for batch in self._batches_of_chunk(texts[start : start + self._chunk]):
                yield batch._replace(indices=batch.indices + start)
            if self._on_chunk is not None:
                self._on_chunk(name, min(start + self._chunk, len(texts)), len(texts))

    def _batches_of_chunk(self, texts: Sequence[str]) -> Iterator[_Batch]:
        """Batches of one chunk, shortest texts first."""
        # Tokenise the chunk, then batch it by length to keep padding short.
        tokens = tokenize(
            self._tokenizer,
            self._module.task,
            texts,
            truncation=True,
            max_length=self._max_length,
            return_attention_mask=False,
        )
        ids = tokens.ids
        order = sorted(range(len(ids)), key=lambda index: (len(ids[index]), index))
        for first in range(0, len(order), self._batch_size):
            # Pad the batch, and find the positions to read.
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
            moved = {key: value.to(self._module.device) for key, value in inputs.items()}
            positions = tuple(tokens.positions(index) for index in own)
            yield _Batch(np.array(own, dtype=np.int64), moved, positions)


def _distributions(logs: NDArray[np.float64]) -> list[Sequence[float] | None]:
    return [None if np.isnan(row).any() else np.exp(row).tolist() for row in logs]


def _words_of(ranges: Sequence[tuple[int, int]]) -> set[int]:
    return {word for start, end in ranges for word in range(start, end)}


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Context with seeded generators on the CPU and the device; restores both afterwards."""
    on_cuda = device.type == "cuda"
    index = (
        device.index
        if device.index is not None
        else (torch.cuda.current_device() if on_cuda else 0)
    )
    # Seeding single generators, unlike torch.manual_seed, leaves other devices alone.
    with torch.random.fork_rng(devices=[index] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
