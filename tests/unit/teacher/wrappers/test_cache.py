from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.doubles import ScriptedTeacher, echo

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Reply, Sampling, ScoreRequest
from tutelage.teacher.wrappers import cache as cache_module
from tutelage.teacher.wrappers.cache import CachedTeacher, request_key
from tutelage.teacher.wrappers.cache_store import CacheStore

_samplings = st.builds(
    Sampling,
    temperature=st.floats(0, 4),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 100),
    max_tokens=st.integers(1, 4096),
    stop=st.lists(st.text(max_size=5), max_size=3).map(tuple),
)
_generations = st.builds(
    GenerateRequest,
    id=st.just("g"),
    prompt=st.text(),
    sampling=_samplings,
    seed=st.integers(0, 2**63 - 1),
    json_schema=st.text(),
)
_scores = st.builds(
    ScoreRequest,
    id=st.just("s"),
    prompt=st.text(),
    choices=st.lists(st.integers(0, 10**6), max_size=5).map(tuple),
)
_requests = _generations | _scores


def generate(name: str, prompt: str = "p", seed: int = 0, **sampling: object) -> GenerateRequest:
    return GenerateRequest(name, prompt, Sampling(**sampling), seed=seed)  # type: ignore[arg-type]


@given(_requests, _requests)
def test_two_keys_are_equal_exactly_when_the_requests_are(one, two):
    same = one == two or (
        type(one) is type(two) and {**_plain(one), "id": ""} == {**_plain(two), "id": ""}
    )
    assert (request_key("f", one) == request_key("f", two)) == same


def _plain(request):
    from tutelage.teacher.base import request_to_dict

    return request_to_dict(request)


def test_the_key_leaves_out_the_id_and_holds_the_fingerprint():
    assert request_key("f", generate("a")) == request_key("f", generate("b"))
    assert request_key("f", generate("a")) != request_key("g", generate("a"))
    assert request_key("f", generate("a", temperature=1)) == request_key(
        "f", generate("a", temperature=1.0)
    )


def test_the_key_does_not_change_between_versions():
    # A changed key would silently make every cache worthless.
    assert (
        request_key("f", generate("a"))
        == "d3e10c569cf4a87137fa3ea2a638fd7a9eec8d00dbe828370135eb0bf0de4999"
    )


def test_only_what_is_missing_is_asked_and_the_order_is_the_askers(tmp_path):
    inner = ScriptedTeacher()
    cached = CachedTeacher(inner, tmp_path / "deep" / "c.sqlite")
    cached.ask([generate("1", "b"), generate("2", "c")])
    arrived: list[str] = []
    replies = cached.ask(
        [generate("x", "a"), generate("y", "b"), generate("z", "d")],
        lambda reply: arrived.append(reply.id),
    )
    assert [reply.id for reply in replies] == ["x", "y", "z"]
    assert [reply.cached for reply in replies] == [False, True, False]
    assert inner.batches[-1] == ["x", "z"]
    assert sorted(arrived) == ["x", "y", "z"]


def test_identical_requests_of_one_batch_are_paid_once(tmp_path):
    inner = ScriptedTeacher()
    replies = CachedTeacher(inner, tmp_path / "c.sqlite").ask(
        [generate("a"), generate("b"), generate("c", seed=1)]
    )
    assert inner.batches == [["a", "c"]]
    assert [(reply.id, reply.cached) for reply in replies] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]
    assert replies[0].text == replies[1].text


def test_an_id_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'a' occurs twice"):
        CachedTeacher(ScriptedTeacher(), tmp_path / "c.sqlite").ask(
            [generate("a"), generate("a", "other")]
        )


def test_failed_replies_are_handed_on_and_never_kept(tmp_path):
    inner = ScriptedTeacher(lambda request: Reply(request.id, error="too long"))
    cached = CachedTeacher(inner, tmp_path / "c.sqlite")
    assert [reply.error for reply in cached.ask([generate("a"), generate("b")])] == [
        "too long",
        "too long",
    ]
    inner.script = lambda request: "fine"
    assert cached.ask([generate("a")])[0].text == "fine"


def test_what_came_before_a_death_is_kept(tmp_path):
    def dies(request):
        if request.prompt == "third":
            raise TeacherError("died")
        return "ok"

    cached = CachedTeacher(ScriptedTeacher(dies), tmp_path / "c.sqlite")
    batch = [
        generate("1", "first"),
        generate("2", "second"),
        generate("3", "third"),
        generate("4", "fourth"),
    ]
    with pytest.raises(TeacherError, match="died"):
        cached.ask(batch)
    cached.close()
    inner = ScriptedTeacher()
    again = CachedTeacher(inner, tmp_path / "c.sqlite").ask(batch)
    assert [reply.cached for reply in again] == [True, True, False, False]
    assert inner.batches == [["3", "4"]]


def test_an_engine_that_loses_a_request_is_told_of(tmp_path):
    class Loses(ScriptedTeacher):
        def ask(self, requests, on_reply=None):
            return super().ask(requests[:-1], on_reply)

    with pytest.raises(TeacherError, match="gave no reply to 1 of 2"):
        CachedTeacher(Loses(), tmp_path / "c.sqlite").ask([generate("a"), generate("b", "q")])


def test_a_file_that_is_no_cache_is_named(tmp_path):
    path = tmp_path / "c.sqlite"
    path.write_bytes(
        b"this is certainly not a database, but it is long enough to be looked at" * 20
    )
    with pytest.raises(
        TeacherError, match=r"c\.sqlite failed: file is not a database.*move it away"
    ):
        CachedTeacher(ScriptedTeacher(), path)


def sql(path: Path, *statements: str, **values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement, values)


def numbered(count: int) -> list[GenerateRequest]:
    return [generate(str(number), f"prompt {number}") for number in range(count)]


_GOOD = '{"text":"x","logprobs":[],"prompt_tokens":1,"completion_tokens":1,"finish_reason":""}'


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reply", "{"),
        ("reply", _GOOD),
        ("reply", b"\xff\xfe"),
        ("reply", 5),
        ("reply", "[" * 100_000),
        ("checksum", b"12345678"),
        ("checksum", b""),
        ("checksum", "text"),
    ],
)
def test_a_damaged_reply_is_asked_again_and_told(tmp_path, caplog, column, value):
    path = tmp_path / "c.sqlite"
    batch = numbered(3)
    with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
        whole = cached.ask(batch)
    key = bytes.fromhex(request_key("scripted:1", batch[1]))
    sql(path, f"UPDATE answers SET {column} = :value WHERE key = :key", value=value, key=key)
    inner = ScriptedTeacher()
    with closing(CachedTeacher(inner, path)) as cached:
        replies = cached.ask(batch)
        assert [reply.text for reply in replies] == [reply.text for reply in whole]
        assert [reply.cached for reply in replies] == [True, False, True]
        assert inner.batches == [["1"]]
        (told,) = caplog.messages
        assert f"1 stored replies of the teacher's cache {path} are damaged (2 are whole)" in told
        assert "They are asked again" in told
        # The new reply takes the place of the damaged one.
        assert all(reply.cached for reply in cached.ask(batch))
    assert len(caplog.messages) == 1


def test_a_reply_under_the_key_of_another_request_is_damaged(tmp_path):
    path = tmp_path / "c.sqlite"
    batch = numbered(2)
    with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
        cached.ask(batch)
    keys = {
        name: bytes.fromhex(request_key("scripted:1", request))
        for name, request in zip(("one", "two"), batch, strict=True)
    }
    other = "(SELECT reply, checksum FROM answers WHERE key = :two)"
    sql(path, f"UPDATE answers SET (reply, checksum) = {other} WHERE key = :one", **keys)
    with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
        assert [reply.text for reply in cached.ask(batch)] == ["prompt 0 #0", "prompt 1 #0"]


def test_a_cache_that_is_mostly_damaged_is_an_error_with_an_example(tmp_path):
    path = tmp_path / "c.sqlite"
    with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
        cached.ask(numbered(50))
    sql(path, "UPDATE answers SET reply = replace(reply, 'prompt 1', 'prompt 2')")
    sql(path, "UPDATE answers SET reply = replace(reply, 'prompt 3', 'prompt 4')")
    sql(path, "UPDATE answers SET reply = replace(reply, 'prompt 4', 'prompt 5')")
    inner = ScriptedTeacher()
    with (
        closing(CachedTeacher(inner, path)) as cached,
        pytest.raises(
            TeacherError, match=r"begins '{\"text\".*checksum differs.*Move the file away"
        ),
    ):
        cached.ask(numbered(50))
    assert not inner.asked
    path.rename(tmp_path / "away.sqlite")
    with closing(CachedTeacher(inner, path)) as cached:
        assert len(cached.ask(numbered(50))) == 50


def _damage(kind: str, data: bytearray, draw: random.Random) -> None:
    """Damages the bytes of a file as failing disks, memory and copies do."""
    place = draw.randrange(len(data))
    length = draw.choice([1, 8, 100, 4096])
    if kind == "flipped bits":
        for _ in range(draw.choice([1, 1, 5, 40])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[draw.choice([place, place // 4096 * 4096]) :]
    elif kind == "zeros":
        data[place : place + length] = bytes(len(data[place : place + length]))
    elif kind == "noise":
        data[place : place + length] = draw.randbytes(len(data[place : place + length]))
    else:
        one, two = (4096 * draw.randrange(len(data) // 4096) for _ in range(2))
        first, second = data[one : one + 4096], data[two : two + 4096]
        data[one : one + 4096], data[two : two + 4096] = second, first


@pytest.mark.parametrize("kind", ["flipped bits", "cut", "zeros", "noise", "swapped pages"])
def test_a_damaged_file_never_gives_another_reply(tmp_path, kind):
    batch = [*numbered(40), *(ScoreRequest(f"s{n}", f"q{n}", (1, 2)) for n in range(40))]
    long = ScriptedTeacher(
        lambda asked: (
            echo(asked) if "s" in asked.id else f"{asked.prompt} " * (1 + int(asked.id) ** 2)
        )
    )
    whole = tmp_path / "whole.sqlite"
    with closing(CachedTeacher(long, whole)) as cached:
        right = {reply.id: (reply.text, reply.logprobs) for reply in cached.ask(batch)}
    content, draw, outcomes = whole.read_bytes(), random.Random(kind), set()
    for number in range(25):
        data = bytearray(content)
        _damage(kind, data, draw)
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(data)
        try:
            with closing(CachedTeacher(ScriptedTeacher(lambda _: "asked again"), path)) as cached:
                replies = cached.ask(batch)
        except TeacherError as error:
            outcomes.add("refused" if str(path) in str(error) else str(error))
            continue
        stored = [reply for reply in replies if reply.cached]
        outcomes.add("asked again" if len(stored) < len(batch) else "alike")
        assert {reply.id: (reply.text, reply.logprobs) for reply in stored} == {
            reply.id: right[reply.id] for reply in stored
        }
    # Some of the damage must reach the replies.
    assert {"refused", "asked again"} & outcomes
    assert outcomes <= {"refused", "asked again", "alike"}


_FORMAT_1 = (
    "PRAGMA journal_mode=WAL",
    "CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS claims "
    "(key BLOB PRIMARY KEY, owner TEXT NOT NULL, renewed REAL NOT NULL) WITHOUT ROWID",
    "PRAGMA user_version=1",
)


def format_1(path: Path, batch: list[GenerateRequest]) -> None:
    """Makes a file as the first version of tutelage did, without checksums."""
    sql(path, *_FORMAT_1)
    for request in batch:
        sql(
            path,
            "INSERT INTO replies VALUES (:key, :reply)",
            key=bytes.fromhex(request_key("scripted:1", request)),
            reply=json.dumps(
                {
                    "text": f"old {request.prompt} \ud83d",
                    "logprobs": [],
                    "prompt_tokens": 3,
                    "completion_tokens": 4,
                    "finish_reason": "stop",
                }
            ),
        )


def test_a_file_of_the_first_format_is_read_and_gone_on_with(tmp_path):
    path = tmp_path / "c.sqlite"
    format_1(path, numbered(3))
    for _ in range(2):
        inner = ScriptedTeacher()
        with closing(CachedTeacher(inner, path)) as cached:
            replies = cached.ask(numbered(5))
            assert len(cached._store) == 5
        assert [reply.text for reply in replies] == [
            *(f"old prompt {n} \ud83d" for n in range(3)),
            *(f"prompt {n} #0" for n in (3, 4)),
        ]
        assert all(reply.cached for reply in replies[:3])
    assert not inner.asked
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


@pytest.mark.parametrize(
    "reply", ["{", "[]", '{"text": 5}', _GOOD.replace("[]", "[NaN]"), "[" * 10**5]
)
def test_a_reply_without_a_checksum_must_at_least_be_one(tmp_path, caplog, reply):
    path = tmp_path / "c.sqlite"
    format_1(path, numbered(2))
    key = bytes.fromhex(request_key("scripted:1", numbered(1)[0]))
    sql(path, "UPDATE replies SET reply = :reply WHERE key = :key", reply=reply, key=key)
    with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
        assert [reply.cached for reply in cached.ask(numbered(2))] == [False, True]
    assert "are damaged" in caplog.text


def test_a_process_of_the_first_version_works_on_undisturbed(tmp_path):
    path = tmp_path / "c.sqlite"
    format_1(path, numbered(2))
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        assert old.execute("SELECT count(*) FROM replies").fetchone() == (2,)
        with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
            cached.ask(numbered(4))
            key = bytes.fromhex(request_key("scripted:1", generate("x", "of the old one")))
            old.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, _GOOD))
            assert old.execute("SELECT count(*) FROM replies").fetchone() == (3,)
            assert cached.ask([generate("x", "of the old one")])[0].text == "x"


def test_many_processes_upgrade_a_file_at_once(tmp_path):
    path = tmp_path / "c.sqlite"
    format_1(path, numbered(3))
    all_three = [_start(path, "old prompt 0") for _ in range(3)]
    done = [process.communicate(timeout=60) for process in all_three]
    assert [process.returncode for process in all_three] == [0, 0, 0], done
    assert sum(int(out) for out, _ in done) == 57


@pytest.mark.parametrize("version", [0, 1, 2, 3, 77, -1])
def test_a_database_that_is_no_cache_is_left_as_it_is(tmp_path, version):
    path = tmp_path / "history.sqlite"
    sql(path, "CREATE TABLE replies (id INTEGER, body TEXT)", f"PRAGMA user_version={version}")
    before = path.read_bytes()
    with pytest.raises(TeacherError, match=r"is an SQLite database, but no cache.*teacher\.cache"):
        CachedTeacher(ScriptedTeacher(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["history.sqlite"]


def test_a_cache_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "c.sqlite"
    CachedTeacher(ScriptedTeacher(), path).close()
    sql(path, "PRAGMA user_version=3")
    with pytest.raises(TeacherError, match=r"has format 3, but .* reads formats up to 2"):
        CachedTeacher(ScriptedTeacher(), path)


def test_what_a_process_killed_while_making_the_file_left_is_completed(tmp_path):
    path = tmp_path / "c.sqlite"
    sql(path, *_FORMAT_1[:2])
    with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
        assert cached.ask([generate("a")])[0].text == "p #0"


def test_a_damage_that_sqlite_cannot_even_put_into_words_is_told(tmp_path):
    path = tmp_path / "c.sqlite"
    CachedTeacher(ScriptedTeacher(), path).close()
    # A word in the file's own description of its tables.
    path.write_bytes(path.read_bytes().replace(b"WITHOUT ROWID", b"WITHOUT \xc5OWID"))
    with pytest.raises(TeacherError, match=r"c\.sqlite.*damaged"):
        CachedTeacher(ScriptedTeacher(), path)


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_a_file_that_goes_while_it_is_in_use_is_told_once(tmp_path, caplog, how):
    path = tmp_path / "c.sqlite"
    with closing(CachedTeacher(ScriptedTeacher(), path)) as cached:
        cached.ask(numbered(1))
        assert not caplog.messages
        path.rename(tmp_path / "moved") if how == "moved" else path.unlink()
        told = []
        for count in (2, 3):
            assert len(cached.ask(numbered(count))) == count
            told += caplog.messages
            caplog.clear()
    assert len(told) == 1
    assert f"{path} was moved or removed while it is in use" in told[0]


def test_the_files_are_as_private_as_the_user_has_it(tmp_path):
    before = os.umask(0o077)
    try:
        with closing(CachedTeacher(ScriptedTeacher(), tmp_path / "new" / "c.sqlite")) as cached:
            cached.ask([generate("a")])
            modes = {one.stat().st_mode & 0o077 for one in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    assert modes == {0}


def test_a_full_disk_says_which_file_and_loses_nothing(tmp_path):
    path = tmp_path / "c.sqlite"
    cached = CachedTeacher(ScriptedTeacher(lambda request: "x" * 20_000), path)
    # SQLite's limit on the file size raises the same error as a full disk.
    cached._store._db.execute("PRAGMA max_page_count=20")
    with pytest.raises(
        TeacherError, match=r"c\.sqlite failed: database or disk is full\. .*free some space"
    ):
        cached.ask([generate(str(number), str(number)) for number in range(20)])
    kept = len(cached._store)
    assert 0 < kept < 20
    cached._store._db.execute("PRAGMA max_page_count=100000")
    again = cached.ask([generate(str(number), str(number)) for number in range(20)])
    assert sum(reply.cached for reply in again) == kept


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TeacherError, match=r"set teacher\.cache to another file"):
        CachedTeacher(ScriptedTeacher(), tmp_path / "file" / "c.sqlite")


_OTHER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.helpers.doubles import ScriptedTeacher
from tutelage.teacher.wrappers.cache import CachedTeacher
from tutelage.teacher.base import GenerateRequest, Sampling
inner = ScriptedTeacher(lambda request: (time.sleep(0.01), request.prompt)[1])
cached = CachedTeacher(inner, Path(sys.argv[1]))
replies = cached.ask([GenerateRequest(str(n), f"prompt {n}", Sampling()) for n in range(60)])
first = sys.argv[3:] or ["prompt 0"]
assert replies[0].text.startswith(first[0]), replies[0]
assert [reply.text for reply in replies[3:]] == [f"prompt {n}" for n in range(3, 60)]
print(len(inner.asked))
"""


def _start(path: Path, *first: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _OTHER, str(path), str(Path(__file__).parents[4]), *first]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_share_one_file_and_neither_pays_twice(tmp_path):
    both = [_start(tmp_path / "c.sqlite") for _ in range(2)]
    done = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], done
    assert sum(int(out) for out, _ in done) == 60


def test_the_claims_of_a_killed_process_are_void(tmp_path):
    path = tmp_path / "c.sqlite"
    other = _start(path)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists():
            try:
                if len(CachedTeacher(ScriptedTeacher(), path)._store) >= 3:
                    break
            except TeacherError:
                pass
        time.sleep(0.01)
    other.kill()
    other.communicate()
    inner = ScriptedTeacher()
    started = time.monotonic()
    replies = CachedTeacher(inner, path).ask(
        [GenerateRequest(str(n), f"prompt {n}", Sampling()) for n in range(60)]
    )
    assert time.monotonic() - started < 5
    assert len(replies) == 60
    assert 0 < len(inner.asked) <= 57


_CLAIMS_AND_ENDS = """
import os, sys
from pathlib import Path
from tutelage.teacher.wrappers.cache_store import CacheStore
store = CacheStore(Path(sys.argv[1]))
assert len(store.claim([bytes.fromhex(key) for key in sys.argv[2:]])) == len(sys.argv) - 2
os._exit(0)
"""


def test_the_claims_of_a_zombie_are_void(tmp_path):
    path = tmp_path / "c.sqlite"
    keys = [request_key("scripted:1", request) for request in numbered(3)]
    ended = subprocess.Popen([sys.executable, "-c", _CLAIMS_AND_ENDS, str(path), *keys])
    # Waits for its end without asking for its exit code, as in a container without init.
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    try:
        started = time.monotonic()
        with closing(CachedTeacher(ScriptedTeacher(), path, claim_seconds=20)) as cached:
            assert len(cached.ask(numbered(3))) == 3
        assert time.monotonic() - started < 2
    finally:
        assert ended.wait() == 0


_ELSEWHERE = f"elsewhere:{os.getpid()}:1.00"


@pytest.mark.parametrize(
    ("owner", "age"),
    [
        (b"\xff\xfe", 0),
        ("", 0),
        ("no process", 0),
        (5, 0),
        (f"{os.uname().nodename}:{os.getpid()}:1.00", 0),
        (f"{os.uname().nodename}:{10**30}:1.00", 0),
        (f"{os.uname().nodename}:-4:1.00", 0),
        ("elsewhere:x:1.00", 0),
        (_ELSEWHERE, 21),
        (_ELSEWHERE, -(10**9)),
        (_ELSEWHERE, "text"),
    ],
    ids=range(11),  # not by process ids, which differ between the workers
)
def test_a_claim_that_nobody_can_hold_is_void(tmp_path, owner, age):
    path = tmp_path / "c.sqlite"
    with closing(CachedTeacher(ScriptedTeacher(), path, claim_seconds=20)) as cached:
        key = bytes.fromhex(request_key("scripted:1", generate("a")))
        renewed = age if isinstance(age, str) else time.time() - age
        sql(path, "INSERT INTO claims VALUES (:k, :o, :r)", k=key, o=owner, r=renewed)
        started = time.monotonic()
        assert cached.ask([generate("a")])[0].text == "p #0"
        assert time.monotonic() - started < 2


def test_a_stale_claim_of_another_machine_runs_out_and_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cache_module, "_FIRST_TOLD_SECONDS", 0.0)
    path = tmp_path / "c.sqlite"
    with closing(CachedTeacher(ScriptedTeacher(), path, claim_seconds=0.3)) as cached:
        key = bytes.fromhex(request_key("scripted:1", generate("a")))
        sql(path, "INSERT INTO claims VALUES (:k, :o, :r)", k=key, o=_ELSEWHERE, r=time.time())
        started = time.monotonic()
        assert cached.ask([generate("a")])[0].text == "p #0"
        assert time.monotonic() - started >= 0.2
    (told,) = caplog.messages
    assert f"waiting for process {os.getpid()} on elsewhere, which is asking 1 of the same" in told


def test_a_wait_for_a_living_process_is_told_with_its_number(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cache_module, "_FIRST_TOLD_SECONDS", 0.0)
    path = tmp_path / "c.sqlite"
    keys = [bytes.fromhex(request_key("scripted:1", request)) for request in numbered(2)]
    with (
        closing(CacheStore(path)) as other,
        closing(CachedTeacher(ScriptedTeacher(), path)) as cached,
    ):
        other.claim(keys)
        # The other one answers while this one waits.
        monkeypatch.setattr(
            cache_module.time,
            "sleep",
            lambda _: [other.put(key, Reply("", text="of the other")) for key in keys],
        )
        assert [reply.text for reply in cached.ask(numbered(2))] == ["of the other"] * 2
    (told,) = caplog.messages
    assert f"waiting for process {os.getpid()}, which is asking 2 of the same requests" in told
    assert "at most 600 s after its last reply" in told


def test_ten_thousand_cached_requests_take_no_time(tmp_path):
    batch = [
        ScoreRequest(str(n), f"Text: number {n}\nTopic:", (1, 2, 3, 4, 5, 6, 7))
        for n in range(10_000)
    ]
    cached = CachedTeacher(ScriptedTeacher(echo), tmp_path / "c.sqlite")
    cached.ask(batch)
    started = time.perf_counter()
    replies = cached.ask(batch)
    seconds = time.perf_counter() - started
    assert all(reply.cached for reply in replies)
    # The benchmark proves the claim (under 1 s); a busy machine gets more time here.
    assert seconds < 3, json.dumps(seconds)
