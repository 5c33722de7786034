"""Transformers in this process: for laptops, and wherever vLLM does not run. Slow and simple."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher.base import GenerateRequest, OnReply, Reply, Request, ScoreRequest
from tutelage.teacher.engines.model_files import (
    fingerprint_of,
    is_local,
    load_tokenizer,
    model_identity,
    resolve_model,
    token_ids,
)
from tutelage.teacher.replies import ReplyCollector
from tutelage.teacher.sampling import Draw

_Item = TypeVar("_Item")
_DTYPES = ("float32", "bfloat16", "float16")


class LocalTeacher:
    """A causal language model of transformers behind the teacher protocol.

    Each request draws from a generator of its own, so its text does not depend on its batch, but for rounding: batches are padded,
    and a sum of other width may differ in its last bit. The global random state is left alone. A JSON schema is not enforced while
    writing; a reply that does not fit comes back with its error.

    Args:
        model: a folder, a hub id, or "embedded"; loaded at the first request.
        dtype: "float32", "bfloat16" or "float16".
        batch_size: prompts a forward pass.
        device: "auto" takes a GPU when there is one.
        max_model_len: prompt and completion together, in tokens.
        revision: the hub revision; "" is the newest.
        trust_remote_code: run code that comes with the model.
    """

    def __init__(
        self,
        model: str,
        dtype: str = "float32",
        batch_size: int = 8,
        device: str = "auto",
        *,
        max_model_len: int = 2048,
        revision: str = "",
        trust_remote_code: bool = False,
    ) -> None:
        dtype = "float32" if dtype == "auto" else dtype
        if dtype not in _DTYPES:
            raise ConfigError(did_you_mean("teacher.dtype", dtype, _DTYPES))
        if batch_size < 1:
            raise ConfigError(f"teacher.batch_size is {batch_size}; it must be at least 1")
        self._model_name = resolve_model(model)
        self._dtype = dtype
        self._batch_size = batch_size
        self._device = device
        self._limit = max_model_len
        self._revision = revision
        self._trust_remote_code = trust_remote_code
        self._fingerprint = ""
        self._tokenizer: Any = None
        self._model: Any = None
        self._closed = False

    @property
    def fingerprint(self) -> str:
        """Names the model's content, number type and context length. Loads nothing."""
        if not self._fingerprint:
            identity = model_identity(self._model_name, self._revision)
            self._fingerprint = fingerprint_of(
                "local", model=identity, dtype=self._dtype, max_model_len=self._limit
            )
        return self._fingerprint

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with no special tokens added."""
        return token_ids(self._load_tokenizer(), texts)

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order.

        Raises:
            TeacherError: the model cannot be loaded or run.
            ValueError: an id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        if self._closed:
            raise TeacherError("the teacher was closed and asked again; build a new one.")
        if not requests:
            return []
        model = self._load()
        prompts: dict[str, list[int]] = dict(
            zip(
                (request.id for request in requests),
                self._tokenizer([request.prompt for request in requests])["input_ids"],
                strict=True,
            )
        )
        scores: list[ScoreRequest] = []
        texts: list[GenerateRequest] = []
        for request in requests:
            if error := self._refusal(
                request, len(prompts[request.id]), int(model.config.vocab_size)
            ):
                collector.keep(Reply(request.id, error=error))
            elif isinstance(request, ScoreRequest):
                scores.append(request)
            else:
                texts.append(request)
        # Prompts of like length meet, so that little is padded.
        for some in _batches(
            sorted(scores, key=lambda request: len(prompts[request.id])), self._batch_size
        ):
            for reply in self._score(some, [prompts[request.id] for request in some]):
                collector.keep(reply)
        for group in _batches(
            sorted(texts, key=lambda request: len(prompts[request.id])), self._batch_size
        ):
            for reply in self._generate(group, [prompts[request.id] for request in group]):
                collector.keep(reply)
        return collector.in_order()

    def close(self) -> None:
        """Free the model; twice is not an error."""
        self._model = None
        self._closed = True

    def _refusal(self, request: Request, length: int, vocabulary: int) -> str:
        if length == 0:
            return "the prompt is empty"
        if length + 1 > self._limit:
            return f"the prompt has {length} tokens, the engine takes {self._limit - 1}; shorten the prompt or raise teacher.max_model_len"
        if isinstance(request, ScoreRequest):
            if not 1 <= len(request.choices) <= 128:
                return f"a score takes 1 to 128 choices, this one has {len(request.choices)}"
            if wrong := [token for token in request.choices if not 0 <= token < vocabulary]:
                return f"choice {wrong[0]} is no token id of this model, whose vocabulary has {vocabulary}"
        return ""

    def _load_tokenizer(self) -> Any:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(
                self._model_name, self._revision, trust_remote_code=self._trust_remote_code
            )
        return self._tokenizer

    def _load(self) -> Any:
        if self._model is not None:
            return self._model
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        self._load_tokenizer()
        device = (
            ("cuda" if torch.cuda.is_available() else "cpu")
            if self._device == "auto"
            else self._device
        )
        shown = logging.is_progress_bar_enabled()
        # A bar of its own would tear the run's progress display.
        logging.disable_progress_bar()
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                self._model_name,
                dtype=getattr(torch, self._dtype),
                revision=self._revision or None,
                trust_remote_code=self._trust_remote_code,
                local_files_only=is_local(self._model_name),
            )
            self._model = model.to(device).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise TeacherError(
                f"transformers cannot load {self._model_name} on {device}: {str(error).strip()[:400]}. "
                "Check the folder or the hub id; when memory is short take a smaller model."
            ) from error
        finally:
            if shown:
                logging.enable_progress_bar()
        self._limit = min(
            self._limit, int(getattr(self._model.config, "max_position_embeddings", self._limit))
        )
        return self._model

    def _padded(self, prompts: list[list[int]]) -> tuple[Any, Any, Any]:
        """Left-padded token ids, mask and positions, each [batch, longest]."""
        import torch

        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        device = self._model.device
        return ids.to(device), mask.to(device), positions.to(device)

    def _score(self, requests: list[ScoreRequest], prompts: list[list[int]]) -> list[Reply]:
        import torch

        ids, mask, positions = self._padded(prompts)
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1
            ).logits[:, -1]
            rows = torch.log_softmax(logits.float(), dim=-1).cpu()
        return [
            Reply(
                request.id,
                logprobs=tuple(row[list(request.choices)].tolist()),
                prompt_tokens=len(prompt),
                completion_tokens=1,
                finish_reason="length",
            )
            for request, prompt, row in zip(requests, prompts, rows, strict=True)
        ]

    def _generate(self, requests: list[GenerateRequest], prompts: list[list[int]]) -> list[Reply]:
        import torch

        pairs = zip(requests, prompts, strict=True)
        draws = [
            Draw(request, len(prompt), self._tokenizer, self._ends(), self._limit)
            for request, prompt in pairs
        ]
        ids, mask, positions = self._padded(prompts)
        past = None
        with torch.inference_mode():
            while True:
                made = self._model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=past,
                    use_cache=True,
                    logits_to_keep=1,
                )
                past = made.past_key_values
                nexts = [
                    draw.step(row)
                    for draw, row in zip(draws, made.logits[:, -1].float().cpu(), strict=True)
                ]
                if all(draw.finish for draw in draws):
                    break
                ids = torch.tensor(nexts, device=ids.device).unsqueeze(1)
                mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
                positions = positions[:, -1:] + 1
        return [draw.reply() for draw in draws]

    def _ends(self) -> frozenset[int]:
        ends = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._model.config.eos_token_id
        return frozenset([ends] if isinstance(ends, int) else ends or ())


def _batches(items: Sequence[_Item], size: int) -> list[list[_Item]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
