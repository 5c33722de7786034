"""Exports go to a folder, or to a hub that the test is itself."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.run_folders import build_run

from tutelage.errors import ConfigError, DataError
from tutelage.export_dataset import export_dataset
from tutelage.push import PushError, push

TOKEN = "a-token-that-nobody-may-see-9981"


class Hub:
    """A hub with one repository.

    Attributes:
        asked: Path, authorization and body of each request.
        private: Whether the repository is private; None before it is made.
        refuses: A status to answer everything with; 0 for none.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.private: bool | None = None
        self.refuses = 0

    def answer(self, path: str, body: str) -> dict[str, Any]:
        if path.endswith("/repos/create"):
            given = json.loads(body)
            wanted = given.get("private") or given.get("visibility") == "private"
            self.private = bool(wanted) if self.private is None else self.private
            return {"url": "https://huggingface.co/datasets/me/mine"}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            said = {"uploadMode": "regular", "shouldIgnore": False}
            return {"files": [{"path": one["path"], **said} for one in files]}
        if "/commit/" in path:
            return {
                "commitUrl": "https://huggingface.co/datasets/me/mine/commit/1",
                "commitOid": "1",
                "pullRequestUrl": None,
            }
        if path.endswith("/validate-yaml"):
            return {"errors": [], "warnings": []}
        return {"id": "me/mine", "private": self.private, "siblings": [], "sha": "0" * 40}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            if self.path != "/api/agent-harnesses":  # huggingface_hub's own, once a day
                hub.asked.append((self.path, self.headers.get("authorization", ""), body))
            reply = json.dumps({} if hub.refuses else hub.answer(self.path, body)).encode()
            self.send_response(hub.refuses or 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    # What this hub says of agents must not stay in the home of whoever runs the tests.
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    _, folder = export_dataset(build_run(tmp_path / "run"), tmp_path / "made")
    (folder / ".env").write_text("KEY=1")
    return folder


def test_a_folder_gets_the_files_of_the_export(exported: Path, tmp_path: Path) -> None:
    for _ in range(2):  # an export may be replaced
        assert push(exported, str(tmp_path / "there")) == str(tmp_path / "there")
    names = {str(path.relative_to(tmp_path / "there")) for path in (tmp_path / "there").rglob("*")}
    expected = {"README.md", "export.json", "data", "data/train.parquet", "data/rejected.parquet"}
    assert names == expected
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(ConfigError, match=r"mine exists and is no export"):
        push(exported, str(tmp_path / "mine"))
    with pytest.raises(ConfigError, match=r"lies in the export itself"):
        push(exported, str(exported / "copy"))


def test_the_hub_gets_a_private_repository_with_these_files(exported: Path, hub: Hub) -> None:
    assert push(exported, "hub:me/mine").endswith("me/mine")
    assert hub.private is True
    assert {key for _, key, _ in hub.asked} == {f"Bearer {TOKEN}"}
    commit = next(body for path, _, body in hub.asked if "/api/datasets/me/mine/commit/" in path)
    sent = [json.loads(line) for line in commit.splitlines()]
    files = {one["value"]["path"]: one["value"] for one in sent if one["key"] == "file"}
    names = {"README.md", "export.json", "data/train.parquet", "data/rejected.parquet"}
    assert set(files) == names
    for name in names:
        assert base64.b64decode(files[name]["content"]) == (exported / name).read_bytes()


def test_a_public_repository_needs_the_word(exported: Path, hub: Hub) -> None:
    hub.private = False
    with pytest.raises(ConfigError, match=r"me/mine is there already, and everybody can read it"):
        push(exported, "hub:me/mine")
    assert not any("/commit/" in path for path, _, _ in hub.asked)
    push(exported, "hub:me/mine", public=True)
    assert any("/commit/" in path for path, _, _ in hub.asked)


@pytest.mark.parametrize(
    ("status", "means"), [(401, "is not valid"), (403, "may not write there"), (404, "no such")]
)
def test_a_refusal_is_one_line_without_the_token(
    exported: Path, hub: Hub, tutelage: Any, status: int, means: str
) -> None:
    hub.refuses = status
    ended = tutelage("push", str(exported), "--to", "hub:me/mine")
    assert ended.code == 1
    assert len(ended.err.strip().splitlines()) == 1
    assert f"(status {status})" in ended.err
    assert means in ended.err
    assert TOKEN not in ended.err + ended.out


def test_a_hub_out_of_reach_is_one_line(
    exported: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PushError, match=r"The upload to me/mine failed \(\w+: .*HF_HUB_OFFLINE"):
        push(exported, "hub:me/mine")


def test_what_is_no_export_or_no_place_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"Put it into the variable HF_TOKEN"):
        push(exported, "hub:me/mine")
    for wrong in ("mine", "me/mine/x", "", "me/../x"):
        with pytest.raises(ConfigError, match=r"names no repository"):
            push(exported, f"hub:{wrong}")
    with pytest.raises(ConfigError, match=r"--public is for a repository"):
        push(exported, str(tmp_path / "there"), public=True)
    with pytest.raises(ConfigError, match=r"is no export: it lacks export\.json or README\.md"):
        push(tmp_path / "run", str(tmp_path / "there"))
    (exported / "key").symlink_to(tmp_path / "run" / "status.json")
    with pytest.raises(DataError, match=r"key is a link"):
        push(exported, str(tmp_path / "there"))
