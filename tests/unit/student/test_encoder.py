"""Embeddings by the encoder before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers.classification import make_text
from tests.helpers.tiny_student import tiny_encoder

from tutelage.student.encoder import PretrainedEncoder

TEXTS = [make_text("Tool", n) for n in range(7)] + ["amber", ""]


def test_embeddings_do_not_depend_on_the_batch_nor_touch_the_random_state(tmp_path: Path) -> None:
    folder = str(tiny_encoder(tmp_path))
    before = torch.get_rng_state()
    together = PretrainedEncoder(folder, 32)(TEXTS)
    one_by_one = PretrainedEncoder(folder, 32, batch_size=1)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    alone = np.concatenate([one_by_one([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-3)


def test_a_text_is_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = PretrainedEncoder(str(tiny_encoder(tmp_path)), 32)
    asked: list[list[str]] = []
    inner = encoder._embedded
    monkeypatch.setattr(encoder, "_embedded", lambda texts: asked.append(texts) or inner(texts))
    first = encoder([TEXTS[0], TEXTS[1], TEXTS[0]])
    again = encoder([TEXTS[1], TEXTS[2]])
    assert asked == [[TEXTS[0], TEXTS[1]], [TEXTS[2]]]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[1], again[0])
