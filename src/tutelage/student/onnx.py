"""Students as ONNX graphs: written by torch's exporter, run by onnxruntime.

Packages of the extra ``export`` do both. Graphs hold numbers and operators of ONNX alone, so
loading one runs no code of whoever made it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tutelage.errors import ConfigError
from tutelage.student.peers import Prediction

_INPUTS = ("input_ids", "attention_mask")
_OPSET = 18


class OnnxNetwork(torch.nn.Module):
    """A graph that is called like the network it was made from; it has no gradients.

    Args:
        file: The graph.
        config: The network's configuration, with the names of its classes.

    Raises:
        ConfigError: onnxruntime is not installed.
    """

    def __init__(self, file: Path, config: Any) -> None:
        super().__init__()
        onnxruntime = _needed("onnxruntime")
        options = onnxruntime.SessionOptions()
        # Of torch's own threads, which $OMP_NUM_THREADS and the like set.
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        self.config = config
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Prediction:
        """Logits of a batch, [B, C], or [B, L, C] for NER.

        Args:
            input_ids: Token ids, [B, L].
            attention_mask: 1 for real tokens, 0 for padding, [B, L].
        """
        given = (input_ids.long().cpu().numpy(), attention_mask.long().cpu().numpy())
        (logits,) = self._session.run(["logits"], dict(zip(_INPUTS, given, strict=True)))
        return Prediction(torch.from_numpy(logits))


class _Logits(torch.nn.Module):
    """Logits alone, in float32: a graph has tensors for outputs."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        found = self._network(input_ids=input_ids, attention_mask=attention_mask)
        return torch.as_tensor(found.logits).float()


def write_graph(network: torch.nn.Module, file: Path) -> None:
    """Writes a network as a graph for any number of texts of any length.

    Args:
        network: The network, in evaluation mode.
        file: The file to write.

    Raises:
        ConfigError: onnx is not installed.
    """
    _needed("onnx")
    # Two rows of different lengths: with one row, or without padding, a branch of the network that
    # depends on either would be fixed.
    ids = torch.ones(2, 6, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    anywhere = {0: "batch", 1: "length"}
    # Of its two exporters torch advises the newer one. It takes seven times as long for the same
    # numbers, and a package more.
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            _Logits(network).eval(),
            (ids, mask),
            str(file),
            input_names=list(_INPUTS),
            output_names=["logits"],
            dynamic_axes={**dict.fromkeys(_INPUTS, anywhere), "logits": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def write_int8(graph: Path, file: Path) -> None:
    """Writes a graph with weights of 8 bits; activations are rounded as they come.

    Each column of a weight matrix has its own scale. One scale for a whole matrix costs up to 2.6
    points of accuracy, for the same size and speed (docs/how-to/deploy.md).

    Args:
        graph: The graph in floating point.
        file: The file to write.

    Raises:
        ConfigError: onnx or onnxruntime is not installed.
    """
    _needed("onnx")
    _needed("onnxruntime")
    with _quiet():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(graph, file, weight_type=QuantType.QInt8, per_channel=True)


def _needed(package: str) -> Any:
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs the package {package}, which cannot be imported ({error}). Install the "
            "extra: pip install 'tutelage[export]'."
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the libraries' advice to their own developers from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
