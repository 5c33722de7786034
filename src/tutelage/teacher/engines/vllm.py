"""vLLM in a child process, started on demand and ended with the run.

The engine starts at the first request to reach it, so a run answered from the cache never loads a
model. Replies stream back as they finish. The process is started by exec (never by fork), so it
inherits no CUDA context, threads or locks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher import structured
from tutelage.teacher.base import (
    GenerateRequest,
    OnReply,
    Prompt,
    Reply,
    Request,
    request_to_dict,
)
from tutelage.teacher.chat import render_ids
from tutelage.teacher.engines.engine_settings import (
    checked_engine,
    lora_arguments,
    lora_identity,
    resolve_lora,
)
from tutelage.teacher.engines.hardware import (
    Hardware,
    child_environment,
    chosen_gpus,
    resolve_dtype,
    vllm_hardware,
)
from tutelage.teacher.engines.int8 import RECIPE, choose_quantization, ensure_int8, int8_path
from tutelage.teacher.engines.link import EngineLink
from tutelage.teacher.engines.model_files import (
    fingerprint_of,
    is_local,
    load_tokenizer,
    model_identity,
    resolve_model,
    suits_chat,
    token_ids,
)
from tutelage.teacher.engines.process import EngineProcess
from tutelage.teacher.engines.shared import SharedEngine, shared_address
from tutelage.teacher.marks import stopped
from tutelage.teacher.replies import ReplyCollector

_LOG = logging.getLogger(__name__)
_LIFECYCLES = ("resident", "sleep", "restart")
_MAX_CHOICES = 128
_AT_ONCE = 1_024
"""Requests of a message to the engine's process, unless it takes more at once."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Resident memory of the teacher's process around a hand-over.

    Attributes:
        lifecycle: The configured lifecycle.
        before: Bytes before the hand-over; 0 if no engine was running.
        after: Bytes after the hand-over.
    """

    lifecycle: str
    before: int
    after: int


class VllmTeacher:
    """vLLM in a child process, on a CPU or GPU as found.

    Args:
        model: Folder of a Hugging Face model, a hub id, "embedded" for the embedded
            SmolLM2-135M-Instruct, or a larger teacher that ``tutelage assets NAME`` fetched:
            "qwen2.5-coder-0.5b" or "qwen2.5-coder-1.5b".
        dtype: Number type of weights and activations. "auto" is float32 on a CPU, and bfloat16
            (float16 on older devices) on a GPU; see
            :func:`tutelage.teacher.engines.hardware.resolve_dtype`.
        max_model_len: Longest prompt and completion together, in tokens. Longer prompts are refused
            one by one.
        kv_cache_gb: Size of the key-value cache on a CPU, in GiB. Ignored on a GPU.
        gpu_memory_utilization: Share of the GPU's memory to reserve, in (0, 1]. Ignored on a CPU.
        seed: Seed of the engine. Sampling does not depend on it, because every request has a seed.
        start_timeout: Longest wait until the engine is ready, in seconds.
        reply_timeout: Longest wait without any reply, in seconds. After that the engine is ended.
        chunk_size: Largest number of requests inside the engine at once; at least 1.
        trust_remote_code: Whether to run code shipped with the model.
        revision: Hub revision (branch, tag or commit); "" is the main branch.
        log_path: File to append the process's output to; None uses a temporary file.
        lifecycle: The engine while the student trains (see :meth:`hand_over`): "resident" keeps it
            as it is, "sleep" puts it to sleep (GPU only), and "restart" ends its process until the
            next request.
        engine: Further arguments of ``vllm.LLM``, by vLLM's own names, such as
            ``teacher.engine.tensor_parallel_size=2`` or ``teacher.engine.max_num_seqs=64``. Each
            belongs to the identity of the cache. An argument that another setting has is an error.
        lora: Folder of a LoRA adapter for the model, as peft saves it; None for the bare model.
        devices: GPUs of the engine, by number or UUID: 0, "0,1" or [0, 1]. Numbers count the GPUs
            that the run sees, from 0, as in ``trainer.devices``. None lets vLLM choose.
        threads: Threads of the engine on a CPU; 0 for one on every available core.
        quantization: Weights of the linear layers on a CPU. "int8" uses a copy with 8-bit integers,
            made once and kept in the cache; activations are rounded to 8 bits, too. "auto" is int8
            for a dense model in a folder with at least 300 million such weights, on a CPU with
            AVX-512 VNNI, and "none" otherwise. "none" keeps the model's own numbers.

    Raises:
        ConfigError: The lifecycle is unknown or is "sleep" on a CPU, ``chunk_size`` is below 1,
            ``threads`` is below 0, vLLM does not know an argument of ``engine``, ``devices``
            names no GPUs of this machine, or int8 is asked for where it cannot run.
        TeacherError: vLLM is not installed, ``model`` is a path without a model, ``lora`` is no
            adapter, or ``model`` cannot be quantised.
    """

    runs_engine_process = True
    """Marks an engine in a process of its own, which many runs can share."""
    child_module = "tutelage.teacher.engines.vllm_child"
    """Python module to run in the engine's process."""

    def __init__(
        self,
        model: str,
        *,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        max_model_len: int = 2048,
        kv_cache_gb: float = 2.0,
        gpu_memory_utilization: float = 0.5,
        seed: int = 0,
        start_timeout: float = 300.0,
        reply_timeout: float = 300.0,
        chunk_size: int = 256,
        trust_remote_code: bool = False,
        revision: str = "",
        log_path: Path | None = None,
        lifecycle: Literal["resident", "sleep", "restart"] = "resident",
        engine: Mapping[str, Any] | None = None,
        lora: str | None = None,
        devices: int | str | Sequence[int | str] | None = None,
        threads: int = 0,
        quantization: Literal["auto", "none", "int8"] = "auto",
    ) -> None:
        # Check everything that needs no engine, so that mistakes surface before any loading.
        if lifecycle not in _LIFECYCLES:
            raise ConfigError(did_you_mean("teacher.lifecycle", lifecycle, _LIFECYCLES))
        if chunk_size < 1:
            raise ConfigError(f"teacher.chunk_size is {chunk_size}; it must be at least 1.")
        if threads < 0:
            raise ConfigError(f"teacher.threads is {threads}; it must be 0 (every core) or more.")
        self._hardware, self._version = vllm_hardware(devices)
        if lifecycle == "sleep" and self._hardware.device == "cpu":
            raise ConfigError(
                "teacher.lifecycle=sleep needs a GPU, because vLLM cannot sleep on a CPU. Use "
                "resident or restart."
            )
        self._engine = checked_engine(engine or {}, self._hardware)
        # As given: a host that runs the engine counts the GPUs that it sees itself.
        self._devices = [] if devices is None else list(chosen_gpus(devices, {}))
        self._threads = threads
        self._model = resolve_model(model)
        self._lora = resolve_lora(lora, self._model) if lora else ""
        self._dtype = resolve_dtype(dtype, self._hardware)
        self._quantization = choose_quantization(
            quantization,
            self._model,
            self._hardware,
            engine_quantises=bool(self._lora or "quantization" in self._engine),
        )
        self._max_model_len = max_model_len
        self._kv_cache_gb = kv_cache_gb
        self._gpu_memory_utilization = gpu_memory_utilization
        self._seed = seed
        self._start_timeout = start_timeout
        self._reply_timeout = reply_timeout
        self._chunk_size = chunk_size
        self._trust_remote_code = trust_remote_code
        self._revision = revision
        self._log_path = log_path
        self._lifecycle = lifecycle
        # State of the engine, which starts at the first request.
        self._fingerprint = ""
        self._tokenizer: Any = None
        self._process: EngineLink | None = None
        self._asleep = False
        self._closed = False
        self._batch = 0
        self._lock = threading.RLock()

    @property
    def fingerprint(self) -> str:
        """Identifies the model's content, vLLM's version, device, number type and context length.

        Reading it does not start the engine.
        """
        if not self._fingerprint:
            self._fingerprint = fingerprint_of(
                "vllm",
                model=model_identity(self._model, self._revision),
                version=self._version,
                device=self._hardware.device,
                dtype=self._dtype,
                max_model_len=self._max_model_len,
                # Left out where they are not set, so that earlier caches stay valid.
                **({"arguments": self._engine} if self._engine else {}),
                **({"lora": lora_identity(self._lora)} if self._lora else {}),
                **({"quantization": f"int8-{RECIPE}"} if self._quantization == "int8" else {}),
            )
        return self._fingerprint

    @property
    def hardware(self) -> Hardware:
        """The hardware of the engine."""
        return self._hardware

    @property
    def number_type(self) -> str:
        """The numbers that the engine computes with, in words."""
        if self._quantization == "int8":
            return f"int8 in the linear layers, {self._dtype} between them"
        return self._dtype

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for the manifest and the report where the weights are not the model's own."""
        if self._quantization == "none":
            return ()
        return (
            f"The teacher computed with {self.number_type}; teacher.quantization=none keeps the "
            "model's own numbers.",
        )

    @property
    def pid(self) -> int | None:
        """Process id of the engine; None while none is running."""
        return self._process.pid if self._process is not None else None

    @property
    def speaks_chat(self) -> bool:
        """Whether the model is better asked in messages than by a text to continue."""
        with self._lock:
            return suits_chat(self._model, self._own_tokenizer())

    @property
    def context_length(self) -> int:
        """Longest prompt and completion together, in tokens."""
        return self._max_model_len

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the token ids of each text, without special tokens and without the engine."""
        with self._lock:
            return token_ids(self._own_tokenizer(), texts)

    def _own_tokenizer(self) -> Any:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(
                self._model, self._revision, trust_remote_code=self._trust_remote_code
            )
        return self._tokenizer

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order, and starts the engine if necessary.

        Threads take turns. Requests enter the engine sorted by prompt, so that shared prefixes are
        computed once.

        Raises:
            TeacherError: The engine did not start, died, or stopped answering. Earlier replies have
                been passed to ``on_reply``.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        with self._lock:
            if self._closed:
                raise TeacherError("the teacher was asked after it was closed; build a new one.")
            if not requests:
                return []
            sent = self._split_off_refused(requests, collector.keep)
            if sent:
                self._exchange(sent, collector.keep)
            return collector.in_order()

    def hand_over(self) -> HandOver:
        """Frees memory according to ``lifecycle``, and logs the process's resident memory.

        Returns:
            The lifecycle, and the resident memory before and after.

        Raises:
            TeacherError: The engine died or stopped answering.
        """
        with self._lock:
            before = self._process.resident_bytes() if self._process else 0
            if self._lifecycle == "restart":
                self._end()
            elif self._lifecycle == "sleep" and self.pid is not None and not self._asleep:
                self._command("sleep", "slept")
                self._asleep = True
            done = HandOver(
                self._lifecycle, before, (self._process.resident_bytes() if self._process else 0)
            )
        _LOG.info(
            "teacher hand-over (%s): %.2f GB before, %.2f GB after",
            done.lifecycle,
            done.before / 2**30,
            done.after / 2**30,
        )
        return done

    def close(self) -> None:
        """Ends the engine's process, by force if necessary. Closing twice is allowed."""
        with self._lock:
            self._end()
            self._closed = True

    def _split_off_refused(
        self, requests: Sequence[Request], keep: Callable[[Reply], None]
    ) -> list[Request]:
        """Refuses invalid requests without the engine, and returns the others sorted by prompt."""
        sent: list[Request] = []
        for request in requests:
            if (
                not isinstance(request, GenerateRequest)
                and not 1 <= len(request.choices) <= _MAX_CHOICES
            ):
                keep(
                    Reply(
                        request.id,
                        error=(
                            f"a score takes 1 to {_MAX_CHOICES} choices, this one has "
                            f"{len(request.choices)}"
                        ),
                    )
                )
            else:
                sent.append(request)
        return sorted(sent, key=lambda request: str(request.prompt))

    def _exchange(self, requests: list[Request], keep: Callable[[Reply], None]) -> None:
        # The batch goes over in pieces, so that no message grows with it and the engine begins at
        # once. A piece is a window or more, and the next one follows while one is still unanswered,
        # so the child keeps its engine's window full by itself.
        process = self._running()
        self._batch += 1
        piece = max(_AT_ONCE, self._chunk_size)
        sent = answered = 0
        try:
            while answered < len(requests):
                progress = f"{answered} of {len(requests)} requests were answered"
                if sent < len(requests) and sent - answered <= piece:
                    last = min(sent + piece, len(requests))
                    process.send(
                        {
                            "op": "ask",
                            "batch": self._batch,
                            "requests": [
                                self._as_message(index, requests[index])
                                for index in range(sent, last)
                            ],
                            "more": last < len(requests),
                        },
                        progress if sent else "before the batch",
                    )
                    sent = last
                    continue
                message = process.receive(self._reply_timeout, progress)
                # Late replies of an earlier, interrupted batch are ignored.
                if message["op"] == "reply" and message["batch"] == self._batch:
                    answered += 1
                    keep(_to_reply(requests[message["index"]], message))
        finally:
            # After Ctrl-C or an error in on_reply, nobody waits for the requests in the engine.
            if answered < len(requests) and process.pid is not None:
                with contextlib.suppress(TeacherError):
                    process.send({"op": "abort"})

    def _as_message(self, index: int, request: Request) -> dict[str, Any]:
        return {"index": index, **request_to_dict(request), **self._rendered(request)}

    def _rendered(self, request: Request) -> dict[str, Any]:
        """Returns the token ids of a chat; the engine's process tokenises a text by itself."""
        if isinstance(request.prompt, str):
            return {}
        rendered: dict[str, Any] = {
            "prompt": "",
            "ids": render_ids(self._own_tokenizer(), request.prompt),
        }
        if isinstance(request, GenerateRequest):
            rendered["sampling"] = asdict(request.granted)
        return rendered

    def _running(self) -> EngineLink:
        """Returns the engine's process, after starting or waking it if necessary."""
        if self._process is None or self._process.pid is None:
            self._end()
            # A shared host if the environment names one, and otherwise a child of this process.
            started = time.monotonic()
            start = self._start_message()
            if host := shared_address():
                self._process = SharedEngine(
                    host, start, name=self._model, start_timeout=self._start_timeout
                )
            else:
                self._process = EngineProcess(
                    start,
                    environment=child_environment(
                        self._hardware, offline=is_local(self._model), threads=self._threads
                    ),
                    name=self._model,
                    start_timeout=self._start_timeout,
                    log_path=self._log_path,
                    module=self.child_module,
                )
            _LOG.info(
                "teacher %s is ready after %.1f s (process %s)",
                self._model,
                time.monotonic() - started,
                self._process.pid,
            )
        if self._asleep:
            self._command("wake", "woke")
            self._asleep = False
        return self._process

    def _command(self, operation: str, answer: str) -> None:
        assert self._process is not None
        self._process.send({"op": operation}, f"before {operation}")
        while self._process.receive(self._reply_timeout, f"during {operation}")["op"] != answer:
            continue

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None
        self._asleep = False

    def _start_message(self) -> dict[str, Any]:
        """Returns the first message to the engine's process, or to the host that starts it."""
        if self._quantization == "int8":
            ensure_int8(self._model)
        return {
            "op": "start",
            "engine": self.engine_arguments(),
            "window": self._chunk_size,
            "lora": self._lora,
            "devices": self._devices,
            "threads": self._threads,
        }

    def engine_arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of ``vllm.LLM``."""
        int8 = self._quantization == "int8"
        arguments: dict[str, Any] = {
            "model": str(int8_path(self._model)) if int8 else self._model,
            "dtype": self._dtype,
            "max_model_len": self._max_model_len,
            "seed": self._seed,
            "enable_prefix_caching": True,
            "trust_remote_code": self._trust_remote_code,
            "revision": self._revision or None,
            "disable_log_stats": True,
        }
        if self._hardware.device == "cpu":
            # The default block of 128 tokens never caches a short shared prefix, and vLLM refuses
            # blocks of 16 on a CPU.
            arguments |= {
                "enforce_eager": True,
                "block_size": 32,
                "kv_cache_memory_bytes": int(self._kv_cache_gb * 2**30),
            }
            # vLLM 0.32 rewinds the generator of a seeded request if its prompt is split over two
            # steps. A CPU generator cannot be rewound, so a split prompt would kill the engine.
            arguments |= {
                "enable_chunked_prefill": False,
                "max_num_batched_tokens": max(4096, self._max_model_len),
            }
        else:
            # Sleep mode needs a special allocator, so it is enabled only on demand.
            arguments |= {
                "gpu_memory_utilization": self._gpu_memory_utilization,
                "enable_sleep_mode": self._lifecycle == "sleep",
            }
        if self._lora:
            arguments |= lora_arguments(self._lora)
        return arguments | self._engine


def _to_reply(request: Request, message: dict[str, Any]) -> Reply:
    error, text = str(message["error"]), message["text"]
    if isinstance(request, GenerateRequest) and request.granted != request.sampling:
        text = stopped(text, request.sampling.stop)
    if not error and isinstance(request, GenerateRequest) and request.json_schema:
        text, mismatch = structured.completed(text, message["finish_reason"], request.json_schema)
        if mismatch:
            error = (
                f"the reply {mismatch}; it ended by {message['finish_reason']!r} (by 'length': "
                "raise max_tokens)"
            )
    return Reply(
        id=request.id,
        text=text,
        logprobs=tuple(message["logprobs"]),
        prompt_tokens=message["prompt_tokens"],
        completion_tokens=message["completion_tokens"],
        finish_reason=message["finish_reason"],
        error=error,
    )
