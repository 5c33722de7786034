"""ServerTeacher, and whole runs, with a real llama.cpp server on the loopback interface.

llama.cpp differs from vLLM wherever OpenAI's interface leaves a gap: in the fields of ``/tokenize``
and of JSON schemas, in the shape of log-probabilities, and in its silence about unknown fields.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tests.conftest import Command
from tests.helpers.llama_cpp import llama_server, write_gguf
from tests.helpers.tiny import WORDS, lines

from tutelage.labelling.verbalizer import verbalize
from tutelage.records import Label
from tutelage.teacher.base import (
    Chat,
    GenerateRequest,
    Message,
    Reply,
    Sampling,
    ScoreRequest,
)
from tutelage.teacher.engines.local import LocalTeacher
from tutelage.teacher.engines.server import ServerTeacher

pytestmark = pytest.mark.llama

TOPICS = tuple(f" {word}" for word in WORDS.values())
SHOTS = "Text: play some jazz\nTopic: music\n\nText: will it rain\nTopic: weather\n\n"
GREEDY = Sampling(temperature=0.0, max_tokens=8, stop=("\n",))
SCHEMA = (
    '{"type":"object","properties":{"city":{"type":"string","maxLength":12}},'
    '"required":["city"],"additionalProperties":false}'
)


@pytest.fixture(scope="module")
def model(embedded_teacher: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("llama") / "teacher.gguf"
    try:
        yield write_gguf(Path(embedded_teacher), path)
    finally:
        path.unlink()  # pytest keeps the folder, and the file has half a gigabyte


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    with llama_server(model, model.with_name("server.log")) as address:
        yield address


@pytest.fixture
def there(server: str) -> Iterator[ServerTeacher]:
    teacher = ServerTeacher(f"{server}/v1", "any-name", timeout=60)
    yield teacher
    teacher.close()


@pytest.fixture
def here(embedded_teacher: str) -> Iterator[LocalTeacher]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    teacher = LocalTeacher(embedded_teacher)
    yield teacher
    teacher.close()
    torch.set_num_threads(threads)


def test_the_server_answers_like_the_same_model_in_this_process(
    there: ServerTeacher, here: LocalTeacher, small_data: Path
):
    texts = [row["text"] for row in lines(small_data / "test.jsonl")][::3]
    words = [*TOPICS, *texts, "naïve <|im_end|> 日本 😀\n\n\tdon't 123"]
    assert there.tokenize(words) == here.tokenize(words)

    choices = tuple(ids[0] for ids in there.tokenize(TOPICS))
    assert len(set(choices)) == len(TOPICS)
    prompts = {f"{n}": f"{SHOTS}Text: {text}\nTopic:" for n, text in enumerate(texts)}
    scores = [ScoreRequest(f"s{n}", prompt, choices) for n, prompt in prompts.items()]
    greedy = [GenerateRequest(f"g{n}", prompt, GREEDY) for n, prompt in prompts.items()]
    got, wanted = there.ask([*scores, *greedy]), here.ask([*scores, *greedy])
    assert [reply.error for reply in got] == [""] * len(got)
    assert [reply.prompt_tokens for reply in got] == [reply.prompt_tokens for reply in wanted]
    # Half precision in the server's attention, and choices outside its list, move a share a little.
    there_shares, here_shares = (
        [softmax(reply.logprobs) for reply in replies[: len(scores)]] for replies in (got, wanted)
    )
    assert np.allclose(there_shares, here_shares, atol=0.02)
    assert np.argmax(there_shares, axis=1).tolist() == np.argmax(here_shares, axis=1).tolist()
    assert np.ptp(there_shares, axis=1).min() > 0.2, "no distribution is close to uniform"
    same = [mine.text == other.text for mine, other in zip(got, wanted, strict=True)]
    assert sum(same[len(scores) :]) >= len(greedy) - 1, "a near tie may fall either way"


def test_messages_are_rendered_scored_and_answered_like_by_the_same_model_here(
    there: ServerTeacher, here: LocalTeacher
):
    there.settle()
    assert there.speaks_chat
    system = Message("system", f"Answer with one label: {', '.join(WORDS.values())}.")
    chats = [
        Chat((system, Message("user", text)))
        for text in ("play some jazz", "will it rain", "book a table for two")
    ]
    found = verbalize(here, [Label(word, word, word) for word in WORDS.values()], chat=chats[0])
    assert there.tokenize([chats[0], chats[0].prefilled("music")]) == here.tokenize(
        [chats[0], chats[0].prefilled("music")]
    )
    firsts = verbalize(there, [Label(word, word, word) for word in WORDS.values()], chat=chats[0])
    assert firsts == found
    requests = [
        *(ScoreRequest(f"s{n}", chat, found.tokens, found.words) for n, chat in enumerate(chats)),
        GenerateRequest("g", chats[0], GREEDY),
        GenerateRequest("p", chats[0].prefilled("The label is"), GREEDY),
    ]
    got, wanted = there.ask(requests), here.ask(requests)
    assert [reply.error for reply in got] == [""] * len(got)
    assert [reply.prompt_tokens for reply in got] == [reply.prompt_tokens for reply in wanted]
    for mine, other in zip(got[:3], wanted[:3], strict=True):
        there_values, here_values = np.array(mine.logprobs), np.array(other.logprobs)
        # Labels beyond the server's list have the lowest value there.
        listed = there_values > there_values.min()
        assert listed.sum() >= 2
        assert np.allclose(there_values[listed], here_values[listed], atol=0.1)
        assert there_values.argmax() == here_values.argmax()
    assert [reply.text for reply in got[3:]] == [reply.text for reply in wanted[3:]]
    (structured,) = there.ask(
        [GenerateRequest("j", chats[0], Sampling(0.0, max_tokens=40), 0, SCHEMA)]
    )
    assert (structured.error, list(json.loads(structured.text))) == ("", ["city"])


def test_schema_seed_stop_and_a_prompt_beyond_the_context(there: ServerTeacher):
    hot = Sampling(temperature=1.0, max_tokens=12, stop=("Topic",))
    schema, long, last = there.ask(
        [
            GenerateRequest("j", "A city as JSON: ", Sampling(0.0, max_tokens=40), 0, SCHEMA),
            GenerateRequest("l", "word " * 1500, GREEDY),
            GenerateRequest("g", f"{SHOTS}Text:", hot, seed=3),
        ]
    )
    assert (schema.error, list(json.loads(schema.text))) == ("", ["city"])
    assert "1501 tokens" in long.error
    assert "1024 tokens" in long.error
    assert "Topic" not in last.text
    again, other = (
        there.ask([GenerateRequest("g", f"{SHOTS}Text:", hot, seed=seed)])[0].text
        for seed in (3, 4)
    )
    assert again == last.text != other


def test_two_servers_share_a_batch_in_which_one_is_killed(
    there: ServerTeacher, server: str, model: Path, small_data: Path
):
    texts = [row["text"] for row in lines(small_data / "test.jsonl")][::4]
    choices = tuple(ids[0] for ids in there.tokenize(TOPICS))
    requests = [ScoreRequest(text, f"{SHOTS}Text: {text}\nTopic:", choices) for text in texts]
    wanted = {reply.id: softmax(reply.logprobs) for reply in there.ask(requests)}
    arrived: list[str] = []
    with contextlib.ExitStack() as second:
        other = second.enter_context(llama_server(model, model.with_name("other.log")))
        # A server that is gone is not back within this test.
        addresses = [f"{server}/v1", f"{other}/v1"]
        fleet = ServerTeacher(addresses, "any-name", concurrency=2, timeout=60, backoff=10)

        def keep(reply: Reply) -> None:
            arrived.append(reply.id)
            if len(arrived) == len(texts) // 2:
                second.close()

        replies = fleet.ask(requests, keep)
        fleet.close()
    assert [reply.error for reply in replies] == [""] * len(texts)
    for reply in replies:
        assert np.allclose(softmax(reply.logprobs), wanted[reply.id], atol=0.02)
    (killed,) = [note for note in fleet.notes if note.startswith(f"{other}: ")]
    assert "left out at" in killed
    assert "to the end" in killed


def test_doctor_plan_and_whole_runs_through_the_server(
    tutelage: Command,
    server: str,
    embedded_teacher: str,
    student: Path,
    small_data: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_report: None,
):
    through = ["teacher=server", f"teacher.url={server}/v1", "teacher.model=any-name"]
    with monkeypatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(Path(embedded_teacher).parents[1]))
        asked = tutelage("doctor", *through)
    assert asked.code == 0, asked.out
    parts = [
        "data=files",
        f"data.path={small_data}",
        f"student.model={student}",
        "student.max_length=32",
        "trainer.accelerator=cpu",
        "threads=1",
        "training.start_epochs=1",
        "prompt=completion",  # better for a very small model
    ]
    pool = ["method=full_pool", "method.pool_size=14", "evaluate.teacher=true"]
    planned = tutelage("plan", *through, *parts, *pool)
    assert planned.code == 0, planned.err
    assert "14 labelling" in planned.out

    def train(name: str, *overrides: str) -> Path:
        ended = tutelage("train", f"hydra.run.dir={workplace / name}", *through, *parts, *overrides)
        assert ended.code == 0, ended.err
        return workplace / name

    # Labels of a pool and of the whole test set. The plan has asked for the pool's already.
    labelled = train("labelled", *pool)
    result = json.loads((labelled / "result.json").read_text())
    assert result["requests"] == {"all": 14, "cached": 14, "failed": 0}
    assert result["rows"] == {"accepted": 14, "rejected": 0}
    assert result["tokens"]["billed"] > 14 * 50
    assert result["teacher"]["failed"] == 0
    assert result["teacher"]["tokens"] > 42 * 50
    assert result["teacher"]["accuracy"] > 0.5, "chance is 0.14"
    # Analysis, texts and labels of one round.
    grown = train(
        "grown", "method.rounds=1", "method.n_hard=7", "method.n_easy=7", "training.round_epochs=1"
    )
    result = json.loads((grown / "result.json").read_text())
    growth = json.loads((grown / "growth" / "round-001.json").read_text())
    assert growth["analysis"]
    assert growth["asked"] == growth["answered"] == result["requests"]["all"] > 14
    assert growth["failed"] == result["requests"]["failed"] == 0
    assert result["rows"]["accepted"] > 7, "more than the shots"
    assert result["tokens"]["spent"] == result["tokens"]["billed"] > 0
