"""NER labels by *extract*: one structured reply per text, checked by the verifier.

The reply lists the entities of a sentence, and *verify* then scores each of them as a second
opinion. This suits capable teachers, which can write down a marking reliably. A reply that does not
fit its sentence rejects the text: read as "no entities", it would teach that every name in it is
"O".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tutelage.characters import unspaced
from tutelage.errors import ConfigError, NoAnswer
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion
from tutelage.labelling.calibration import Calibrator
from tutelage.labelling.ner_candidates import CandidateSource
from tutelage.labelling.ner_verify import SpanVerifier, settled, span_verifier
from tutelage.labelling.showing import Choice, Embed, ShotChoice
from tutelage.records import Example, Label, LabelDistribution, record_id
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span, read_spans
from tutelage.teacher.base import (
    GenerateRequest,
    OnReply,
    Reply,
    Request,
    Sampling,
    Teacher,
)
from tutelage.teacher.prompts import PromptSet, one_line
from tutelage.teacher.structured import validate

_ENOUGH = 8
"""Smallest batch where no usable reply is an error; smaller ones may fail by chance."""

_EXTRACTED_WEIGHT = 0.51
"""Weight of the extraction if it contradicts the requested mention.

It is over a half, so that even a fully certain score cannot outvote the extraction.
"""


class SpanExtractor:
    """Labels the entities of texts by one structured reply each, with a second opinion.

    The verifier scores every extracted entity, and every span candidate that overlaps none of them.
    An entity's confidence is the verifier's probability of the extracted type, and of overlapping
    entities the most certain one stays. A candidate missing from the reply stays "O"; if the
    verifier takes it for a name, the text becomes less certain.

    A mention that a generated text was written around gets the verifier's distribution if it was
    extracted with the requested type. Otherwise the two opinions are mixed, with slightly more than
    half of the weight on the extracted type ("O" if nothing was extracted there). The requested
    type is then never the top label of the mention, and the confidence is high only if both
    opinions agree.

    Args:
        teacher: The teacher to ask.
        labels: The entity types; prompts and replies use their words.
        prompts: The prompt set; its templates "extract" and "score" are used.
        shots: Labelled examples, shown in this order as demonstrations.
        verifier: Gives the second opinion. Its calibrator is the calibrator of this labeller.
        max_tokens: Longest reply, in tokens. A longer one is cut off and rejects its text.
        shown_sentences: Shots per request; at least 1. The first shot of each type is always shown,
            even if that takes more, and other shots up to this number.
        nearest: Selects labelled examples for each text instead of ``shots``; all of them are
            shown. The verifier has its own.
        choice: Chooses the shots of each text instead, like ``nearest``.

    Raises:
        ConfigError: Two types have the same word, ``shown_sentences`` is below 1, or the prompt set
            has no template "extract".
    """

    is_token_level = True
    asks_student = False

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[Label],
        prompts: PromptSet,
        shots: Sequence[Example],
        verifier: SpanVerifier,
        max_tokens: int = 512,
        shown_sentences: int = 8,
        nearest: Nearest | None = None,
        choice: ShotChoice | None = None,
    ) -> None:
        if shown_sentences < 1:
            raise ConfigError(
                f"labelling.shown_sentences={shown_sentences} must be 1 or more sentences."
            )
        # Replies use the types' words, so every word must stand for one type.
        self._name_of: dict[str, str] = {}
        for label in labels:
            if label.word in self._name_of:
                raise ConfigError(
                    f"The types '{self._name_of[label.word]}' and '{label.name}' have the same "
                    f"word '{label.word}', so labelling=extract cannot tell them apart. Give "
                    "other words in data.labels (word: …)."
                )
            self._name_of[label.word] = label.name
        prompts.require("extract")
        self._teacher = teacher
        self._labels = tuple(labels)
        self._prompts = prompts
        self._verifier = verifier
        self.asks_in_messages = prompts.asks_in_messages("extract")
        # Greedy decoding: the most probable marking, independent of seeds.
        self._sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
        self._schema = _schema(tuple(self._name_of))
        self._demonstrations = self._shown(_first_of_each_type(shots, shown_sentences))
        self._choice = choice if nearest is None else partial(map, nearest)
        self.calibrator = verifier.calibrator
        self._foreseen: tuple[tuple[Any, Any], list[GenerateRequest]] | None = None

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fits the verifier's calibrator; see :meth:`SpanVerifier.fit`."""
        return self._verifier.fit(dev, on_reply)

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns the extraction requests, and the scoring requests of all span candidates.

        The verifier also scores the extracted entities, which are not known in advance.
        """
        found = self._extractions(drafts, keep=True)
        return [*found, *self._verifier.requests(drafts)]

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which the calibrator sees as one batch.

        An unusable reply counts as failed, like a request refused by the engine.

        Raises:
            NoAnswer: No reply to 8 or more drafts was usable, or no scoring request was
                answered.
        """
        # Extract: read every reply, or note why it is unusable.
        marked: dict[int, tuple[Span, ...]] = {}
        errors: dict[int, str] = {}
        for index, reply in enumerate(self._teacher.ask(self._extractions(drafts), on_reply)):
            try:
                marked[index] = self._read(drafts[index].text, reply)
            except ValueError as mismatch:
                errors[index] = str(mismatch)
        failed = len(errors)
        if len(errors) == len(drafts) >= _ENOUGH:
            raise NoAnswer(
                f"None of {len(drafts)} replies was usable as a marking; the first: {errors[0]}. "
                "If the requests are too long, lower labelling.shown_sentences. If the teacher is "
                "too small to write down a marking, use labelling=verify, or a more capable "
                "teacher.model."
            )
        # Verify: score the entities and candidates of all usable texts as one batch.
        kept = [drafts[index] for index in marked]
        spans = [self._scored(draft, own) for draft, own in zip(kept, marked.values(), strict=True)]
        scores = self._verifier.score(kept, spans, on_reply)
        # Combine both into one opinion per text; a failed score loses its text.
        opinions: list[Opinion | None] = [None] * len(drafts)
        for number, index in enumerate(marked):
            if (found := scores.found[number]) is None:
                errors[index] = scores.errors[number]
            else:
                opinions[index] = self._opinion(
                    drafts[index], marked[index], dict(zip(spans[number], found, strict=True))
                )
        return Labelled(
            tuple(opinions), errors, asked=len(drafts) + scores.asked, failed=failed + scores.failed
        )

    def _scored(self, draft: Draft, marked: Sequence[Span]) -> list[tuple[int, int]]:
        """Returns the spans for the verifier to score.

        These are all extracted entities, mentions and kept entities, and the candidates that
        overlap none of them. Some extracted entities overlap each other or a fixed span and may not
        stay, so candidates under those are scored too.
        """
        # Extracted entities without a rival certainly stay.
        rivals = (*marked, *draft.fixed)
        firm = [
            span
            for span in marked
            if not any(one[:2] != span[:2] and one.shares_a_word(*span[:2]) for one in rivals)
        ]
        certain = [*firm, *draft.fixed]
        others = (
            index
            for index in self._verifier.indices(draft)
            if not any(span.shares_a_word(*index) for span in certain)
        )
        return sorted({*(span[:2] for span in (*marked, *draft.fixed)), *others})

    def _extractions(self, drafts: Sequence[Draft], *, keep: bool = False) -> list[GenerateRequest]:
        """Returns the extraction requests; those that were kept just before as they are."""
        texts = [draft.text for draft in drafts]
        shown = [self._demonstrations] * len(texts)
        if self._choice is not None:
            shown = [self._shown(shots) for shots in self._choice(texts)]
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and foreseen[0] == (texts, shown):
            return foreseen[1]
        found = self._extraction_requests(texts, shown)
        if keep:
            self._foreseen = (texts, shown), found
        return found

    def _extraction_requests(
        self, texts: Sequence[str], shown: Sequence[list[dict[str, str]]]
    ) -> list[GenerateRequest]:
        return [
            GenerateRequest(
                id=f"extract.{index}",
                prompt=self._prompts.render(
                    "extract", text=text, labels=self._labels, demonstrations=own
                ),
                sampling=self._sampling,
                json_schema=self._schema,
            )
            for index, (text, own) in enumerate(zip(texts, shown, strict=True))
        ]

    def _shown(self, shots: Sequence[Example]) -> list[dict[str, str]]:
        return [
            {"text": shot.text, "reply": self._reply(shot)}
            for shot in shots
            if shot.label is not None
        ]

    def _reply(self, shot: Example) -> str:
        """Returns the correct reply to a labelled example."""
        words, word_of = shot.text.split(" "), {name: word for word, name in self._name_of.items()}
        entities = []
        for start, end, type in read_spans(shot.label or "[]"):
            # Words of the data may contain other white space, but a reply stays on one line.
            quote = unspaced(" ".join(" ".join(words[start:end]).split()))
            occurrence = 1 + _indices(words, quote).index((start, end))
            entities.append({"quote": quote, "type": word_of[type], "occurrence": occurrence})
        return json.dumps(entities, ensure_ascii=False)

    def _read(self, text: str, reply: Reply) -> tuple[Span, ...]:
        """Reads the entities of a reply.

        Returns:
            The entities, in the order of the text.

        Raises:
            ValueError: There is no reply, or it does not fit the schema or the text.
        """
        # A reply cut off is an error of the engine too, but the engine cannot name the setting.
        if reply.finish_reason == "length":
            longest = reply.completion_tokens >= self._sampling.max_tokens
            setting = (
                "labelling.reply_tokens"
                if longest
                else "the engine's context ends there: fewer labelling.shown_sentences"
            )
            raise ValueError(
                f"the reply was cut off at {reply.completion_tokens} tokens ({setting})"
            )
        if reply.error:
            raise ValueError(reply.error)
        if record_id(text) in self._prompts.cut:
            raise ValueError(
                "the sentence is longer than prompt.text_tokens or the teacher's context, so it "
                "was not read whole"
            )
        # Translate each quote and its occurrence into a span of words.
        words = text.split(" ")
        spans: list[Span] = []
        for entity in validate(reply.text, self._schema):
            quote, indices, number = (
                one_line(entity["quote"], 80),
                _indices(words, entity["quote"]),
                int(entity["occurrence"]),
            )
            if not indices:
                raise ValueError(f"the quote {quote!r} is not in the sentence")
            if not 1 <= number <= len(indices):
                raise ValueError(
                    f"the quote {quote!r} is {len(indices)} times in the sentence, there is no "
                    f"occurrence {number}"
                )
            span = Span(*indices[number - 1], self._name_of[entity["type"]])
            # Small teachers repeat entities. A repetition is harmless if the quote occurs only
            # once.
            if len(indices) > 1 and any(one[:2] == span[:2] for one in spans):
                raise ValueError(
                    f"the quote {quote!r} is {len(indices)} times in the sentence, and occurrence "
                    f"{number} came again"
                )
            spans.append(span)
        return tuple(sorted(set(spans)))

    def _opinion(
        self,
        draft: Draft,
        extracted: Sequence[Span],
        scored: dict[tuple[int, int], LabelDistribution],
    ) -> Opinion:
        rated = [(span, scored[span[:2]].probability(span.type)) for span in extracted]
        # The mentions: the verifier's opinion, mixed with the extraction's if that differs.
        fixed = {span[:2] for span in draft.fixed}
        extracted_type = {
            span[:2]: span.type
            for span, _ in settled(pair for pair in rated if pair[0][:2] in fixed)
        }
        asked = []
        for mention in draft.mentions:
            index = (mention.start, mention.end)
            found = extracted_type.get(index, OUTSIDE)
            asked.append(scored[index] if found == mention.type else _mixed(scored[index], found))
        # The other entities. As with verify, the mentions stay whatever their score, so overlapping
        # entities cannot.
        seen = settled(pair for pair in rated if draft.leaves(*pair[0][:2]))
        others = sorted([*draft.kept, *(span for span, _ in seen)])
        opinions = [scored[span.start, span.end] for span in others]
        confidence = [
            one.probability(span.type) for span, one in zip(others, opinions, strict=True)
        ]
        # Candidates missing from the reply stay "O", but lower the text's confidence if the
        # verifier takes them for names.
        known = {span[:2] for span in extracted} | fixed
        present = (*others, *draft.fixed)
        passed_over = [
            (one.probability(OUTSIDE), _mixed(one, OUTSIDE))
            for index, one in scored.items()
            if index not in known and not any(span.shares_a_word(*index) for span in present)
        ]
        distribution = self._verifier.overall(
            asked, [*zip(confidence, opinions, strict=True), *passed_over]
        )
        return Opinion(
            distribution, tuple(zip(others, confidence, strict=True)), draft.mentions, marked=True
        )


def _first_of_each_type(shots: Sequence[Example], count: int) -> list[Example]:
    """Selects shots: every one with a new type, and others up to ``count``, in their order."""
    # Shots with a new type are always chosen; the others fill up.
    seen: set[str] = set()
    new: list[int] = []
    others: list[int] = []
    for index, shot in enumerate(shots):
        types = {span.type for span in read_spans(shot.label or "[]")}
        (others if types <= seen else new).append(index)
        seen |= types
    return [shots[index] for index in sorted([*new, *others[: max(0, count - len(new))]])]


def _schema(words: Sequence[str]) -> str:
    fields = {
        "quote": {"type": "string"},
        "type": {"enum": list(words)},
        "occurrence": {"type": "integer"},
    }
    entity = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    return json.dumps({"type": "array", "items": entity}, ensure_ascii=False)


def _indices(words: Sequence[str], quote: str) -> list[tuple[int, int]]:
    """Finds a quote in a text as whole words.

    White space is ignored in the comparison: a teacher may write "Smith's" for the words "Smith"
    and "'s" of the data, or the other way round.

    Args:
        words: The words of the text.
        quote: The quote.

    Returns:
        Every occurrence, [start, end) in words.
    """
    # From every word on, add words until their letters are as many as the quote's.
    letters = "".join(quote.split())
    found = []
    for start in range(len(words) if letters else 0):
        end, text = start, ""
        while end < len(words) and len(text) < len(letters):
            text += "".join(words[end].split())
            end += 1
        if text == letters:
            found.append((start, end))
    return found


def _mixed(scored: LabelDistribution, extracted: str) -> LabelDistribution:
    """Mixes the verifier's distribution with full certainty of the extracted type."""
    mixed = (
        (1 - _EXTRACTED_WEIGHT) * one + _EXTRACTED_WEIGHT * (name == extracted)
        for name, one in zip(scored.labels, scored.probabilities, strict=True)
    )
    return replace(scored, probabilities=tuple(round(one, 6) for one in mixed))


def span_extractor(
    teacher: Teacher,
    labels: Sequence[Label],
    prompts: PromptSet,
    shots: Sequence[Example],
    calibrator: Calibrator,
    nearest: Nearest | None = None,
    *,
    shown_sentences: int = 8,
    reply_tokens: int = 512,
    candidates: Sequence[CandidateSource] | None = None,
    candidate_width: int = 4,
    candidate_parts: int = 0,
    shown_words: int = 5,
    shown_per_type: int = 1,
    allow_codes: bool = True,
    demonstrations: Choice = "fixed",
    embed: Embed | None = None,
    seed: int = 0,
) -> SpanExtractor:
    """Builds a :class:`SpanExtractor` with its verifier, the labeller of ``labelling=extract``.

    Args:
        teacher: The teacher to ask.
        labels: The entity types.
        prompts: The prompt set; its templates "extract" and "score" are used.
        shots: Labelled examples, the source of the demonstrations.
        calibrator: Calibrates the verifier's distributions over the types and "none".
        nearest: Selects labelled examples for each text instead of ``shots``.
        shown_sentences: Shots per extraction request; at least 1. More of them need a longer
            context.
        reply_tokens: Longest reply, in tokens. A longer one is cut off and rejects its text.
        candidates: The verifier's sources of span candidates, one or more: "capitals", "chunks" or
            "ngrams", or null for an automatic choice (see
            :func:`tutelage.labelling.ner_verify.span_verifier`). "student" has no effect here,
            because extraction does not ask the student.
        candidate_width: The verifier's longest candidate of "chunks" and "ngrams", in words; at
            least 1.
        candidate_parts: The verifier's longest part of a capitalised run, in words; 0 for whole
            runs only.
        shown_words: Words on either side of the mention in the verifier's demonstrations; 0 shows
            whole sentences.
        shown_per_type: The verifier's demonstrations per type, and of "none"; at least 1.
        allow_codes: Whether letters may stand for the types in the verifier's prompts if two of
            their words begin with the same token; see
            :func:`tutelage.labelling.ner_verify.span_verifier`.
        demonstrations: The shots of each request, if there are more than ``shown_sentences``.
            "nearest": those most similar to the text by the embeddings of the student's encoder
            before its training, the most similar one last. "random": drawn for each text. "fixed":
            the same ones for every text; the first shot of each type is always shown, even if that
            takes more than ``shown_sentences``. The verifier picks its demonstrations from them
            first.
        embed: Returns the embeddings of texts.
        seed: Seed of the run, for ``demonstrations=random``.

    Raises:
        ConfigError: A setting is out of range, or the types cannot be told apart.
    """
    # Below 1, the extractor itself refuses the number.
    fixed = demonstrations == "fixed" or not 1 <= shown_sentences < len(shots)
    verifier = span_verifier(
        teacher,
        labels,
        prompts,
        shots,
        calibrator,
        nearest,
        candidates=candidates,
        candidate_width=candidate_width,
        candidate_parts=candidate_parts,
        shown_words=shown_words,
        shown_per_type=shown_per_type,
        allow_codes=allow_codes,
        demonstrations="fixed" if fixed else demonstrations,
        embed=embed,
        seed=seed,
    )
    return SpanExtractor(
        teacher,
        labels,
        prompts,
        shots,
        verifier,
        reply_tokens,
        shown_sentences,
        nearest,
        None if fixed else ShotChoice(shots, shown_sentences, demonstrations, embed, seed),
    )
