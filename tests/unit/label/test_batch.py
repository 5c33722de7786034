"""`tutelage label` by batch files: the labels of a live server, whatever happens to the files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.batch_service import Service, answer_files, answered, lines_of
from tests.helpers.fake_server import Answer, FakeServer, chat_reply
from tests.helpers.tiny import lines, write_jsonl
from tests.helpers.tiny_ner import TYPES
from tests.unit.label.test_command import content, rows, texts

from tutelage.cli import main
from tutelage.data.unlabelled import Source
from tutelage.errors import BudgetExhausted, ConfigError, DataError, TeacherError
from tutelage.label.batch import BatchFiles, label_by_files
from tutelage.label.command import Job, Sizes, label
from tutelage.teacher.engines.server_offline import FewReplies

SIZES = Sizes(chunk=16, calibrate_on=20)
Overrides = Callable[..., tuple[str, ...]]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    made.chats, made.answer = True, answered
    yield made
    made.stop()


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "heap.jsonl", [{"text": one} for one in texts(50)])


@pytest.fixture
def asked(server: FakeServer, small_data: Path, ner_data: Path, tmp_path: Path) -> Overrides:
    """Overrides for a server, with a cache by name."""

    def overrides(*more: str, cache: str = "replies", ner: bool = False) -> tuple[str, ...]:
        words = ",".join(f"{name}:{{word:{word}}}" for name, word in TYPES.items())
        data = ["task=ner", f"data.labels={{{words}}}"] if ner else []
        return (
            *data,
            "data=files",
            f"data.path={ner_data if ner else small_data}",
            "labelling.demonstrations=fixed" if not ner else "shots=1",
            "teacher=server",
            f"teacher.url={server.url}",
            "teacher.model=m",
            "teacher.api=chat",
            "teacher.scoring=top",
            f"teacher.cache={tmp_path / cache}.sqlite" if cache else "teacher.cache=null",
            *more,
        )

    return overrides


def by_files(
    overrides: tuple[str, ...],
    heap: Path,
    to: Path,
    requests: Path | None = None,
    replies: Path | None = None,
    sizes: Sizes = SIZES,
) -> int:
    return label_by_files(Job(overrides, Source(heap), to, sizes), BatchFiles(requests, replies))


def in_rounds(
    overrides: tuple[str, ...], heap: Path, to: Path, folder: Path, service: Service = answered
) -> int:
    """Writes and answers requests until there are none; returns the number of rounds."""
    replies = folder / "replies"
    replies.mkdir(parents=True)
    for number in range(1, 6):
        requests = folder / f"round-{number}"
        by_files(overrides, heap, to, requests, replies if number > 1 else None)
        if not requests.exists():
            return number - 1
        answer_files(requests, replies / f"{number}.jsonl", service)
    raise AssertionError("no end of rounds")


@pytest.mark.parametrize(
    ("more", "ner", "rounds", "cached"),
    [
        ((), False, 1, False),
        (("calibration=contextual", "labelling.demonstrations=predictive", "shots=3"), False, 2, 1),
        (("calibration=temperature",), False, 1, True),
        (("labelling=ensemble", "calibration=batch"), False, 1, True),
        (("labelling=verify",), True, 1, True),
        (("labelling=extract",), True, 2, False),
    ],
)
def test_the_folder_is_that_of_a_live_server_byte_for_byte(
    asked: Overrides,
    heap: Path,
    tmp_path: Path,
    more: tuple[str, ...],
    ner: bool,
    rounds: int,
    cached: bool,
) -> None:
    live, to = tmp_path / "live", tmp_path / "to"
    label(asked(*more, cache="live", ner=ner), Source(heap), live, SIZES)
    overrides = asked(*more, cache="files" if cached else "", ner=ner)
    assert in_rounds(overrides, heap, to, tmp_path / "batch") == rounds
    assert content(to) == content(live)
    assert json.loads((to / "label.json").read_text())["labelled"] == 48


def test_a_live_server_and_files_share_the_cache(
    asked: Overrides, server: FakeServer, heap: Path, tmp_path: Path, capsys: Any
) -> None:
    """Nothing is asked twice, in whichever order, and nobody connects for the files."""
    assert in_rounds(asked(), heap, tmp_path / "to", tmp_path / "batch") == 1
    assert server.bodies == []
    label(asked(), Source(heap), tmp_path / "live", SIZES)
    # Its survey alone: no body holds a text.
    assert not [body for body in server.bodies if "Classify" in json.dumps(body)]
    assert content(tmp_path / "live") == content(tmp_path / "to")
    label(asked(cache="other"), Source(heap), tmp_path / "live-2", SIZES)
    capsys.readouterr()
    by_files(asked(cache="other"), heap, tmp_path / "to-2", tmp_path / "none")
    told = capsys.readouterr().out
    assert "Every request has its reply; no file is written" in told
    assert "--to" in told
    assert not (tmp_path / "none").exists()


def test_a_few_missing_and_failed_replies_are_rows_with_a_reason_until_they_are_there(
    asked: Overrides, heap: Path, tmp_path: Path, capsys: Any
) -> None:
    whole, to, requests = tmp_path / "whole", tmp_path / "to", tmp_path / "requests"
    assert in_rounds(asked(cache="whole"), heap, whole, tmp_path / "batch") == 1
    by_files(asked(), heap, to, requests)
    told = capsys.readouterr().out
    assert f"47 requests in 1 file: {requests}" in told
    assert "--chunk 16 --calibrate-on 20 --batch-replies replies" in told
    found = lines_of(requests)
    names = [one["custom_id"] for one in lines(requests / "requests-00000.jsonl")]
    at = {one["custom_id"]: one for one in found}
    # One beyond the calibration's texts is missing, one failed, one was refused, one is no answer.
    at[names[30]]["response"] = {"status_code": 500, "body": {"error": {"message": "overloaded"}}}
    at[names[31]]["response"] = {"status_code": 400, "body": {"error": {"message": "too long"}}}
    at[names[32]]["response"]["body"]["choices"] = [{"message": {"role": "assistant"}}, 7]
    replies = tmp_path / "replies"
    replies.mkdir()
    write_jsonl(replies / "1.jsonl", [one for one in found if one is not at[names[29]]])
    assert by_files(asked(), heap, to, replies=replies) == 0
    told = capsys.readouterr().out
    assert "46 replies" in told
    assert "2 of them failed, the first: " in told
    assert "1 requests have no reply, and 3 replies are not usable, the first: the server" in told
    reasons = [row["reason"] for row in rows(to) if row["reason"]]
    assert reasons[2] == "labelling failed: the batch files have no reply to it"
    assert reasons[3] == "labelling failed: the server failed with: HTTP 500 overloaded"
    assert reasons[4] == "labelling failed: the server refused the request: too long"
    assert reasons[5].startswith("labelling failed: the server failed with a reply that is not")
    record = json.loads((to / "label.json").read_text())
    assert (record["labelled"], record["reasons"]["labelling failed"]) == (44, 4)
    assert record["complete"]
    # What was answered is not asked again, and what the service refused is not, either.
    again = tmp_path / "again"
    by_files(asked(), heap, to, again, replies)
    told = capsys.readouterr().out
    assert "3 requests in 1 file" in told
    written = [one["custom_id"] for one in lines(again / "requests-00000.jsonl")]
    assert written == [names[29], names[30], names[32]]
    # Fewer replies than before, and no cache: no label is lost.
    before = content(to)
    fewer = [one for one in found if one["custom_id"] not in names[20:26]]
    by_files(asked(cache=""), heap, to, replies=write_jsonl(tmp_path / "fewer.jsonl", fewer))
    assert content(to) == before
    capsys.readouterr()
    (replies / "1.jsonl").unlink()
    answer_files(requests, replies / "2.jsonl")
    by_files(asked(), heap, to, replies=replies)
    told = capsys.readouterr().out
    assert "of 47 replies were not needed: their texts are labelled already" in told
    assert content(to) == content(whole)


def test_most_missing_replies_end_it_or_wait_for_the_next_files(
    asked: Overrides, heap: Path, tmp_path: Path, capsys: Any
) -> None:
    to, requests, replies = tmp_path / "to", tmp_path / "requests", tmp_path / "replies"
    by_files(asked(), heap, to, requests)
    answers = {one["custom_id"]: one for one in lines_of(requests)}
    names = [one["custom_id"] for one in lines(requests / "requests-00000.jsonl")]
    replies.mkdir()
    # The calibration has too few: nothing is fixed.
    write_jsonl(replies / "1.jsonl", [answers[name] for name in names[:5]])
    with pytest.raises(FewReplies, match=r"13 of 18 requests for some texts.*Give all files"):
        by_files(asked(), heap, to, replies=replies)
    assert not (to / "calibration.json").exists()
    capsys.readouterr()
    assert by_files(asked(), heap, to, tmp_path / "more", replies) == 0
    told = capsys.readouterr().out
    assert "42 requests in 1 file" in told
    assert "Labels follow once the requests of the calibration are answered" in told
    # The third chunk has none.
    write_jsonl(replies / "2.jsonl", [answers[name] for name in [*names[:29], *names[45:]]])
    with pytest.raises(FewReplies, match=r"1 files of .* are not written"):
        by_files(asked(), heap, to, replies=replies)
    parts = sorted(path.stem for path in (to / "data").glob("part-*"))
    assert parts == ["part-00000", "part-00001", "part-00003"]
    assert not json.loads((to / "label.json").read_text())["complete"]
    capsys.readouterr()
    assert by_files(asked(), heap, to, tmp_path / "rest", replies) == 0
    assert "Replies are missing for part-00002.parquet" in capsys.readouterr().out
    answer_files(tmp_path / "rest", replies / "3.jsonl")
    by_files(asked(), heap, to, replies=replies)
    assert in_rounds(asked(cache="whole"), heap, tmp_path / "whole", tmp_path / "batch") == 1
    assert content(to) == content(tmp_path / "whole")


def test_a_calibration_without_some_of_its_replies_says_so(
    asked: Overrides, heap: Path, tmp_path: Path, capsys: Any
) -> None:
    by_files(asked(), heap, tmp_path / "to", tmp_path / "requests")
    names = [one["custom_id"] for one in lines(tmp_path / "requests" / "requests-00000.jsonl")]
    found = [one for one in lines_of(tmp_path / "requests") if one["custom_id"] not in names[:2]]
    replies = write_jsonl(tmp_path / "r.jsonl", found)
    by_files(asked(), heap, tmp_path / "to", replies=replies)
    assert "The calibration is fitted without 2 requests that failed" in capsys.readouterr().out


def test_replies_to_other_prompts_are_refused_and_counted(
    asked: Overrides, heap: Path, tmp_path: Path, capsys: Any
) -> None:
    by_files(asked(), heap, tmp_path / "to", tmp_path / "requests")
    replies = answer_files(tmp_path / "requests", tmp_path / "r.jsonl")
    capsys.readouterr()
    with pytest.raises(FewReplies):
        by_files(asked("shots=2", cache=""), heap, tmp_path / "to", replies=replies)
    assert "47 of 47 replies were not used: no request has their custom_id" in (
        capsys.readouterr().out
    )
    by_files(asked(), heap, tmp_path / "to", replies=replies)
    assert "were not used" not in capsys.readouterr().out


def test_what_a_strict_service_refuses_is_left_out_in_the_next_round(
    asked: Overrides, heap: Path, tmp_path: Path
) -> None:
    def strict(path: str, body: dict[str, Any]) -> Answer:
        unknown = {*body} - {"model", "messages", "max_completion_tokens", "temperature"}
        if "max_tokens" in unknown:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, {"error": {"message": said}}
        assert unknown == {"logprobs", "top_logprobs"}
        return answered(path, body)

    assert in_rounds(asked(), heap, tmp_path / "to", tmp_path / "batch", strict) == 2
    assert in_rounds(asked(cache="2"), heap, tmp_path / "plain", tmp_path / "batch-2") == 1
    assert content(tmp_path / "to") == content(tmp_path / "plain")


def test_a_model_may_have_a_very_long_name(asked: Overrides, heap: Path, tmp_path: Path) -> None:
    def named(path: str, body: dict[str, Any]) -> Answer:
        code, reply, *_ = answered(path, body)
        return code, reply | {"model": "/models/" + "m" * 350}

    assert in_rounds(asked(), heap, tmp_path / "to", tmp_path / "batch", named) == 1
    assert json.loads((tmp_path / "to" / "label.json").read_text())["labelled"] == 48


def test_replies_of_two_models_or_without_any_label_end_it(
    asked: Overrides, heap: Path, tmp_path: Path
) -> None:
    by_files(asked(), heap, tmp_path / "to", tmp_path / "requests")
    found = lines_of(tmp_path / "requests")
    found[20]["response"]["body"]["model"] = "another"
    with pytest.raises(TeacherError, match="'another' now"):
        by_files(
            asked(cache=""), heap, tmp_path / "1", replies=write_jsonl(tmp_path / "r.jsonl", found)
        )

    def blind(path: str, body: dict[str, Any]) -> Answer:
        return 200, chat_reply("x", {"x": -0.1, "y": -3.0}, model="m")

    with pytest.raises(TeacherError, match="None of the labels is among the 20 most likely"):
        by_files(
            asked(cache=""),
            heap,
            tmp_path / "2",
            replies=answer_files(tmp_path / "requests", tmp_path / "s.jsonl", blind),
        )


def test_the_budget_counts_what_is_written_and_what_replies_used(
    asked: Overrides, heap: Path, tmp_path: Path, capsys: Any
) -> None:
    to, requests = tmp_path / "to", tmp_path / "requests"
    with pytest.raises(ConfigError, match=r"budget.tokens=50 is spent before the first text"):
        by_files(asked("budget.tokens=50"), heap, to, requests)
    by_files(asked("budget.tokens=4000"), heap, to, requests)
    told = capsys.readouterr().out
    assert "budget.tokens=4000 ends after 20 texts; raise it" in told
    assert "18 requests in 1 file" in told

    def counted(path: str, body: dict[str, Any]) -> Answer:
        code, reply, *_ = answered(path, body)
        return code, reply | {"usage": {"prompt_tokens": 200, "completion_tokens": 3}}

    by_files(asked(), heap, to, tmp_path / "all")
    replies = answer_files(tmp_path / "all", tmp_path / "r.jsonl", counted)
    with pytest.raises(BudgetExhausted, match="16 texts are labelled and written; raise"):
        by_files(asked("budget.tokens=4000"), heap, to, replies=replies)
    by_files(asked(), heap, to, replies=replies)
    record = json.loads((to / "label.json").read_text())
    assert record["tokens"] == {"billed": 48 * 201, "prompt": 48 * 200, "completion": 48}


def test_settings_that_files_cannot_ask_are_refused(
    asked: Overrides, heap: Path, tmp_path: Path
) -> None:
    for more, says in (
        (("teacher.api=auto",), r"teacher.api=auto asks.*Give teacher.api=chat.*completions"),
        (("teacher.scoring=auto",), r"scoring=auto asks.*Give teacher.scoring=exact.*scoring=top"),
        (("teacher.scoring=agreement",), r"scoring=agreement is no way.*Give teacher.scoring="),
        (("teacher.scoring=decisions",), r"scoring=decisions is no way.*Give teacher.scoring="),
        (("teacher.scoring=exact",), "Set teacher.tokenizer to the model's tokenizer"),
        (("labelling=boosted",), "labelling=boosted asks step by step.*Give labelling=text"),
        (("prompt=completion",), "asked in messages, and cannot continue texts. Use prompt=chat"),
        (
            ("labelling=ensemble", "+labelling.teachers.b.model=n"),
            r"labelling.teachers names b besides. Give labelling=text",
        ),
    ):
        error = TeacherError if says.startswith(("Set", "asked in")) else ConfigError
        overrides = [
            one for one in asked(*more) if "labelling=boosted" not in more or "fixed" not in one
        ]
        with pytest.raises(error, match=says):
            by_files(tuple(overrides), heap, tmp_path / "to", tmp_path / "requests")
    embedded = ("data=snips", "teacher=vllm")
    with pytest.raises(ConfigError, match=r"teacher=vllm is none.*Give teacher=server.*run-batch"):
        by_files(embedded, heap, tmp_path / "to", tmp_path / "requests")
    assert not (tmp_path / "requests").exists()
    (tmp_path / "empty.jsonl").write_text('{"text": " "}\n')
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="has no file of texts"):
        by_files(asked(), tmp_path / "none", tmp_path / "to", tmp_path / "requests")


def test_the_command_line_has_both_ways_and_no_ray(
    asked: Overrides, heap: Path, tmp_path: Path, capsys: Any
) -> None:
    def run(*more: str) -> tuple[int, str]:
        words = ["label", *asked(), "--texts", str(heap), "--to", str(tmp_path / "to"), *more]
        with pytest.raises(SystemExit) as ended:
            main(words)
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    requests, replies = str(tmp_path / "requests"), str(tmp_path / "r.jsonl")
    for more in (("--engine", "ray"), ("--replicas", "2"), ("--gpus-per-replica", "1")):
        code, told = run("--batch-requests", requests, *more)
        assert code == 2
        assert "need no engine, so --engine ray and its options are not for them" in told
    assert run("--batch-requests", requests)[0] == 0
    code, told = run("--batch-replies", f"{requests}/requests-00000.jsonl")
    assert (code, "line 1 is a request" in told) == (3, True)
    answer_files(Path(requests), Path(replies))
    code, told = run("--batch-replies", replies)
    assert code == 0
    assert "50 texts: 48 labelled" in told


def test_killed_while_it_writes_the_same_command_writes_the_same_files(
    asked: Overrides, heap: Path, tmp_path: Path
) -> None:
    heap = write_jsonl(tmp_path / "many.jsonl", [{"text": one} for one in texts(3000)])
    job = Job(asked(), Source(heap), tmp_path / "to", SIZES)
    words = ["label", *job.overrides, "--texts", str(heap), "--to", str(job.to)]
    words += ["--chunk", "16", "--batch-requests", str(tmp_path / "killed")]
    paths = [str(Path(__file__).parents[3] / part) for part in ("src", ".")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tutelage.cli", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.DEVNULL,
    )
    part = tmp_path / ".killed.part" / "requests-00000.jsonl"
    deadline = time.monotonic() + 240
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    sizes = Sizes(16)
    for name in ("killed", "whole"):
        by_files(job.overrides, heap, job.to, tmp_path / name, sizes=sizes)
    killed, whole = (tmp_path / name / "requests-00000.jsonl" for name in ("killed", "whole"))
    assert killed.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".killed*"))
