"""A trained student that labels new texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import StudentError

_BATCH = 64


class Student:
    """A trained student: labels for texts, or entities for NER.

    Attributes:
        network: the Hugging Face model, in evaluation mode; with ``student.peers=2`` both models
            (:class:`tutelage.student.peers.PeerNetworks`), whose mean predicts; of an export to
            ONNX the graph (:class:`tutelage.student.onnx.OnnxNetwork`).
        tokenizer: its tokenizer.
        max_length: longest input in sub-tokens; longer texts are cut, or for NER read in windows
            (:mod:`tutelage.student.tagging`).
    """

    def __init__(self, network: Any, tokenizer: Any, max_length: int) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.max_length = max_length

    @property
    def labels(self) -> tuple[str, ...]:
        """The student's output classes: labels, or IOB2 tags for NER."""
        names = self.network.config.id2label
        return tuple(names[index] for index in range(self.network.config.num_labels))

    def predict(self, texts: str | Sequence[str]) -> list[dict[str, Any]]:
        """Predicts texts, in order.

        Returns:
            One dictionary per text: "text", "label", "confidence" and "probabilities" (by label);
            for NER "text" and "entities", each with "start" and "end" in characters, "text",
            "label" and "confidence".
        """
        return list(self.stream([texts] if isinstance(texts, str) else texts))

    def stream(
        self, texts: Sequence[str], *, with_confidence: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yields what :meth:`predict` returns, batch by batch.

        Args:
            texts: The texts.
            with_confidence: For NER give each text's "confidence", too, the probability of its
                least certain word. For labels it is always there.

        Raises:
            StudentError: The network cannot read a text; network and tokenizer do not belong
                together.
        """
        from tutelage.student.loading import head_of

        read = {"sequence": self._classify, "token": self._tag}[
            head_of(self.network.config.to_dict())
        ]
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            try:
                found = list(read(batch, with_confidence))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                # The tokenizers raise plain exceptions, and panics that are no Exception.
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise StudentError(
                    f"The student could not read a batch of {len(batch)} texts "
                    f"({type(error).__name__}: {first[:200]}). Its network and its tokenizer do "
                    "not fit together: copy the folder again, or do the run again."
                ) from error
            yield from found

    def _tag(self, texts: list[str], with_confidence: bool) -> Iterator[dict[str, Any]]:
        from tutelage.student.tagging import find_entities

        return find_entities(
            self.network,
            self.tokenizer,
            self.max_length,
            texts,
            with_confidence=with_confidence,
        )

    def _classify(self, texts: list[str], _: bool) -> Iterator[dict[str, Any]]:
        import torch

        # One batch, padded to its longest text.
        batch = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        with torch.no_grad():
            logits = self.network(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        names = self.labels
        for text, row in zip(texts, logits.softmax(-1).tolist(), strict=True):
            best = max(range(len(row)), key=row.__getitem__)
            yield {
                "text": text,
                "label": names[best],
                "confidence": round(row[best], 4),
                "probabilities": {
                    name: round(value, 4) for name, value in zip(names, row, strict=True)
                },
            }


def load(folder: str | Path) -> Student:
    """Loads the student of a run, without running any code from its folder.

    Args:
        folder: a run's folder, its student/ folder, or an export of it.

    Raises:
        DataError: there is no student in the folder.
        ConfigError: it is an export to ONNX, and onnxruntime is not installed.
        StudentError: the network or tokenizer cannot be loaded.
    """
    from transformers.utils import logging

    from tutelage.student.loading import load_student

    logging.disable_progress_bar()
    return Student(*load_student(student_folder(folder)))


def student_folder(folder: str | Path) -> Path:
    """Returns the folder of the student itself, given that or a run's folder."""
    path = Path(folder).expanduser()
    return path / "student" if (path / "student").is_dir() else path
