"""Question: is label scoring faster and cheaper than distilabel's classification task?

    uv venv other && uv pip install --python other distilabel openai requests instructor
    python benchmarks/beside_distilabel.py --distilabel other/bin/python [--texts 100 --pairs 3]

Both label the same texts of SNIPS with the same model behind the same server (vLLM's, started
here), in turns, told of the same labels with the same descriptions, and with the same number of
requests in flight. distilabel's ``TextClassification`` lets the model write JSON, by its schema as
it is by default, and freely ("no schema", fences around the JSON removed here); our labeller asks
for the log-probabilities of the labels at one position. All get the same texts. "valid" are those
that got one of the labels, "right" those that got their own. Replies are as long as distilabel
allows by default.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

IN_FLIGHT = 50
LABELS = {
    "playlist": "AddToPlaylist: to put a song, an album or an artist on a list",
    "restaurant": "BookRestaurant: to reserve a table",
    "weather": "GetWeather: to know the weather at a place and time",
    "music": "PlayMusic: to hear music now",
    "rating": "RateBook: to give a book points or stars",
    "work": "SearchCreativeWork: to find a book, a film, a game or a song by its name",
    "cinema": "SearchScreeningEvent: to know which films run where and when",
}
"""The word, name and description of each class of SNIPS."""

# Runs in an environment of its own, as a process that answers line by line.
OTHER = """
import json, re, sys, time, warnings
warnings.simplefilter("ignore")
from distilabel.models import OpenAILLM
from distilabel.steps.tasks import TextClassification
given = json.loads(sys.stdin.readline())
def built(schema):
    llm = OpenAILLM(model="tiny", base_url=given["url"], api_key="none",
                    generation_kwargs={"temperature": 0.0})
    task = TextClassification(llm=llm, n=1, context="Determine the intent of the text.",
                              available_labels=given["labels"],
                              use_default_structured_output=schema)
    task.load()
    return task
tasks = {True: built(True), False: built(False)}
def label(one):
    # Without a schema models put their JSON in a fence, which distilabel does not read.
    raw = one["distilabel_metadata"]["raw_output_text_classification_0"] or ""
    found = re.search(r'"labels"\\s*:\\s*"([^"]*)"', raw)
    return one["labels"] or (found and found[1])
print("ready", flush=True)
for line in sys.stdin:
    schema, rows = json.loads(line)
    task = tasks[schema]
    began = time.perf_counter()
    made = []
    step = given["in_flight"]
    for start in range(0, len(rows), step):
        try:
            made += next(task.process([{"text": one} for one in rows[start:start + step]]))
        except Exception as error:
            print("answer " + json.dumps(type(error).__name__), flush=True)
            break
    if len(made) < len(rows):
        continue
    seconds = time.perf_counter() - began
    numbers = [one["distilabel_metadata"]["statistics_text_classification_0"] for one in made]
    kinds = ("input_tokens", "output_tokens")
    tokens = [sum(one[kind] for one in numbers) for kind in kinds]
    print("answer " + json.dumps([seconds, *tokens, [label(one) for one in made]]), flush=True)
"""


def rows_of(count: int) -> list[tuple[str, str]]:
    """Test texts of SNIPS with the words of their classes."""
    source = files("tutelage") / "data" / "samples" / "snips_intent" / "test.jsonl"
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    random.Random(13).shuffle(rows)
    words = {described.partition(":")[0]: word for word, described in LABELS.items()}
    return [(row["text"], words[row["label"]]) for row in rows[:count]]


@contextmanager
def server(model: str, port: int) -> Iterator[str]:
    """Starts vLLM's server on a model, and yields its address."""
    import httpx

    from tutelage.teacher.engines.hardware import child_environment, vllm_hardware

    environment = child_environment(vllm_hardware()[0], offline=True)
    del environment["VLLM_ENABLE_V1_MULTIPROCESSING"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--block-size", "32"]
    # distilabel asks for its schema by a tool call.
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    command += ["--max-model-len", "2048", "--kv-cache-memory-bytes", str(2**30)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            for _ in range(600):
                assert process.poll() is None, "the server ended"
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def ours(url: str, rows: list[tuple[str, str]], tokenizer: Any) -> dict[str, float]:
    """Labels by the log-probabilities of the words, and counts."""
    from tutelage.teacher.base import Chat, Message, ScoreRequest
    from tutelage.teacher.chat import render_text
    from tutelage.teacher.engines.server import ServerTeacher

    words = list(LABELS)
    choices = tuple(tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words)
    assert len(set(choices)) == len(words)
    described = "\n".join(f"- {word}: {LABELS[word]}" for word in words)
    system = Message(
        "system",
        f"Determine the intent of a text. The labels are:\n{described}\nReply with one label.",
    )
    requests = [
        ScoreRequest(
            str(number),
            render_text(tokenizer, Chat((system, Message("user", f"Text: {text}")))),
            choices,
        )
        for number, (text, _) in enumerate(rows)
    ]
    teacher = ServerTeacher(url, "tiny", concurrency=IN_FLIGHT)
    began = time.perf_counter()
    replies = teacher.ask(requests)
    seconds = time.perf_counter() - began
    teacher.close()
    assert not any(reply.error for reply in replies), replies[0].error
    said = [words[max(range(len(words)), key=reply.logprobs.__getitem__)] for reply in replies]
    read = sum(reply.prompt_tokens for reply in replies)
    return counted(rows, said, seconds, read, sum(reply.completion_tokens for reply in replies))


def theirs(
    other: subprocess.Popen[str], rows: list[tuple[str, str]], *, schema: bool
) -> dict[str, float] | str:
    """Labels by distilabel, and counts; the error that ended it where one did."""
    assert other.stdin is not None
    other.stdin.write(json.dumps([schema, [text for text, _ in rows]]) + "\n")
    other.stdin.flush()
    answer = json.loads(_line(other, "answer "))
    if isinstance(answer, str):
        return answer
    seconds, read, written, said = answer
    return counted(rows, said, seconds, read, written)


def _line(other: subprocess.Popen[str], start: str) -> str:
    assert other.stdout is not None
    for line in other.stdout:
        if line.startswith(start):
            return line.removeprefix(start)
    raise RuntimeError("distilabel ended")


def counted(
    rows: list[tuple[str, str]], said: list[Any], seconds: float, read: int, written: int
) -> dict[str, float]:
    """The figures of one turn."""
    return {
        "texts/s": len(rows) / seconds,
        "prompt tokens": read / len(rows),
        "written tokens": written / len(rows),
        "valid %": 100 * sum(isinstance(one, str) and one in LABELS for one in said) / len(rows),
        "right %": 100
        * sum(one == gold for one, (_, gold) in zip(said, rows, strict=True))
        / len(rows),
    }


def main() -> None:
    """Labels in turns and prints medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--distilabel", required=True, help="python with distilabel")
    parser.add_argument("--model", default="", help="folder; the embedded teacher by default")
    parser.add_argument("--texts", type=int, default=100, help="texts a turn")
    parser.add_argument("--pairs", type=int, default=3, help="turns of each tool")
    parser.add_argument("--port", type=int, default=8177)
    options = parser.parse_args()
    from tutelage.assets import ensure_asset
    from tutelage.teacher.engines.model_files import load_tokenizer

    model = options.model or str(ensure_asset("teacher"))
    rows = rows_of(options.texts * options.pairs + 10)
    found: dict[str, list[Any]] = {"tutelage": [], "distilabel": [], "no schema": []}
    with server(model, options.port) as url, tempfile.TemporaryFile() as log:
        environment = {n: v for n, v in os.environ.items() if n != "LD_PRELOAD"}
        other = subprocess.Popen(
            [options.distilabel, "-c", OTHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        try:
            start = {"url": url, "labels": LABELS, "in_flight": IN_FLIGHT}
            assert other.stdin is not None
            other.stdin.write(json.dumps(start) + "\n")
            other.stdin.flush()
            _line(other, "ready")
            tokenizer = load_tokenizer(model)
            ours(url, rows[:10], tokenizer)
            for schema in (True, False):
                theirs(other, rows[:10], schema=schema)
            for turn in range(options.pairs):
                part = rows[10 + options.texts * turn :][: options.texts]
                found["tutelage"].append(ours(url, part, tokenizer))
                found["distilabel"].append(theirs(other, part, schema=True))
                found["no schema"].append(theirs(other, part, schema=False))
        finally:
            other.kill()
    names = list(found["tutelage"][0])
    print(f"{Path(model).name}, {options.texts} texts a turn, medians of {options.pairs}")
    print(f"{'':12}" + "".join(f"{name:>16}" for name in names))
    for tool, every in found.items():
        turns = [turn for turn in every if not isinstance(turn, str)]
        if errors := [turn for turn in every if isinstance(turn, str)]:
            print(f"{tool:12}{len(errors)} of {len(every)} turns ended by {', '.join({*errors})}")
        if not turns:
            continue
        medians = [statistics.median(turn[name] for turn in turns) for name in names]
        print(f"{tool:12}" + "".join(f"{value:16.2f}" for value in medians))


if __name__ == "__main__":
    main()
