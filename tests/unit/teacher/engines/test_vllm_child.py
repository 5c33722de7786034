"""The loop around vLLM, up to the point where it needs one."""

from __future__ import annotations

import queue
import socket
import threading
from types import SimpleNamespace
from typing import Any

from tutelage.teacher.engines.channel import Channel
from tutelage.teacher.engines.vllm_child import EngineLoop


class Tokenizer:
    """Takes no half of a surrogate pair, as the fast tokenizers of transformers."""

    def __call__(self, prompts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [list(prompt.encode()) for prompt in prompts]}


def test_a_prompt_that_no_tokenizer_takes_fails_alone() -> None:
    ours, theirs = socket.socketpair()
    config = SimpleNamespace(max_model_len=4, get_vocab_size=lambda: 10)
    llm: Any = SimpleNamespace(
        llm_engine=SimpleNamespace(model_config=config), get_tokenizer=Tokenizer
    )
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    prompts = ["too long", "\ud83d", "", "bad"]
    requests = [
        {"index": index, "kind": "score", "prompt": prompt, "choices": [99]}
        for index, prompt in enumerate(prompts)
    ]
    messages.put({"op": "ask", "batch": 7, "requests": requests})
    parent, child = Channel(ours), Channel(theirs)
    loop = EngineLoop(child, messages, llm, 2)
    try:
        loop._obey(messages.get())
        messages.put({"op": "close"})
        for request in list(loop._waiting):
            loop._admit(request)
        replies = [parent.receive(5) or {} for _ in prompts]
    finally:
        parent.close()
        child.close()
    said = {reply["index"]: reply["error"] for reply in replies}
    assert "the prompt has 8 tokens, the engine takes 3" in said[0]
    assert "the prompt has no tokens: 'utf-8' codec can't encode" in said[1]
    assert "the prompt is empty" in said[2]
    assert "choice 99 is no token id" in said[3]


def test_a_batch_is_done_after_its_last_piece() -> None:
    ours, theirs = socket.socketpair()
    config = SimpleNamespace(max_model_len=4, get_vocab_size=lambda: 10)
    llm: Any = SimpleNamespace(
        llm_engine=SimpleNamespace(model_config=config), get_tokenizer=Tokenizer
    )
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    parent, child = Channel(ours), Channel(theirs)
    loop = threading.Thread(target=EngineLoop(child, messages, llm, 2).run)
    loop.start()
    try:
        said = []
        for index, more in ((0, True), (1, False)):
            request = {"index": index, "kind": "score", "prompt": "too long", "choices": [9]}
            messages.put({"op": "ask", "batch": 1, "requests": [request], "more": more})
            said.append(parent.receive(5) or {})
        said.append(parent.receive(5) or {})
    finally:
        messages.put({"op": "close"})
        loop.join(5)
        parent.close()
        child.close()
    assert [one["op"] for one in said] == ["reply", "reply", "done"]
    assert [one["index"] for one in said[:2]] == [0, 1]
