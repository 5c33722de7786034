"""Static encoders: token vectors made from an encoder, and students of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from tests.helpers.classification import NAMES, make_text
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.fitting import Fit, Killed, ScriptedMethod, build, run
from tests.helpers.tiny_student import KNOWN_WORDS, SPECIAL, tiny_tokenizer, untaught
from tests.helpers.tokenizer_kinds import byte_level_bpe, hugging_face

from tutelage.config.build_student import build_student
from tutelage.config.compose import compose_config
from tutelage.data.items import ItemEncoder
from tutelage.errors import ConfigError
from tutelage.records import Row
from tutelage.student.checkpoint import (
    load_encoder,
    load_tokenizer,
    new_classifier,
    save_student,
)
from tutelage.student.distilling import SIF, distil, sif_weights, token_table
from tutelage.student.epoch_view import epoch_view
from tutelage.student.freezing import freeze_encoder
from tutelage.student.head_fitting import fit_head
from tutelage.student.loading import load_student
from tutelage.student.network import StaticEncoder
from tutelage.student.observing import network_and_states
from tutelage.tasks.ner import NerTask

TEXTS = ["animal dune quay", "tool", "food ridge shore tide 42"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def static(folder: Path, pooling: Any = "normalized_mean", seed: int = 1, **given: Any) -> Any:
    torch.manual_seed(seed)
    return new_classifier(
        str(folder), NAMES, pooling, encoder="static", **{"head_dropout": 0.0, **given}
    )


def inputs(texts: list[str] = TEXTS) -> dict[str, torch.Tensor]:
    batch = tiny_tokenizer()(texts, padding=True, return_tensors="pt")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def test_vectors_are_those_of_each_token_alone_projected_and_weighted(encoder: Path) -> None:
    network, tokenizer = load_encoder(str(encoder)).eval(), load_tokenizer(str(encoder))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    table = distil(network, tokenizer, dimensions=5)
    assert torch.equal(torch.get_rng_state(), state)

    ids = [index for index in range(len(tokenizer)) if index >= len(SPECIAL)]
    with torch.no_grad():
        alone = np.stack(
            [
                network(input_ids=torch.tensor([[2, index, 3]]))
                .last_hidden_state[0]
                .mean(0)
                .numpy()
                for index in ids
            ]
        )
    slow = PCA(5, svd_solver="full").fit(alone.astype(np.float64))
    signs = np.sign([row[np.abs(row).argmax()] for row in slow.components_])
    shares = np.array([1 / rank for rank in range(2, len(ids) + 2)])
    weights = SIF / (SIF + shares / shares.sum())
    expected = slow.transform(alone) * signs * weights[:, None]
    np.testing.assert_allclose(table[ids].numpy(), expected, rtol=1e-3, atol=1e-7)
    assert not table[: len(SPECIAL)].any()
    assert table.shape == (len(tokenizer), 5)


def test_frequent_tokens_weigh_less() -> None:
    weights = sif_weights(1000)
    assert bool((weights.diff() > 0).all())
    assert 0 < float(weights[0]) < float(weights[-1]) < 1


def test_a_tokenizer_without_special_tokens_and_unused_ones(encoder: Path) -> None:
    tokenizer = hugging_face(byte_level_bpe())
    tokenizer.add_tokens(["[unused7]", "word"])
    network = load_encoder(str(encoder)).eval()
    network.resize_token_embeddings(len(tokenizer) + 3)
    table = distil(network, tokenizer, dimensions=4)
    assert table.shape == (len(tokenizer) + 3, 4)
    unused, word = tokenizer.convert_tokens_to_ids(["[unused7]", "word"])
    assert not table[unused].any()
    assert not table[-3:].any()
    assert table[word].any()


def test_the_cache_keeps_a_table_per_weights(
    encoder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(*given: Any) -> torch.Tensor:
        made.append(1)
        return distil(*given)

    monkeypatch.setattr("tutelage.student.distilling.distil", counted)
    network, tokenizer = load_encoder(str(encoder)), load_tokenizer(str(encoder))
    first = token_table(network, tokenizer)
    assert torch.equal(token_table(network, tokenizer), first)
    assert len(made) == 1
    assert first.shape == (len(tokenizer), 16), "no more numbers than the encoder has"
    # A pooler that the weights lack is drawn anew at each load.
    if network.pooler is not None:
        network.pooler.dense.weight.data.add_(1)
    token_table(network, tokenizer)
    assert len(made) == 1
    network.get_input_embeddings().weight.data[9, 0] += 0.5
    token_table(network, tokenizer)
    token_table(network, tokenizer, dimensions=3)
    assert len(made) == 3
    assert len([*(own_cache / "static").glob("*/table.safetensors")]) == 3


def test_a_student_reads_the_mean_of_its_token_vectors(encoder: Path) -> None:
    network = static(encoder).eval()
    table = token_table(load_encoder(str(encoder)), load_tokenizer(str(encoder)))
    assert torch.equal(network.encoder.table.weight, table)
    logits, states = network_and_states(network, inputs())
    for row, text in enumerate(TEXTS):
        vectors = table[torch.tensor(tiny_tokenizer()(text)["input_ids"])]
        torch.testing.assert_close(states[row, : len(vectors)], vectors)
        mean = vectors.mean(0)
        torch.testing.assert_close(logits[row], network.classifier(mean / mean.norm()))


def test_the_head_starts_alike_whether_the_table_is_cached(encoder: Path, own_cache: Path) -> None:
    first = static(encoder).classifier.weight
    assert torch.equal(first, static(encoder).classifier.weight)


def test_there_and_back(encoder: Path, tmp_path: Path) -> None:
    network = static(encoder).eval()
    save_student(tmp_path / "student", network, load_tokenizer(str(encoder)), 33)
    loaded, _, length = load_student(tmp_path / "student")
    assert isinstance(loaded.base_model, StaticEncoder)
    assert length == 33
    assert torch.equal(loaded(**inputs()).logits, network(**inputs()).logits)


def test_the_folder_works_where_tutelage_is_not(encoder: Path, tmp_path: Path) -> None:
    network = static(encoder).eval()
    save_student(tmp_path / "student", network, load_tokenizer(str(encoder)), 33)
    code = (
        "import sys, json, torch\n"
        "sys.modules['tutelage'] = None\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        "folder, options = sys.argv[1], {'trust_remote_code': True}\n"
        "network = AutoModelForSequenceClassification.from_pretrained(folder, **options).eval()\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder, **options)\n"
        "batch = tokenizer(json.loads(sys.argv[2]), padding=True, return_tensors='pt')\n"
        "print(json.dumps(network(**batch).logits.tolist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "student"), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_MODULES_CACHE": str(tmp_path / "modules"),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    found = torch.tensor(json.loads(done.stdout.strip().splitlines()[-1]))
    torch.testing.assert_close(found, network(**inputs()).logits)


def test_selectors_and_the_fitted_head_find_what_they_look_for(encoder: Path) -> None:
    module = untaught(static(encoder), TOPICS)
    rows = [
        Row(f"r{n}", make_text(NAMES[n % 3], n), NAMES[n % 3], "pool", 0, True) for n in range(9)
    ]
    reader = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    items = reader.encode(rows)
    fit_head(module, [reader.collate(enumerate(items))])
    needs = frozenset({"epoch", "gradients", "embeddings", "prior_losses"})
    view = epoch_view(module, items, reader.collate, needs=needs, blank=reader.blank)
    assert view.embeddings is not None
    assert view.gradients is not None
    assert view.prior_losses is not None
    assert view.embeddings.shape == (9, 16)
    assert all(np.isfinite(one).all() for one in (view.embeddings, view.gradients, view.losses))
    assert (view.probabilities.argmax(1) == [n % 3 for n in range(9)]).mean() > 0.8
    freeze_encoder(module.network)
    assert np.isfinite(module(inputs()).detach().numpy()).all()


def test_vectors_instead_of_ids(encoder: Path) -> None:
    network = static(encoder, "mean").eval()
    vectors = network.get_input_embeddings()(inputs()["input_ids"])
    mask = inputs()["attention_mask"]
    found = network(inputs_embeds=vectors, attention_mask=mask).logits
    torch.testing.assert_close(found, network(**inputs()).logits)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Fit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return fitted(tmp_path_factory.mktemp("whole"), encoder)


def fitted(folder: Path, encoder: Path, resume: bool = False, **given: Any) -> Fit:
    network = static(encoder, head_dropout=0.1)
    fit = build(
        folder, encoder, ScriptedMethod(2), network=network, window="all", resume=resume, **given
    )
    return run(fit, resume=resume)


def test_a_killed_run_ends_with_the_same_student(whole: Fit, tmp_path: Path, encoder: Path) -> None:
    with pytest.raises(Killed):
        fitted(tmp_path, encoder, explode_at=3)
    resumed = fitted(tmp_path, encoder, resume=True)
    assert resumed.numbers() == whole.numbers()
    before = static(encoder, head_dropout=0.1).state_dict()
    ours, theirs = resumed.module.network.state_dict(), whole.module.network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert not torch.equal(ours["encoder.table.weight"], before["encoder.table.weight"])


def test_the_settings_build_it_and_what_cannot_be_is_refused(encoder: Path) -> None:
    given = [f"student.model={encoder}", "student=static_classification"]
    module, _ = build_student(compose_config(given), TOPICS)
    assert isinstance(module.network.encoder, StaticEncoder)
    with pytest.raises(ConfigError, match=r"student\.pooling=first has nothing to read"):
        build_student(compose_config([*given, "student.pooling=first"]), TOPICS)
    config = compose_config([*given, "task=ner", "data=wikigold"])
    with pytest.raises(ConfigError, match="gives each word a vector without its context"):
        build_student(config, NerTask([]))


def test_the_table_covers_the_words_of_the_tokenizer(encoder: Path) -> None:
    table = distil(load_encoder(str(encoder)), load_tokenizer(str(encoder)))
    known = tiny_tokenizer().convert_tokens_to_ids([*KNOWN_WORDS])
    assert bool(table[known].any(dim=1).all())
