"""Request files within a service's limits, and replies in any order, with every line checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutelage.errors import ConfigError, DataError
from tutelage.label.batch_files import ReplyFiles, RequestFiles, find_replies
from tutelage.label.folder import locked
from tutelage.teacher.engines.server_offline import FileReply

PATH = "/v1/chat/completions"
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Path, names: list[str], **limits: int) -> list[Path]:
    with RequestFiles(folder, **limits) as files:
        for name in names:
            files.add(name, PATH, {"model": "m", "text": "x" * 50})
        return files.finish()


def good(name: str, text: str = "a", **more: Any) -> dict[str, Any]:
    body = {"model": "m", "choices": [{"text": text}]}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "1", "custom_id": name, "response": response, "error": None, **more}


def bad(name: str | None, status: int = 500) -> dict[str, Any]:
    error = {"message": "it broke", "code": "server_error"}
    return {
        "id": "1",
        "custom_id": name,
        "response": {"status_code": status, "body": None},
        "error": error,
    }


def read(path: Path, *records: Any) -> ReplyFiles:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in records)
    path.write_text(text, "utf-8")
    return ReplyFiles((path,))


def test_no_file_has_more_requests_or_bytes_than_a_service_takes(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(10)]
    by_count = written(tmp_path / "count", names, most_requests=4)
    assert [path.name for path in by_count] == [f"requests-0000{n}.jsonl" for n in range(3)]
    assert [len(path.read_text().splitlines()) for path in by_count] == [4, 4, 2]
    line = len(by_count[0].read_text().splitlines()[0]) + 1
    by_size = written(tmp_path / "size", names, most_bytes=3 * line)
    assert [path.stat().st_size for path in by_size] == [3 * line] * 3 + [line]
    for files in (by_count, by_size):
        records = [json.loads(one) for path in files for one in path.read_text().splitlines()]
        assert [one["custom_id"] for one in records] == names
        assert {(one["method"], one["url"]) for one in records} == {("POST", PATH)}


def test_a_request_is_written_once_and_without_any_there_is_no_folder(tmp_path: Path) -> None:
    with RequestFiles(tmp_path / "to") as files:
        assert [files.add(name, PATH, {}) for name in "aba"] == [True, True, False]
        assert files.requests == 2
        assert len(files.finish()) == 1
    assert written(tmp_path / "none", []) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["to"]


def test_files_are_all_there_or_none(tmp_path: Path) -> None:
    to = tmp_path / "to"
    with RequestFiles(to) as files:
        files.add("a", PATH, {})
    assert list(tmp_path.iterdir()) == []
    # A killed command leaves a hidden folder, which the next one replaces.
    (tmp_path / ".to.part").mkdir()
    (tmp_path / ".to.part" / "requests-00007.jsonl").write_text("half")
    (found,) = written(to, ["a"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["to"]
    before = found.read_bytes()
    # The same command again changes nothing, and another one is refused.
    assert written(to, ["a"]) == [found]
    with pytest.raises(ConfigError, match=r"has other request files already. Give another folder"):
        written(to, ["a", "b"])
    assert found.read_bytes() == before


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "replies.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match=r"has other files \(replies.jsonl\)"):
        RequestFiles(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"is a file. Give a folder"):
        RequestFiles(tmp_path / "file")
    with (
        locked(tmp_path / ".to.lock", wait=False),
        pytest.raises(DataError, match="Another process writes request files"),
        RequestFiles(tmp_path / "to"),
    ):
        pass
    with pytest.raises(DataError, match="cannot be written"), RequestFiles(tmp_path / "file" / "x"):
        pass


REPLIES = [good("a", "1"), bad("b"), good("c", "2"), bad(None), good("d", "3"), bad("c", 429)]


@in_one_folder
@given(order=st.permutations(REPLIES), cut=st.integers(0, len(REPLIES)))
def test_the_order_of_lines_and_files_changes_nothing(
    tmp_path: Path, order: list[dict[str, Any]], cut: int
) -> None:
    paths = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    for path, part in zip(paths, (order[:cut], order[cut:]), strict=True):
        path.write_text("".join(json.dumps(one) + "\n\n" for one in part))
    replies = ReplyFiles(find_replies(tmp_path))
    assert (replies.lines, replies.failed, replies.model) == (6, 3, "m")
    assert [replies.find(name).body["choices"][0]["text"] for name in "acd"] == ["1", "2", "3"]
    assert replies.find("b") == FileReply(500, None, "it broke")
    assert replies.find("e") is None
    assert replies.unknown == 0


def test_replies_that_no_request_asks_for_are_counted(tmp_path: Path) -> None:
    replies = read(tmp_path / "r.jsonl", good("a"), good("b"), bad("c"))
    replies.find("a")
    replies.find("other")
    assert replies.unknown == 2
    assert replies.example == f"{tmp_path}/r.jsonl, line 3: HTTP 500: it broke"


def test_each_way_to_fail_is_read(tmp_path: Path) -> None:
    expired = {"custom_id": "e", "response": None, "error": {"code": "x", "message": "expired"}}
    body = {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}
    of_openai = {"custom_id": "o", "response": {"status_code": 400, "body": body}, "error": None}
    of_vllm = {"custom_id": "v", "response": {"status_code": 400, "body": None}, "error": body}
    odd = good("w", error="not so good")
    replies = read(tmp_path / "r.jsonl", expired, of_openai, of_vllm, odd)
    assert replies.find("e") == FileReply(0, None, "expired")
    assert replies.find("o") == replies.find("v") == FileReply(400, None, "too long")
    assert replies.find("w") == FileReply(0, None, "not so good")
    assert replies.failed == 4


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"custom_id": "a", "respon', "is not JSON"),
        ("[" * 200_000, "nested too deeply|is not JSON"),
        (f'{{"custom_id": {"9" * 5000}}}', "is not JSON"),
        ("7", "no JSON object, but '7'"),
        ('{"custom_id": "a", "body": {}}', "is a request"),
        ('{"custom_id": "a"}', "is no reply"),
        (good("a") | {"custom_id": 7}, "'custom_id' cannot be '7'"),
        (good("a") | {"response": [1]}, r"'response' cannot be '\[1\]'"),
        (good("a") | {"response": {"body": {}}}, "'response.status_code' cannot be 'None'"),
        (good("a") | {"response": {"status_code": True}}, "status_code' cannot be 'True'"),
        (good("a") | {"response": {"status_code": 10**300}}, "status_code' cannot be '1000"),
        (good("a") | {"response": {"status_code": 200, "body": "x"}}, "body' cannot be 'x'"),
        ("x" * (8 * 2**20 + 5), "is longer than 8 MB"),
    ],
)
def test_a_line_that_is_no_reply_is_named(tmp_path: Path, line: Any, says: str) -> None:
    with pytest.raises(DataError, match=rf"r.jsonl, line 2.*({says})"):
        read(tmp_path / "r.jsonl", good("b"), line)


def test_bytes_that_are_no_text_and_files_that_change_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"custom_id": "\xff"}\n')
    with pytest.raises(DataError, match="line 1 is not JSON"):
        ReplyFiles((path,))
    replies = read(path, good("a"), good("b"))
    path.write_text(json.dumps(good("other")))
    for name in "ab":
        with pytest.raises(DataError, match="changed while it was read"):
            replies.find(name)
    path.unlink()
    with pytest.raises(DataError, match="changed while it was read"):
        replies.find("a")
    with pytest.raises(DataError, match=r"does not exist. Give a file of replies"):
        find_replies(path)
    with pytest.raises(DataError, match=r"no file whose name ends with .jsonl"):
        find_replies(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        ReplyFiles((path,))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["custom_id", "response", "error", "status_code", "body", "model", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@in_one_folder
@given(line=json_values | st.text(max_size=30))
def test_whatever_a_line_holds_it_is_read_or_named(tmp_path: Path, line: Any) -> None:
    said = ""
    try:
        replies = read(tmp_path / "r.jsonl", line)
    except DataError as error:
        said = str(error)
    else:
        assert replies.failed <= replies.lines <= 1
    assert not said or f"{tmp_path}/r.jsonl, line " in said
