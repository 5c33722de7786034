"""NER labels by *extract*: one structured reply a sentence lists its entities, and each is then scored for a second opinion.

For teachers that can be trusted to write a marking down. A reply that does not fit its sentence rejects the text: taken as "no entities"
it would teach that every name in it is "O".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion
from tutelage.labelling.ner_verify import SpanVerifier, settled
from tutelage.records import Example, Label, LabelDistribution, record_id
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span, read_spans
from tutelage.teacher.base import GenerateRequest, OnReply, Reply, Request, Sampling, Teacher
from tutelage.teacher.prompts import PromptSet, one_line
from tutelage.teacher.structured import validate

_ENOUGH = 8
"""Texts of which one at least must be marked usably. Fewer may all fail by chance."""

_SAID = 0.51
"""Weight of the extraction where it contradicts the mention that was asked for; over a half, so that not even a certain score outvotes it."""


class SpanExtractor:
    """Marks texts by one structured reply each, and scores every extracted entity, and every candidate beside them, with the verifier.

    An entity's confidence is the verifier's probability of the extracted type; of entities that overlap the most certain one stays. A
    candidate that the reply passes over stays "O"; where the verifier takes it for a name, it makes the text less certain. A mention that
    the text was written around has the verifier's distribution where the extraction found it with the type asked for. Where it did not,
    the two opinions are mixed, a little over half of the weight on what the extraction said ("O" where it marked nothing there, or other
    words): the type asked for is then never the top one of that mention, and the confidence is high only where the verifier agrees with
    the extraction.

    Args:
        labels: the entity types; the teacher reads and writes their words.
        shots: marked examples, the demonstrations in this order.
        verifier: gives the second opinion; its calibrator is the labeller's.
        max_tokens: longest reply.
        shown_sentences: so many shots are shown, the first of each type and then others; more where there are more types.
        nearest: gives a text demonstrations of its own instead, all of which are shown; the verifier has them for itself.

    Raises:
        ConfigError: two types have one word, ``shown_sentences`` is below 1, or the prompt set has no template "extract".
    """

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
    ) -> None:
        if shown_sentences < 1:
            raise ConfigError(
                f"teacher.shown_sentences={shown_sentences} must be 1 or more sentences."
            )
        self._name_of: dict[str, str] = {}
        for label in labels:
            if label.word in self._name_of:
                raise ConfigError(
                    f"The types '{self._name_of[label.word]}' and '{label.name}' have the same word '{label.word}', so teacher.ner=extract "
                    "cannot tell them apart. Give other words in data.labels (word: …)."
                )
            self._name_of[label.word] = label.name
        prompts.require("extract")
        self._teacher = teacher
        self._labels = tuple(labels)
        self._prompts = prompts
        self._verifier = verifier
        self._sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
        self._schema = _schema(tuple(self._name_of))
        self._demonstrations = self._shown(_first_of_each_type(shots, shown_sentences))
        self._nearest = nearest
        self.calibrator = verifier.calibrator

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fit the verifier's calibrator; see :meth:`SpanVerifier.fit`."""
        return self._verifier.fit(dev, on_reply)

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """The extractions, and the verifier's candidates: which entities are found beside or in the place of them is not known before."""
        return [*self._extractions(drafts), *self._verifier.requests(drafts)]

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Opinions of ``drafts``. A reply that cannot be used counts as failed, as it does where the engine itself refuses it.

        Raises:
            TeacherError: no reply of several could be used.
        """
        marked: dict[int, tuple[Span, ...]] = {}
        errors: dict[int, str] = {}
        for index, reply in enumerate(self._teacher.ask(self._extractions(drafts), on_reply)):
            try:
                marked[index] = self._read(drafts[index].text, reply)
            except ValueError as wrong:
                errors[index] = str(wrong)
        failed = len(errors)
        if len(errors) == len(drafts) >= _ENOUGH:
            raise TeacherError(
                f"None of {len(drafts)} replies could be used as a marking; the first: {errors[0]}. Where the requests are too long, show fewer "
                "shots (teacher.shown_sentences); where a small teacher cannot write a marking down, take teacher.ner=verify, or a more capable "
                "teacher.model."
            )
        kept = [drafts[index] for index in marked]
        spans = [self._scored(draft, own) for draft, own in zip(kept, marked.values(), strict=True)]
        scores = self._verifier.score(kept, spans, on_reply)
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
        """What the verifier is asked about: what was extracted or has to be there, and the candidates that overlap none of it.

        Of extracted entities that overlap each other or what has to be there some will not stay, and what is under those is asked about too.
        """
        rivals = (*marked, *draft.fixed)
        firm = [
            span
            for span in marked
            if not any(one[:2] != span[:2] and one.shares_a_word(*span[:2]) for one in rivals)
        ]
        said = [*firm, *draft.fixed]
        others = (
            index
            for index in self._verifier.indices(draft)
            if not any(span.shares_a_word(*index) for span in said)
        )
        return sorted({*(span[:2] for span in (*marked, *draft.fixed)), *others})

    def _extractions(self, drafts: Sequence[Draft]) -> list[GenerateRequest]:
        return [
            GenerateRequest(
                id=f"extract.{index}",
                prompt=self._prompt(draft.text),
                sampling=self._sampling,
                json_schema=self._schema,
            )
            for index, draft in enumerate(drafts)
        ]

    def _prompt(self, text: str) -> str:
        shown = self._demonstrations if self._nearest is None else self._shown(self._nearest(text))
        return self._prompts.render("extract", text=text, labels=self._labels, demonstrations=shown)

    def _shown(self, shots: Sequence[Example]) -> list[dict[str, str]]:
        return [
            {"text": shot.text, "reply": self._reply(shot)}
            for shot in shots
            if shot.label is not None
        ]

    def _reply(self, shot: Example) -> str:
        """What a right reply for a marked example looks like."""
        words, word_of = shot.text.split(" "), {name: word for word, name in self._name_of.items()}
        entities = []
        for start, end, type in read_spans(shot.label or "[]"):
            # Data may hold other white space than spaces inside a word; the reply stays on one line.
            quote = " ".join(" ".join(words[start:end]).split())
            occurrence = 1 + _indices(words, quote).index((start, end))
            entities.append({"quote": quote, "type": word_of[type], "occurrence": occurrence})
        return json.dumps(entities, ensure_ascii=False)

    def _read(self, text: str, reply: Reply) -> tuple[Span, ...]:
        """The entities of a reply in the order of the text.

        Raises:
            ValueError: there is no reply, or it does not fit the schema or the text.
        """
        if (
            reply.finish_reason == "length"
        ):  # an engine calls that an error too, but does not know the settings' names
            longest = reply.completion_tokens >= self._sampling.max_tokens
            setting = (
                "teacher.reply_tokens"
                if longest
                else "the engine's context ends there: fewer teacher.shown_sentences"
            )
            raise ValueError(
                f"the reply was cut off at {reply.completion_tokens} tokens ({setting})"
            )
        if reply.error:
            raise ValueError(reply.error)
        if record_id(text) in self._prompts.cut:
            raise ValueError(
                "the sentence is longer than the prompt's text_limit, so its end was not read"
            )
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
                    f"the quote {quote!r} is {len(indices)} times in the sentence, there is no occurrence {number}"
                )
            span = Span(*indices[number - 1], self._name_of[entity["type"]])
            # Small teachers say an entity again. Where it stands once, nothing else can be meant.
            if len(indices) > 1 and any(one[:2] == span[:2] for one in spans):
                raise ValueError(
                    f"the quote {quote!r} is {len(indices)} times in the sentence, and occurrence {number} came again"
                )
            spans.append(span)
        return tuple(sorted(set(spans)))

    def _opinion(
        self,
        draft: Draft,
        extracted: Sequence[Span],
        scored: dict[tuple[int, int], LabelDistribution],
    ) -> Opinion:
        sure_of = [(span, scored[span[:2]].probability(span.type)) for span in extracted]
        fixed = {span[:2] for span in draft.fixed}
        said = {
            span[:2]: span.type
            for span, _ in settled(pair for pair in sure_of if pair[0][:2] in fixed)
        }
        asked = []
        for mention in draft.mentions:
            index = (mention.start, mention.end)
            told = said.get(index, OUTSIDE)
            asked.append(scored[index] if told == mention.type else _mixed(scored[index], told))
        # As with verify the mentions stay whatever is said of them, so what overlaps one cannot.
        seen = settled(pair for pair in sure_of if draft.leaves(*pair[0][:2]))
        others = sorted([*draft.kept, *(span for span, _ in seen)])
        opinions = [scored[span.start, span.end] for span in others]
        confidence = [
            one.probability(span.type) for span, one in zip(others, opinions, strict=True)
        ]
        known = {span[:2] for span in extracted} | fixed
        there = (*others, *draft.fixed)
        passed_over = [
            (one.probability(OUTSIDE), _mixed(one, OUTSIDE))
            for index, one in scored.items()
            if index not in known and not any(span.shares_a_word(*index) for span in there)
        ]
        distribution = self._verifier.overall(
            asked, [*zip(confidence, opinions, strict=True), *passed_over]
        )
        return Opinion(
            distribution, tuple(zip(others, confidence, strict=True)), draft.mentions, marked=True
        )


def _first_of_each_type(shots: Sequence[Example], count: int) -> list[Example]:
    """The shots that hold a type which none before them does, and others up to ``count``, in their order."""
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
    """Every place where ``quote`` stands as whole words, as [start, end) in words.

    White space is left out of the comparison: a teacher writes "Smith's" where the data's words are "Smith" and "'s", or the other way.
    """
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
    """The verifier's distribution mixed with the extraction's word for ``extracted``."""
    mixed = (
        (1 - _SAID) * one + _SAID * (name == extracted)
        for name, one in zip(scored.labels, scored.probabilities, strict=True)
    )
    return replace(scored, probabilities=tuple(round(one, 6) for one in mixed))
