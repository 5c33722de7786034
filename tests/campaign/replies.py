"""Hostile replies through every engine and labeller, in whole runs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from tests.campaign.hostile import HostileLabelWriter, HostileNamer, hostile_text
from tests.campaign.inputs import Inputs
from tests.campaign.outcome import Outcome
from tests.helpers import tiny, tiny_ner
from tests.helpers.fake_server import Answer, FakeServer, completion
from tests.helpers.warm_runs import ROOT

from tutelage.errors import TutelageError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines import vllm as vllm_engine
from tutelage.teacher.engines.hardware import Hardware
from tutelage.teacher.engines.shared import ADDRESS, EngineHost
from tutelage.teacher.engines.vllm import VllmTeacher

ENGINES = ("local", "replay", "server", "vllm", "shared")
LABELLERS = ("text", "verify", "extract")
METHODS = ("evokd", "llkd")


class ChildTeacher(VllmTeacher):
    """The real engine's side of the channel, with a hostile process on the other."""

    child_module = "tests.campaign.engine_child"

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[zlib.crc32(word.encode()) for word in text.split()] for text in texts]


def measure(inputs: Inputs, scratch: Path, count: int, rng: random.Random) -> Outcome:
    """Run until ``count`` replies went through each pair of engine and labeller."""
    outcome = Outcome("whatever a teacher replies, a run counts it and ends, or says why not")
    _write_models(scratch)
    data = tiny.small_data(scratch / "many", train=60), tiny_ner.ner_data(scratch / "names", 300)
    for engine in ENGINES:
        for labeller in LABELLERS:
            replies = number = 0
            while replies < count / (len(ENGINES) * len(LABELLERS)):
                method = METHODS[number % len(METHODS)]
                name = f"{engine}-{labeller}-{method}-{number}"
                folder = scratch / name
                folder.mkdir()
                overrides = _overrides(inputs, data, labeller, method, rng.randrange(10**6))
                with _engine(engine, labeller, folder, rng) as teacher:
                    faults, asked = _run(folder, [*overrides, *teacher], draw=number < 2)
                outcome.add(faults, name=name)
                outcome.note("runs that ended with an error and a reason", asked == 0)
                outcome.note(f"replies through {engine}", asked)
                outcome.note(f"replies through {labeller}", asked)
                replies, number = replies + max(asked, 1), number + 1
                if number > 60:
                    outcome.add(["60 runs made too few requests"], name=name)
                    break
    return outcome


def _run(folder: Path, overrides: list[str], *, draw: bool) -> tuple[list[str], int]:
    """One run; returns its faults and the number of requests."""
    from tutelage.report.html import write_report

    run = folder / "run"
    try:
        tiny.grow(run, overrides)
    except TutelageError as error:
        # A clear end is allowed, if status.json tells it and nothing was lost.
        state = json.loads((run / "status.json").read_text(encoding="utf-8"))["state"]
        return ([] if state == "failed" and str(error) else ["an end without a word"]), 0
    except Exception as error:  # every other exception is a fault
        return [f"{type(error).__name__}: {str(error)[:200]}"], 0
    faults = []
    asked = 0
    for path in sorted((run / "growth").glob("*.json")):
        growth = json.loads(path.read_text(encoding="utf-8"))
        asked += growth["asked"]
        if growth["asked"] != growth["answered"] + growth["failed"]:
            faults.append(f"{path.name}: asked is not answered + failed")
    # Not splitlines(): a text may hold other line separators.
    lines = (run / "pool" / "rows.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    if any(row["accepted"] and not row["text"].strip() for row in rows):
        faults.append("a row without a text")
    if draw:
        try:
            write_report(run)
        except Exception as error:  # a report that cannot be drawn is a fault
            faults.append(f"report: {type(error).__name__}: {str(error)[:200]}")
    return faults, asked


def _overrides(
    inputs: Inputs, data: tuple[Path, Path], labeller: str, method: str, seed: int
) -> list[str]:
    cache = Path("off")
    if labeller == "text":
        given = tiny.scripted(inputs.student, data[0], cache)
    else:
        given = [
            *tiny_ner.scripted_ner(inputs.ner_student, data[1], cache),
            f"labelling={labeller}",
        ]
    steps = [
        "training.start_epochs=1",
        "evaluate.test_every_round=false",
        f"seed={seed}",
        f"method={method}",
    ]
    rounds = ["method.rounds=2", "method.n_hard=28", "method.n_easy=28"]
    more = [*rounds, "training.round_epochs=1"] if method == "evokd" else []
    return [*given, *steps, *more]


@contextlib.contextmanager
def _engine(engine: str, labeller: str, folder: Path, rng: random.Random) -> Iterator[list[str]]:
    """Give the overrides of a hostile teacher behind one engine."""
    kind = "HostileLabelWriter" if labeller == "text" else "HostileNamer"
    cache = f"teacher.cache={folder / 'replies.sqlite'}"
    double = ["teacher=local", f"teacher._target_=tests.campaign.hostile.{kind}", cache]
    if engine == "local":
        yield double
    elif engine == "replay":
        yield [*double, f"teacher.record={folder / 'recording.jsonl'}"]
    elif engine == "server":
        server = FakeServer()
        server.answer = _http(HostileLabelWriter() if labeller == "text" else HostileNamer(), rng)
        try:
            yield [
                "teacher=server",
                "teacher._target_=tutelage.teacher.engines.server.ServerTeacher",
                f"teacher.url={server.url}",
                "teacher.model=hostile",
                "teacher.retries=1",
                "teacher.backoff=0.001",
                "teacher.timeout=5",
                cache,
            ]
        finally:
            server.stop()
    else:
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        model = folder.parent / "models" / ("words" if labeller == "text" else "names")
        hardware = mock.patch.object(
            vllm_engine,
            "vllm_hardware",
            return_value=(Hardware("cpu", 2, False), "0.32.0"),
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(hardware)
            stack.enter_context(mock.patch.dict(os.environ, {"PYTHONPATH": path}))
            if engine == "shared":
                log = folder / "engine.log"
                host = EngineHost(log, ChildTeacher.child_module, dict(os.environ))
                stack.enter_context(host)
                stack.enter_context(mock.patch.dict(os.environ, {ADDRESS: host.address}))
            yield [
                "teacher=vllm",
                "teacher._target_=tests.campaign.replies.ChildTeacher",
                f"teacher.model={model}",
                cache,
            ]


def _http(teacher: Any, rng: random.Random) -> Callable[[str, dict[str, Any]], Answer]:
    """Answers like vLLM with the teacher's replies, and odd bodies and statuses in between."""

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return 200, {"data": [{"id": "hostile"}]}
        if path == "/tokenize":
            return 200, {"tokens": teacher.tokenize([body["prompt"]])[0]}
        if "canary" in json.dumps(body.get("response_format", "")):
            return 200, completion('{"bird": "canary"}')  # how the engine tries schemas
        choices = body.get("logprob_token_ids")
        if choices is None and "logprobs" not in body:
            sampling = Sampling(stop=tuple(body.get("stop", ())))
            schema = "schema" if "response_format" in body else ""
            request: Any = GenerateRequest(
                "0", body["prompt"], sampling, body.get("seed", 0), schema
            )
        else:
            request = ScoreRequest("0", body["prompt"], tuple(choices or ()))
        draw = random.Random(f"{body}").random()
        if draw < 0.02:
            return 500, {"error": {"message": hostile_text(rng, "broken")}}
        if draw < 0.04:
            return 400, {"detail": [{"msg": hostile_text(rng, "bad")}]}
        if draw < 0.07:
            return 200, _body(rng)
        (reply,) = teacher.ask([request])
        if reply.error:
            return 422, {"error": {"message": reply.error}}
        top = {f"token_id:{t}": v for t, v in zip(choices or (), reply.logprobs, strict=True)}
        record = completion(reply.text, top or None)
        record["usage"] = {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": rng.choice((reply.completion_tokens, -1, None, "7", 10**400)),
        }
        return 200, record

    return answer


def _body(rng: random.Random) -> Any:
    return rng.choice(
        (
            b"",
            b"<html>Sign in</html>",
            b'{"choices": [',
            b"[" * 100_000,
            b'{"choices": []}',
            b'{"choices": [{"text": 3}]}',
            b'{"choices": [{"text": null, "logprobs": {"top_logprobs": [null]}}]}',
            b'{"choices": [{"text": "\\ud83d"}], "usage": null}',
            b"data: [DONE]\n\n",
            b"\xff\xfe\x00",
        )
    )


def _write_models(scratch: Path) -> None:
    for name in ("words", "names"):
        folder = scratch / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"architectures": ["Tiny"]}', encoding="utf-8")
