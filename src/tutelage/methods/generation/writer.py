"""Text generation with the teacher: a completion per text, or chats that ask for several texts.

Each text is cleaned up and checked before it becomes a candidate for the pool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tutelage.methods.base import RequestFailure
from tutelage.methods.generation.artefacts import (
    COLON,
    NO_TEXT,
    Surroundings,
    clean,
    frame_of,
    label_keys,
    strip_artefacts,
    strip_continuation,
    strip_item,
    usual_in,
)
from tutelage.methods.generation.batches import (
    Batch,
    batch_sampling,
    batches_of,
    list_of,
    list_schema,
    matched,
)
from tutelage.methods.generation.chatter import ends_open
from tutelage.methods.generation.lengths import text_lengths
from tutelage.methods.generation.mentions import find_mentions, split_spans, whole_names
from tutelage.methods.generation.specs import Candidate, GenerationSpec
from tutelage.records import Label, derive_seed
from tutelage.tasks.spans import joined, split_words
from tutelage.teacher.base import GenerateRequest, Prompt, Reply, Sampling, Teacher
from tutelage.teacher.prompts import PromptSet

_FIELD = "texts"
"""The field of a reply with several texts."""
_TURN = 8
"""Most texts of an earlier request, as a prompt shows them."""
_CUT = "cut off at max_tokens"


_STOP = re.compile(r"[.!?][\"')\]]*(?=\s|$)|[。！？][”’」』）]*")
_LETTERS = re.compile(r"\w{3}")
_CLOSING = "\"')]"


def first_sentence(text: str, start: int = 0) -> str:
    """Cuts a text after its first sentence.

    A stop ends a sentence after three or more letters, so "St." and "J." end none.

    Args:
        text: The text.
        start: Position in characters from which to search for the end.

    Returns:
        The text up to the end of the sentence; "" if there is none.
    """
    # Stops are searched, not words: a pattern that begins with the word would try every letter of a
    # long word as its beginning.
    for stop in _STOP.finditer(text, start):
        end = stop.start()
        while end > start and text[end - 1] in _CLOSING:
            end -= 1
        if end - 3 >= start and _LETTERS.match(text, end - 3):
            return text[: stop.end()]
    return ""


class Writer:
    """Generates texts with the teacher and explains why one is unusable.

    Args:
        prompts: The prompt templates.
        sampling: Sampling of a new text; its stop strings should include the line break. Chats have
            no stop strings.
        min_words: Texts with fewer words are rejected; None for the lengths of :meth:`fit`.
        max_words: Texts with more words are rejected; None for the lengths of :meth:`fit`.
        max_tokens: Room for one text, in tokens; None for the lengths of :meth:`fit`.
        texts_per_request: Most texts that a chat asks for at once, as a list in JSON; 1 asks for
            the text itself. Completions are always asked for one by one.

    Attributes:
        lengths: The lengths of new texts.

    Raises:
        ConfigError: No text can meet the limits.
    """

    def __init__(
        self,
        prompts: PromptSet,
        sampling: Sampling,
        min_words: int | None = None,
        max_words: int | None = None,
        max_tokens: int | None = None,
        texts_per_request: int = 1,
    ) -> None:
        self._prompts = prompts
        self._sampling = sampling
        self._texts_per_request = texts_per_request
        self._limits = (max_tokens, min_words, max_words)
        self.lengths = text_lengths(None, (), *self._limits)

    def fit(self, teacher: Teacher | None, examples: Sequence[str]) -> None:
        """Takes the lengths of new texts, where they are not fixed, from examples.

        Args:
            teacher: Its tokens count.
            examples: Texts such as the new ones.
        """
        self.lengths = text_lengths(teacher, examples, *self._limits)
        self._sampling = replace(self._sampling, max_tokens=self.lengths.max_tokens)

    def template(self, spec: GenerationSpec) -> str:
        """Returns the name of the prompt template of a specification."""
        return spec.template or ("paraphrase" if spec.kind == "init" else str(spec.kind))

    def prompt(self, spec: GenerationSpec) -> Prompt:
        """Renders the prompt of a single text."""
        return self._prompt(Batch((0,), (spec,)), {}, as_list=False)

    def version(self, spec: GenerationSpec) -> str:
        """Returns the hash of the prompt template of a specification."""
        return self._prompts.version(self.template(spec))

    @property
    def _writes_lists(self) -> bool:
        return self._prompts.asks_in_messages("easy") and self._texts_per_request > 1

    def batches(self, specs: Sequence[GenerationSpec]) -> list[Batch]:
        """Groups specifications into requests: one each, or in chats several."""
        most = self._texts_per_request if self._writes_lists else 1
        return batches_of(specs, most, self._sampling.max_tokens)

    def requests(
        self,
        specs: Sequence[GenerationSpec],
        seed: int,
        round: int,
        labels: Iterable[Label] = (),
    ) -> list[GenerateRequest]:
        """Builds the requests for the texts of a round.

        Args:
            specs: The specifications; the id of a request is the index of its first one.
            seed: The seed of the run. With ``round`` and that index it gives the sampling seed.
            round: The round.
            labels: All labels of the task, for the types of several names.
        """
        return self._requests(self.batches(specs), seed, round, labels)

    def write(
        self,
        teacher: Teacher,
        specs: Sequence[GenerationSpec],
        seed: int,
        round: int,
        on_reply: Callable[[Any], None] | None = None,
        labels: Iterable[Label] = (),
    ) -> list[Candidate]:
        """Generates the texts of a round.

        Args:
            teacher: The teacher.
            specs: The specifications of the texts.
            seed: The seed of the run.
            round: The round.
            on_reply: Called with each reply as it arrives.
            labels: All labels of the task: a reply may begin with any of their names, not only with
                that of the requested one.

        Returns:
            One candidate per specification, in order.
        """
        batches, known = self.batches(specs), tuple(labels)
        requests = self._requests(batches, seed, round, known)
        replies = teacher.ask(requests, on_reply)
        names = label_keys({*known, *(spec.label for spec in specs)})
        written = [
            candidate
            for batch, request, reply in zip(batches, requests, replies, strict=True)
            for candidate in self._candidates(batch, request, reply, names)
        ]
        return self._measured(teacher, sorted(written, key=lambda one: one.draw))

    def _requests(
        self, batches: Sequence[Batch], seed: int, round: int, labels: Iterable[Label]
    ) -> list[GenerateRequest]:
        by_name, as_list = {label.name: label for label in labels}, self._writes_lists
        requests = []
        for batch in batches:
            sampling, schema = self._sampling, ""
            if self._prompts.asks_in_messages(self.template(batch.specs[0])):
                sampling = replace(sampling, stop=())
            if as_list:
                sampling = batch_sampling(sampling, len(batch.specs))
                schema = list_schema(_FIELD, len(batch.specs))
            requests.append(
                GenerateRequest(
                    id=str(batch.draws[0]),
                    prompt=self._prompt(batch, by_name, as_list=as_list),
                    sampling=sampling,
                    seed=derive_seed("draw", seed, round, batch.draws[0], bits=31),
                    json_schema=schema,
                )
            )
        return requests

    def _prompt(self, batch: Batch, labels: Mapping[str, Label], *, as_list: bool) -> Prompt:
        spec = batch.specs[0]
        return self._prompts.render(
            self.template(spec),
            label=spec.label,
            demonstrations=batch.demonstrations,
            mentions=spec.mentions,
            opening=spec.opening,
            no_name=spec.no_name,
            confused_with=spec.confused_with,
            mistakes=batch.mistakes,
            turns=batch.turns(1 if not as_list else _TURN),
            analysis=spec.analysis,
            study=spec.study,
            style=spec.style,
            instruction=spec.instruction,
            length=self.lengths.wanted,
            count=len(batch.specs),
            as_list=as_list,
            items=batch.items({spec.label.name: spec.label, **labels}),
        )

    def _candidates(
        self, batch: Batch, request: GenerateRequest, reply: Reply, names: frozenset[str]
    ) -> list[Candidate]:
        """Reads the texts of a reply; without a reply, its failure is the reason of all of them."""
        around = _surroundings(batch, names, request.prompt)
        pairs = list(zip(batch.draws, batch.specs, strict=True))
        error = reply.error
        found: list[str | None] = [None] * len(pairs)
        missing = ""
        if not error and request.json_schema:
            try:
                texts = list_of(reply.text, _FIELD, request.json_schema)
            except ValueError as mismatch:
                error = f"the reply {mismatch}"
            else:
                found = matched(texts, batch.specs)
                cut = reply.finish_reason == "length"
                missing = _CUT if cut else f"the reply has {len(texts)} of {len(pairs)} texts"
        reason = RequestFailure.GENERATION.reason(error) if error else missing
        if error or request.json_schema:
            candidates = [
                Candidate(spec, "", reason, failed=bool(error), draw=draw)
                if text is None
                else self._item(draw, spec, text, around)
                for (draw, spec), text in zip(pairs, found, strict=True)
            ]
        else:
            ((draw, spec),) = pairs
            candidates = [self._candidate(draw, spec, reply, around)]
        return [candidates[0], *(replace(one, shared=True) for one in candidates[1:])]

    def _item(self, draw: int, spec: GenerationSpec, text: str, around: Surroundings) -> Candidate:
        """Reads one text of a list."""
        stripped = strip_item(text, around)
        fault = f"{NO_TEXT}{stripped.fault}" if stripped.fault else self._fault(stripped.text, "")
        candidate = Candidate(
            spec, stripped.text, fault, failed=False, draw=draw, artefacts=stripped.removed
        )
        return _with_names(candidate) if spec.mentions else candidate

    def _candidate(
        self, draw: int, spec: GenerationSpec, reply: Reply, around: Surroundings
    ) -> Candidate:
        # Clean the text. Opening and reply are joined as characters, not as words: a completion
        # going on with the last word of the name must count as another name.
        if spec.opening:
            stripped = strip_continuation(reply.text, around.usual)
            text = clean(spec.opening + stripped.text)
        else:
            stripped = strip_artefacts(reply.text, around)
            text = stripped.text

        # Keep one sentence, as in the data. Text cut off after its end is no loss.
        ended = ""
        if spec.opening:
            ended = first_sentence(text, len(spec.opening) if text.startswith(spec.opening) else 0)
        text = ended or text
        found, fault = stripped.removed, f"{NO_TEXT}{stripped.fault}" if stripped.fault else ""
        fault = fault or self._fault(text, "" if ended else reply.finish_reason)
        if spec.opening and not fault and ends_open(text) and COLON not in around.usual:
            found, fault = (*found, COLON), f"{NO_TEXT}ends with a colon"
        candidate = Candidate(spec, text, fault, failed=False, draw=draw, artefacts=found)
        return _with_names(candidate) if spec.mentions else candidate

    def _fault(self, text: str, finish_reason: str) -> str:
        if not text:
            return "empty"
        if finish_reason == "length":
            return _CUT
        return self.lengths.fault_in_words(text)

    def _measured(self, teacher: Teacher, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Gives the texts that have too few or too many tokens their reason."""
        usable = [one.draw for one in candidates if not one.reason]
        if not usable or not self.lengths.counts_tokens:
            return list(candidates)
        by_draw = {one.draw: one for one in candidates}
        for draw, ids in zip(
            usable, teacher.tokenize([by_draw[draw].text for draw in usable]), strict=True
        ):
            if fault := self.lengths.fault_in_tokens(len(ids)):
                by_draw[draw] = replace(by_draw[draw], reason=fault)
        return [by_draw[one.draw] for one in candidates]


def _surroundings(batch: Batch, names: frozenset[str], prompt: Prompt) -> Surroundings:
    shown = [one.text for one in batch.demonstrations]
    # A text may begin with a name that has a line of its own.
    lines = [*shown, *(name for spec in batch.specs for name in spec.mentions if name)]
    frame = frame_of(str(prompt), shown if isinstance(prompt, str) else lines)
    return Surroundings(names, str(prompt), frame, usual_in(shown, names))


def _with_names(candidate: Candidate) -> Candidate:
    """Locates the required names of a text; without one of them it is unusable."""
    spec, fault = candidate.spec, candidate.reason
    text = joined(candidate.text, split_words(candidate.text))
    words = text.split(" ")
    spans, missing = find_mentions(
        text, list(zip(spec.mentions, spec.types or [spec.asked], strict=False))
    )

    # Among several names only the first one is requested. Labelling decides about the others,
    # whatever their type.
    first = joined(spec.mentions[0], split_words(spec.mentions[0]))
    requested = [
        " ".join(words[span.start : span.end]) == first if spec.links else span.type == spec.asked
        for span in spans
    ]
    if spec.opening:
        spans = whole_names(words, spans)
    if missing and not fault:
        fault = (
            f"{missing[0]!r} did not survive"
            if spec.types and not spec.no_name
            else f"does not hold {missing[0]!r}"
        )
    asked, kept = split_spans(spans, requested)
    return replace(candidate, text=text, reason=fault, spans=asked, kept=kept)
