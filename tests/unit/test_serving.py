"""The service around a student, asked through its ASGI interface."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.helpers.classification import NAMES
from tests.helpers.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

from tutelage.errors import ConfigError
from tutelage.records import Label
from tutelage.serving import Batcher, new_app
from tutelage.student.checkpoint import new_tagger, save_student
from tutelage.student.inference import Student, load
from tutelage.tasks.ner import NerTask

NER = NerTask([Label("PER", "person", "people"), Label("LOC", "place", "places")])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Student:
    base = tmp_path_factory.mktemp("run")
    network = tiny_network(tiny_encoder(base / "encoder"))
    save_student(base / "student", network, tiny_tokenizer(), 12)
    return load(base)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Student:
    import torch

    base = tmp_path_factory.mktemp("ner")
    network = new_tagger(str(tiny_encoder(base / "encoder")), NER.outputs)
    torch.manual_seed(3)
    torch.nn.init.normal_(network.classifier.weight, std=3.0)
    save_student(base / "student", network, tiny_tokenizer(), 12)
    return load(base)


def asked(app: Any, *requests: tuple[str, str, Any]) -> list[httpx.Response]:
    """The responses to requests that are sent at once: method, path and JSON or bytes."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://student") as client:
            sent = [
                client.request(
                    method,
                    path,
                    headers={"content-type": "application/json"},
                    **{"content" if isinstance(body, bytes) else "json": body},
                )
                for method, path, body in requests
            ]
            return list(await asyncio.gather(*sent))

    return asyncio.run(ask())


def test_one_text_or_a_list_with_probabilities(classifier: Student) -> None:
    texts = ["animal dune", " ", "half \ud83d here"]
    body = b'{"texts": ["animal dune", " ", "half \\ud83d here"]}'
    one, many = asked(
        new_app(classifier), ("POST", "/predict", {"texts": texts[0]}), ("POST", "/predict", body)
    )
    assert one.json()["predictions"] == classifier.predict(texts[0])
    first, blank, replaced = many.json()["predictions"]
    assert first == one.json()["predictions"][0]
    assert blank == {"text": " ", "label": None, "confidence": None, "probabilities": None}
    assert replaced["text"] == "half \ufffd here"


def test_entities_have_their_characters(tagger: Student) -> None:
    texts = ["Cedar's pier, naïve “amber” 🦊 birch", "tool (quay) shore 42"]
    (found,) = asked(new_app(tagger), ("POST", "/predict", {"texts": texts}))
    assert found.json()["predictions"] == tagger.predict(texts)
    entities = [
        (text, one)
        for text, said in zip(texts, found.json()["predictions"], strict=True)
        for one in said["entities"]
    ]
    assert entities
    assert all(text[one["start"] : one["end"]] == one["text"] for text, one in entities)


def test_health_and_the_description_of_the_interface(classifier: Student) -> None:
    health, description, page = asked(
        new_app(classifier),
        *(("GET", path, None) for path in ("/health", "/openapi.json", "/docs")),
    )
    assert health.json()["status"] == "ok"
    assert health.json()["labels"] == list(NAMES)
    assert {"/predict", "/health"} <= set(description.json()["paths"])
    assert page.status_code == 200


def test_requests_beyond_a_limit_are_told_which_one(classifier: Student) -> None:
    app = new_app(classifier, max_texts=2, max_bytes=200)
    many, long, none, other, fine = asked(
        app,
        ("POST", "/predict", {"texts": ["animal"] * 3}),
        ("POST", "/predict", {"texts": "animal " * 40}),
        ("POST", "/predict", {"texts": []}),
        ("POST", "/predict", b"no json"),
        ("POST", "/predict", {"texts": ["animal"] * 2}),
    )
    assert (many.status_code, long.status_code) == (413, 413)
    assert "has 3 texts, and this service takes 2 at once (--max-texts)" in many.json()["detail"]
    assert "more than 200 bytes" in long.json()["detail"]
    assert (none.status_code, other.status_code, fine.status_code) == (422, 422, 200)
    assert none.json()["detail"].endswith(' or {"texts": ["a text", …]} as application/json.')
    (half,) = asked(app, ("POST", "/predict", b'{"text": "\\ud83d"}'))
    assert "Field required" in half.json()["detail"]
    with pytest.raises(ConfigError, match="--max-texts 0 lets no request pass"):
        new_app(classifier, max_texts=0)


def test_what_waits_is_labelled_together_and_each_gets_its_own() -> None:
    import time

    batches: list[list[str]] = []

    def label(texts: list[str]) -> list[str]:
        batches.append(texts)
        time.sleep(0.05)
        return [text.upper() for text in texts]

    async def ask() -> list[Any]:
        batcher = Batcher(label, most_waiting=200)
        sent = [[f"{number}-{index}" for index in range(20)] for number in range(8)]
        found = await asyncio.gather(*map(batcher.predict, sent))
        assert found == [[text.upper() for text in texts] for texts in sent]
        refused = Batcher(label, most_waiting=20)
        return list(await asyncio.gather(*map(refused.predict, sent[:3])))

    # The texts of the first request wait too until the work begins.
    assert [one is None for one in asyncio.run(ask())] == [False, True, True]
    assert [len(texts) for texts in batches[:3]] == [60, 60, 40]


def test_a_student_that_fails_does_not_end_the_service() -> None:
    def label(texts: list[str]) -> list[str]:
        if "bad" in texts:
            raise ValueError("cannot be read")
        return texts

    async def ask() -> list[Any]:
        batcher = Batcher(label, most_waiting=9)
        bad = await asyncio.gather(batcher.predict(["bad"]), return_exceptions=True)
        return [*bad, await batcher.predict(["good"])]

    failed, good = asyncio.run(ask())
    assert isinstance(failed, ValueError)
    assert good == ["good"]
