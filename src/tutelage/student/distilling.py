"""Static encoders: a table of token vectors, made from any encoder (``student.encoder=static``).

As model2vec does it (Minish Lab, https://minish.ai/packages/model2vec/distillation/): the encoder
reads each token of its vocabulary alone, PCA shortens the vectors, and frequent tokens get less
weight. Frequencies come from the order of the vocabulary by Zipf's law, since tokenizers number
frequent tokens first, and weights from frequencies as in SIF (Arora et al. 2017, "A Simple but
Tough-to-Beat Baseline for Sentence Embeddings", section 3).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tutelage.assets import build_once, cache_directory
from tutelage.student.observing import evaluating, mean_state

DIMENSIONS = 256
"""Length of the token vectors; shorter where the encoder's own are shorter."""
SIF = 1e-4
"""The constant a of the weight a / (a + p) of a token with probability p."""
_FILE = "table.safetensors"
_RECIPE = 1
"""Part of the cache's key: raise it when the steps below change."""
_UNUSED = re.compile(r"\[unused\d+\]")
_AT_ONCE = 512


def token_table(encoder: Any, tokenizer: Any, dimensions: int = DIMENSIONS) -> torch.Tensor:
    """Returns the token vectors of an encoder from the user's cache, made at the first call.

    The key is a hash of weights and vocabulary, so a model that changes gets a new table.

    Args:
        encoder: A Hugging Face encoder, in float32.
        tokenizer: Its tokenizer.
        dimensions: Length of the vectors at most.

    Returns:
        Table [V, D]; tokens without meaning of their own (special, unused) have zeros.
    """
    folder = cache_directory() / "static" / _key(encoder, tokenizer, dimensions)

    def build(work: Path) -> Path:
        made = work / "table"
        made.mkdir()
        save_file({"table": distil(encoder, tokenizer, dimensions)}, made / _FILE)
        return made

    build_once(folder, (folder / _FILE).is_file, build)
    return load_file(folder / _FILE)["table"]


def distil(encoder: Any, tokenizer: Any, dimensions: int = DIMENSIONS) -> torch.Tensor:
    """Makes the token vectors of an encoder; the random state stays as it is.

    Args:
        encoder: A Hugging Face encoder.
        tokenizer: Its tokenizer.
        dimensions: Length of the vectors at most.

    Returns:
        Table [V, D] in float32.
    """
    ids = _meaningful(tokenizer)
    size = encoder.get_input_embeddings().num_embeddings
    states = _alone(encoder, tokenizer, ids)
    vectors = principal(states, dimensions) * sif_weights(len(ids)).unsqueeze(1)
    # The embedding layer may have more rows than there are tokens.
    table = torch.zeros(max(size, len(tokenizer)), vectors.shape[1])
    table[ids] = vectors.float()
    return table


def principal(states: torch.Tensor, dimensions: int) -> torch.Tensor:
    """Projects states [N, D] to their first principal components, [N, dimensions] at most.

    The means are taken off. Signs are chosen, so that the result is one for all machines: the
    largest entry of a direction is positive.
    """
    centred = states.double() - states.double().mean(0)
    # Eigenvalues come in ascending order.
    _, directions = torch.linalg.eigh(centred.T @ centred)
    directions = directions.flip(1)[:, : min(dimensions, *states.shape)]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    projected: torch.Tensor = centred @ (directions * largest.sign())
    return projected


def sif_weights(count: int) -> torch.Tensor:
    """Weights of tokens in the order of their frequency, [count]: a / (a + p), p by Zipf's law."""
    shares = 1 / torch.arange(2, count + 2, dtype=torch.float64)
    return SIF / (SIF + shares / shares.sum())


def _meaningful(tokenizer: Any) -> torch.Tensor:
    """Ids of the tokens that texts are made of, in the order of the vocabulary."""
    special = {*tokenizer.all_special_ids}
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return torch.tensor(
        [
            index
            for index, name in enumerate(names)
            if index not in special and name is not None and not _UNUSED.fullmatch(name)
        ]
    )


def _alone(encoder: Any, tokenizer: Any, ids: torch.Tensor) -> torch.Tensor:
    """The mean state of a text of each token alone, special tokens included, [N, D]."""
    # The special tokens before and after a text.
    empty, letter = tokenizer("")["input_ids"], tokenizer("a")["input_ids"]
    at = next((at for at, id in enumerate(empty) if letter[at] != id), len(empty))
    found = []
    with evaluating(encoder):
        for chunk in torch.split(ids, _AT_ONCE):
            before, after = (
                torch.tensor(part, dtype=torch.long).repeat(len(chunk), 1)
                for part in (empty[:at], empty[at:])
            )
            inputs = torch.cat([before, chunk.unsqueeze(1), after], dim=1)
            mask = torch.ones_like(inputs)
            states = encoder(input_ids=inputs, attention_mask=mask).last_hidden_state
            found.append(mean_state(states.float(), mask))
    return torch.cat(found)


def _key(encoder: Any, tokenizer: Any, dimensions: int) -> str:
    digest = hashlib.sha256(repr((_RECIPE, dimensions)).encode())
    for token, index in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{index} {token}\n".encode())
    for name, value in sorted(encoder.state_dict().items()):
        # A pooler missing from the checkpoint is random each time, and the states do not need it.
        if not name.startswith("pooler."):
            digest.update(name.encode())
            digest.update(value.cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:24]
