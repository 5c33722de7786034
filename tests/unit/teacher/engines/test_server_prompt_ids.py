"""Where the token ids of prompts come from: a tokenizer here, or the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.fake_server import FakeServer
from tests.helpers.tokenizer_kinds import byte_level_bpe

from tutelage.errors import TeacherError
from tutelage.teacher.engines import server_tokenizer
from tutelage.teacher.engines.server import ServerTeacher


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.stop()


def teacher(server: FakeServer, model: str = "m", **settings: Any) -> ServerTeacher:
    return ServerTeacher(server.url, model, **{"backoff": 0.001, "timeout": 10.0, **settings})


def test_a_named_tokenizer_is_used_and_the_server_is_not_asked(server: FakeServer, tmp_path: Path):
    made = byte_level_bpe()
    made.save(str(tmp_path / "tokenizer.json"))
    for name in (tmp_path, tmp_path / "tokenizer.json"):
        wanted = [made.encode(text).ids for text in (" music", " food")]
        assert teacher(server, tokenizer=str(name)).tokenize([" music", " food"]) == wanted
    assert server.bodies == []


@pytest.mark.parametrize("unset", [None, ""])
@pytest.mark.parametrize("code", [404, 405, 501])
def test_without_a_named_tokenizer_that_of_the_model_stands_in_for_the_server(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, unset: str | None, code: int
):
    loaded: list[str] = []

    def load(name: str) -> Any:
        loaded.append(name)
        return lambda texts, add_special_tokens: {"input_ids": [[7] for _ in texts]}

    monkeypatch.setattr(server_tokenizer, "find_tokenizer", load)
    server.answer = lambda path, body: (code, {"error": {"message": "no such path"}})
    assert teacher(server, "org/m", tokenizer=unset).tokenize(["abc"]) == [[7]]
    assert loaded == ["org/m"]
    assert [body["prompt"] for body in server.bodies] == ["abc"]


def test_a_name_that_is_no_hub_id_is_not_looked_up(server: FakeServer):
    server.answer = lambda path, body: (404, {"detail": "Not Found"})
    with pytest.raises(
        TeacherError, match=r"cannot tokenize, and teacher\.model=m names no tok.*teacher\.tok"
    ):
        teacher(server).tokenize(["abc"])
