"""The child process that runs vLLM. This is the only file that imports vllm.

:mod:`tutelage.teacher.engines.vllm` starts it as::

    python -m tutelage.teacher.engines.vllm_child <file descriptor of its end of the socket pair>

Messages in: ``start`` (engine arguments), ``ask`` (a piece of a batch, and whether there is
``more`` of it to come), ``abort``, ``sleep``, ``wake`` and
``close``. Messages out: ``ready`` or ``failed``, then one ``reply`` per request as it finishes,
``done`` after a batch, ``slept``, ``woke``, and ``broken`` after an exception of the engine.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from typing import Any

from tutelage.teacher import structured
from tutelage.teacher.engines.channel import Channel, ChannelClosed

_PARENT_POLL_SECONDS = 1.0


class EngineLoop:
    """Feeds the parent's requests to the engine and sends every reply back as soon as it finishes.

    Args:
        channel: Channel to the parent, for replies.
        messages: The parent's messages, as they arrive.
        llm: The ``vllm.LLM`` to serve.
        window: Largest number of requests inside the engine at once.
        lora: The adapter of every request, as vLLM's LoRARequest; None for the bare model.
    """

    def __init__(
        self,
        channel: Channel,
        messages: queue.SimpleQueue[dict[str, Any]],
        llm: Any,
        window: int,
        lora: Any = None,
    ) -> None:
        self._channel = channel
        self._messages = messages
        self._llm = llm
        self._engine = llm.llm_engine
        self._tokenizer = llm.get_tokenizer()
        self._limit = int(llm.llm_engine.model_config.max_model_len)
        self._vocabulary = int(llm.llm_engine.model_config.get_vocab_size())
        self._window = window
        self._lora = lora
        self._waiting: collections.deque[dict[str, Any]] = collections.deque()
        self._running: dict[str, dict[str, Any]] = {}
        self._internal: dict[str, str] = {}
        self._batch = -1
        self._more = False
        self._serial = 0

    def run(self) -> None:
        """Serves requests until the message ``close``."""
        while True:
            # Messages first: an abort must not wait for the batch that it aborts.
            busy = bool(self._waiting or self._running)
            message = self._next_message(wait=not busy)
            if message is not None:
                if message["op"] == "close":
                    return
                self._obey(message)
                continue
            # Then one engine step with a full window, and the replies finished in it.
            while self._waiting and len(self._running) < self._window:
                self._admit(self._waiting.popleft())
            if self._running:
                for output in self._engine.step():
                    if output.finished:
                        self._answer(output)
            if not self._waiting and not self._running and not self._more:
                self._channel.send({"op": "done", "batch": self._batch})

    def _next_message(self, *, wait: bool) -> dict[str, Any] | None:
        if wait:
            return self._messages.get()
        try:
            return self._messages.get_nowait()
        except queue.Empty:
            return None

    def _obey(self, message: dict[str, Any]) -> None:
        if message["op"] == "ask":
            self._batch = message["batch"]
            self._more = bool(message.get("more"))
            requests = message["requests"]
            self._tokenize(requests)
            self._waiting.extend(requests)
        elif message["op"] == "abort":
            self._waiting.clear()
            self._more = False
            self._engine.abort_request(list(self._internal.values()), internal=True)
            self._running.clear()
            self._internal.clear()
            self._channel.send({"op": "done", "batch": self._batch})
        elif message["op"] == "sleep":
            self._llm.sleep(level=1)
            self._channel.send({"op": "slept"})
        elif message["op"] == "wake":
            self._llm.wake_up()
            self._channel.send({"op": "woke"})

    def _tokenize(self, requests: list[dict[str, Any]]) -> None:
        # One call of the fast tokenizer for the whole piece: it runs in parallel, and every length
        # is known before anything enters the engine. Chats come as ids.
        requests = [request for request in requests if "ids" not in request]
        if not requests:
            return
        try:
            rows = self._tokenizer([request["prompt"] for request in requests])["input_ids"]
            for request, ids in zip(requests, rows, strict=True):
                request["ids"] = list(ids)
        except Exception as error:
            # A prompt that no tokenizer takes (half of a surrogate pair) fails alone.
            if len(requests) == 1:
                requests[0] |= {"ids": [], "refused": f"the prompt has no tokens: {error}"[:400]}
                return
            for request in requests:
                self._tokenize([request])

    def _admit(self, request: dict[str, Any]) -> None:
        ids = request["ids"]
        if error := self._refusal(request):
            self._send(request, error=error)
            return
        from vllm.exceptions import VLLMClientError

        self._serial += 1
        name = str(self._serial)
        try:
            self._internal[name] = self._engine.add_request(
                name,
                {"prompt_token_ids": ids},
                self._parameters(request),
                lora_request=self._lora,
            )
        except (ValueError, TypeError, VLLMClientError) as error:
            # vLLM refuses single requests, for instance a schema with an unsupported keyword.
            self._send(request, error=f"vLLM refused the request: {str(error).strip()[:400]}")
            return
        self._running[name] = request

    def _refusal(self, request: dict[str, Any]) -> str:
        length = len(request["ids"])
        if request.get("refused"):
            return str(request["refused"])
        if length == 0:
            return "the prompt is empty; vLLM needs at least one token"
        if length + 1 > self._limit:
            return (
                f"the prompt has {length} tokens, the engine takes {self._limit - 1}; shorten the "
                "prompt or raise teacher.max_model_len"
            )
        wrong = [token for token in request.get("choices", ()) if not 0 <= token < self._vocabulary]
        if wrong:
            return (
                f"choice {wrong[0]} is no token id of this model, whose vocabulary has "
                f"{self._vocabulary}"
            )
        return ""

    def _parameters(self, request: dict[str, Any]) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        # Only finished outputs are needed; streaming every token would cost time.
        final: Any = RequestOutputKind.FINAL_ONLY
        # A score needs one token, and the log-probabilities of the choices instead of its own.
        if request["kind"] == "score":
            return SamplingParams(
                max_tokens=1,
                temperature=0.0,
                logprob_token_ids=list(request["choices"]),
                detokenize=False,
                output_kind=final,
            )
        sampling = request["sampling"]
        schema = request["json_schema"]
        return SamplingParams(
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            top_k=sampling["top_k"],
            max_tokens=sampling["max_tokens"],
            stop=list(sampling["stop"]) or None,
            seed=request["seed"] & (2**63 - 1),
            structured_outputs=StructuredOutputsParams(**structured.vllm_fields(schema))
            if schema
            else None,
            output_kind=final,
        )

    def _answer(self, output: Any) -> None:
        request = self._running.pop(output.request_id)
        self._internal.pop(output.request_id, None)
        made = output.outputs[0]
        if request["kind"] == "generate":
            self._send(
                request,
                text=made.text,
                completion=len(made.token_ids),
                finish=made.finish_reason or "",
            )
            return
        # The log-probabilities of the choices, at the single position.
        first = made.logprobs[0] if made.logprobs else {}
        missing = [token for token in request["choices"] if token not in first]
        if missing:
            self._send(request, error=f"vLLM returned no log-probability for choice {missing[0]}")
            return
        self._send(
            request,
            logprobs=[float(first[token].logprob) for token in request["choices"]],
            completion=1,
            finish="length",
        )

    def _send(
        self,
        request: dict[str, Any],
        *,
        text: str = "",
        logprobs: list[float] | None = None,
        completion: int = 0,
        finish: str = "",
        error: str = "",
    ) -> None:
        self._channel.send(
            {
                "op": "reply",
                "batch": self._batch,
                "index": request["index"],
                "text": text,
                "logprobs": logprobs or [],
                "prompt_tokens": 0 if error else len(request["ids"]),
                "completion_tokens": completion,
                "finish_reason": finish,
                "error": error,
            }
        )


def _watch(channel: Channel, messages: queue.SimpleQueue[dict[str, Any]], parent: int) -> None:
    """Reads the parent's messages, and ends this process at once if the parent is gone."""
    while True:
        try:
            message = channel.receive(_PARENT_POLL_SECONDS)
        except ChannelClosed:
            os._exit(0)
        # A forked worker of the parent may hold the other end open after the parent's death, so the
        # parent's process id is checked too.
        if message is None:
            if os.getppid() != parent:
                os._exit(0)
            continue
        messages.put(message)


def _adapter(llm: Any, folder: str) -> Any:
    """Loads a LoRA adapter, and returns the request that names it; None without a folder."""
    if not folder:
        return None
    from vllm.lora.request import LoRARequest

    request = LoRARequest("teacher", 1, folder)
    # Now, so that an adapter that does not fit fails at the start and not in the first batch.
    try:
        llm.llm_engine.add_lora(request)
    except Exception as error:
        raise ValueError(f"the LoRA adapter in {folder} cannot be loaded: {error}") from error
    return request


def _reason(error: BaseException) -> str:
    """Returns the kind and message of an error on one line, at most 1,500 characters."""
    lines = [
        line
        for line in "".join(traceback.format_exception_only(error)).splitlines()
        if line.strip()
    ]
    return (" ".join(lines) or type(error).__name__)[:1500]


def main() -> int:
    """Serves one parent until it closes the channel, and returns the exit code."""
    # Ctrl-C reaches the whole foreground group, but only the parent may end the engine.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A thread reads the channel, so that the parent's death is noticed during long steps.
    end = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(end.fileno(), False)
    channel = Channel(end)
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_watch, args=(channel, messages, os.getppid()), daemon=True).start()
    start = messages.get()
    if start["op"] == "close":
        return 0
    # Load the engine, and report a failure in its own words.
    try:
        from vllm import LLM

        llm = LLM(**start["engine"])
        lora = _adapter(llm, start.get("lora", ""))
    except BaseException as error:
        traceback.print_exc()
        with contextlib.suppress(ChannelClosed):
            channel.send({"op": "failed", "kind": type(error).__name__, "message": _reason(error)})
        return 1
    # Loading may have installed other handlers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Serve until the parent closes the channel.
    try:
        channel.send({"op": "ready"})
        EngineLoop(channel, messages, llm, start["window"], lora).run()
        llm.llm_engine.engine_core.shutdown()
    except ChannelClosed:
        return 0
    except BaseException as error:
        traceback.print_exc()
        with contextlib.suppress(ChannelClosed):
            channel.send({"op": "broken", "kind": type(error).__name__, "message": _reason(error)})
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the engine may outlive main, and nothing is left to save.
    os._exit(code)
