"""Transformers in the run's own process: slow and simple, for machines without vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher.base import (
    GenerateRequest,
    OnReply,
    Prompt,
    Reply,
    Request,
    ScoreRequest,
)
from tutelage.teacher.chat import render_ids
from tutelage.teacher.engines.model_files import (
    fingerprint_of,
    is_local,
    load_tokenizer,
    model_identity,
    resolve_model,
    suits_chat,
    token_ids,
)
from tutelage.teacher.replies import ReplyCollector
from tutelage.teacher.sampling import Continuation

_Item = TypeVar("_Item")
_DTYPES = ("float32", "bfloat16", "float16")


class LocalTeacher:
    """A causal language model of transformers, in the run's own process.

    Each request samples from a generator of its own, so its text does not depend on the rest of its
    batch, except for rounding: batches are padded, and sums of different widths can differ in the
    last bit. The global random state stays untouched. JSON schemas are not enforced while writing;
    a reply that does not fit is returned with an error.

    Args:
        model: Folder of a Hugging Face model, a hub id, or "embedded" for the embedded
            SmolLM2-135M-Instruct. It is loaded at the first request.
        dtype: Number type of weights and activations; "auto" is float32.
        batch_size: Prompts per forward pass; at least 1.
        device: Torch device ("cpu", "cuda", "cuda:1"). "auto" uses a GPU if there is one.
        max_model_len: Longest prompt and completion together, in tokens. Longer prompts are refused
            one by one, and completions end there. A model with a shorter context sets a lower
            limit.
        revision: Hub revision (branch, tag or commit); "" is the main branch.
        trust_remote_code: Whether to run code shipped with the model.

    Raises:
        ConfigError: The number type is unknown, or ``batch_size`` is below 1.
        TeacherError: ``model`` is a path without a model.
    """

    def __init__(
        self,
        model: str,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32",
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
            raise ConfigError(f"teacher.batch_size is {batch_size}; it must be at least 1.")
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
        """Identifies the model's content, number type and context length.

        Reading it does not load the model.
        """
        if not self._fingerprint:
            identity = model_identity(self._model_name, self._revision)
            self._fingerprint = fingerprint_of(
                "local", model=identity, dtype=self._dtype, max_model_len=self._limit
            )
        return self._fingerprint

    @property
    def speaks_chat(self) -> bool:
        """Whether the model is better asked in messages than by a text to continue."""
        return suits_chat(self._model_name, self._load_tokenizer())

    @property
    def context_length(self) -> int:
        """Longest prompt and completion together, in tokens."""
        return self._limit

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the token ids of each text, without special tokens."""
        return token_ids(self._load_tokenizer(), texts)

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order, and loads the model if necessary.

        Raises:
            TeacherError: The model cannot be loaded, or the teacher is closed.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        if self._closed:
            raise TeacherError("the teacher was asked after it was closed; build a new one.")
        if not requests:
            return []
        # Tokenise all prompts; their lengths decide about refusals and batches.
        model = self._load()
        prompts = self._prompt_ids(requests)
        # Refuse requests that do not fit, and separate scores from generations.
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
        # Batches hold prompts of similar length, to keep padding short.
        for batch in _batches(
            sorted(scores, key=lambda request: len(prompts[request.id])), self._batch_size
        ):
            for reply in self._score(batch, [prompts[request.id] for request in batch]):
                collector.keep(reply)
        for group in _batches(
            sorted(texts, key=lambda request: len(prompts[request.id])), self._batch_size
        ):
            for reply in self._generate(group, [prompts[request.id] for request in group]):
                collector.keep(reply)
        return collector.in_order()

    def close(self) -> None:
        """Frees the model. Closing twice is allowed."""
        self._model = None
        self._closed = True

    def _refusal(self, request: Request, length: int, vocabulary: int) -> str:
        if length == 0:
            return "the prompt is empty"
        if length + 1 > self._limit:
            return (
                f"the prompt has {length} tokens, the engine takes {self._limit - 1}; shorten the "
                "prompt or raise teacher.max_model_len"
            )
        if isinstance(request, ScoreRequest):
            if not 1 <= len(request.choices) <= 128:
                return f"a score takes 1 to 128 choices, this one has {len(request.choices)}"
            if wrong := [token for token in request.choices if not 0 <= token < vocabulary]:
                return (
                    f"choice {wrong[0]} is no token id of this model, whose vocabulary has "
                    f"{vocabulary}"
                )
        return ""

    def _prompt_ids(self, requests: Sequence[Request]) -> dict[str, list[int]]:
        """Returns the token ids of each prompt by the request's id, texts in one call."""
        texts = {one.id: one.prompt for one in requests if isinstance(one.prompt, str)}
        rows = self._tokenizer(list(texts.values()))["input_ids"] if texts else []
        return {
            **dict(zip(texts, map(list, rows), strict=True)),
            **{
                one.id: render_ids(self._tokenizer, one.prompt)
                for one in requests
                if not isinstance(one.prompt, str)
            },
        }

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

        # Choose the device, and load the weights onto it.
        self._load_tokenizer()
        device = (
            ("cuda" if torch.cuda.is_available() else "cpu")
            if self._device == "auto"
            else self._device
        )
        shown = logging.is_progress_bar_enabled()
        # A second progress bar would garble the run's progress display.
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
                f"transformers cannot load {self._model_name} on {device}: "
                f"{str(error).strip()[:400]}. Check the folder or the hub id. If memory is short, "
                "use a smaller model."
            ) from error
        finally:
            if shown:
                logging.enable_progress_bar()
        # Positions beyond the model's own context would be meaningless.
        self._limit = min(
            self._limit, int(getattr(self._model.config, "max_position_embeddings", self._limit))
        )
        return self._model

    def _padded(self, prompts: list[list[int]]) -> tuple[Any, Any, Any]:
        """Returns left-padded token ids, attention mask and positions, each [batch, longest]."""
        import torch

        # Padding on the left keeps every last prompt token in the last column.
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
        continuations = [
            Continuation(request, len(prompt), self._tokenizer, self._ends(), self._limit)
            for request, prompt in pairs
        ]
        ids, mask, positions = self._padded(prompts)
        past = None
        # The prompts first, then one token per sequence and pass. Ended sequences stay in the batch
        # with token 0 until the last one ends.
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
                tokens = [
                    continuation.step(row)
                    for continuation, row in zip(
                        continuations, made.logits[:, -1].float().cpu(), strict=True
                    )
                ]
                if all(continuation.finish for continuation in continuations):
                    break
                # Feed the new tokens alone; the cache holds everything before them.
                ids = torch.tensor(tokens, device=ids.device).unsqueeze(1)
                mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
                positions = positions[:, -1:] + 1
        return [continuation.reply() for continuation in continuations]

    def _ends(self) -> frozenset[int]:
        # Instruct models often have several end tokens, listed in the generation config alone.
        ends = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._model.config.eos_token_id
        return frozenset([ends] if isinstance(ends, int) else ends or ())


def _batches(items: Sequence[_Item], size: int) -> list[list[_Item]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
