"""Prompts: jinja2 templates of conf/prompt, rendered as one text or as messages of a chat."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tutelage.characters import unspaced
from tutelage.errors import ConfigError, did_you_mean
from tutelage.records import record_id
from tutelage.teacher.base import Chat, Message, Prompt
from tutelage.teacher.marks import defused
from tutelage.teacher.shortening import Shortener, Tokenize
from tutelage.teacher.templates import Template, sandbox

KINDS = ("score", "easy", "hard", "analysis", "paraphrase")
"""Templates required in every prompt set."""

MORE_KINDS = ("names", "extract", "rewrite", "explain", "rule", "report")
"""Templates required by some tasks, methods or settings only.

"report" is the student's report and its outcomes, in front of a request for texts
(``method.class_report``). It is a text in chats too, and joins their system message.

For NER: "names" invents names to write sentences around, "extract" lists the entities of a
sentence, and "rewrite" rewrites a sentence around its entities. For method=elad: "explain" explains
and corrects mistakes of the student. For classes: "rule" writes a rule for the labels
(``labelling=boosted``).
"""

PARTS = ("system", "shot", "user", "prefill")
"""Parts of a chat template; "shot" has the parts "user" and "assistant"."""


WRITING = ("easy", "hard", "paraphrase", "rewrite")
"""Templates for new texts, which imitate the length of those shown."""

LABELLING = ("score", "extract")
"""Templates for labels, whose way of asking ``label_way`` sets."""

CONTEXT = 2048
"""Prompt and reply together, in tokens, where a teacher does not say how much it reads."""
_FEWEST_TOKENS = 16
_FITTINGS = 5
_EMPTY_LINES = re.compile(r"\n{3,}")


Way = Literal["auto", "chat", "completion"]
"""A way of asking: messages, a text to continue, or whichever suits the teacher."""


def one_line(text: str, limit: int = 600) -> str:
    """Puts an untrusted text on one line, so that it cannot pose as another part of the prompt.

    Args:
        text: The text; every run of white space becomes one space.
        limit: Longest result, in characters. A longer text is cut between words and marked with
            " …", which comes on top of the limit.
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rsplit(" ", 1)[0] + " …"


def plain_lines(text: str) -> str:
    """Tidies a text of several lines: single spaces, and no more than one empty line in a row.

    Args:
        text: The text.
    """
    lines = "\n".join(" ".join(line.split()) for line in text.splitlines())
    return _EMPTY_LINES.sub("\n\n", lines).strip()


@dataclass(slots=True)
class _Reading:
    """What one prompt shows of its texts.

    Attributes:
        text: The text that the prompt asks about; "" if it asks about none, or about all alike.
        text_tokens: Most tokens of it; None for no limit.
        shown_tokens: Most tokens of each other text; None for no limit.
        counts_shown: Whether the other texts count in ``cut`` too.
        in_messages: Whether the prompt is a chat.
        read: The texts as shown, without ``text``.
    """

    text: str = ""
    text_tokens: int | None = None
    shown_tokens: int | None = None
    counts_shown: bool = False
    in_messages: bool = False
    read: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The templates of a chat's messages.

    Attributes:
        system: The task.
        shot_user: The question of each demonstration (variable ``shown``); None shows none.
        shot_assistant: Its answer.
        user: The question.
        prefill: The beginning of the reply; None for none.
    """

    system: Template
    user: Template
    shot_user: Template | None = None
    shot_assistant: Template | None = None
    prefill: Template | None = None

    @property
    def source(self) -> str:
        """The text of all templates."""
        parts = (self.system, self.shot_user, self.shot_assistant, self.user, self.prefill)
        return "\0".join("" if part is None else part.source for part in parts)

    def render(self, variables: Mapping[str, object], *, turns: bool, thinking: int) -> Chat:
        """Renders the messages.

        Args:
            variables: The variables; ``turns``, or without them ``demonstrations``, are the shots.
            turns: Show each demonstration as two messages, not all of them inside the question.
            thinking: Longest thinking before the answer, in tokens; 0 for none.
        """
        shots = self._shots(variables)
        question = self.user.render(variables)
        messages = [Message("system", self.system.render(variables))]
        if turns:
            for asked, answered in shots:
                messages += [Message("user", asked), Message("assistant", answered)]
        elif shots:
            shown = "\n\n".join(f"{asked}\n{answered}" for asked, answered in shots)
            question = f"{shown}\n\n{question}"
        messages.append(Message("user", question))
        if self.prefill is not None and (begun := self.prefill.render(variables)):
            messages.append(Message("assistant", begun))
        # Some templates refuse an empty message.
        return Chat(tuple(one for one in messages if one.content), thinking)

    def _shots(self, variables: Mapping[str, object]) -> list[tuple[str, str]]:
        if self.shot_user is None or self.shot_assistant is None:
            return []
        demonstrations: Any = variables.get("turns", variables.get("demonstrations", ()))
        return [
            (
                self.shot_user.render({**variables, "shown": shown}),
                self.shot_assistant.render({**variables, "shown": shown}),
            )
            for shown in demonstrations
        ]


class PromptSet:
    """The prompts of a run: a template of each kind, as a text to continue and as a chat.

    Templates run in a sandbox, and undefined names are errors. The filter ``line`` puts a text on
    one line (see :func:`one_line`), and ``text`` keeps its lines, which suits the messages of a
    chat; both cut long texts in their middle. ``{{ genre }}``, ``{{ cue }}`` and
    ``{{ language }}`` are available everywhere.

    Args:
        completion: Texts to continue, by kind. All of :data:`KINDS` are required, those of
            :data:`MORE_KINDS` only by some tasks or methods.
        chat: Chat templates by kind, each a mapping with ``system``, ``user``, and where wanted
            ``shot`` (``user`` and ``assistant``, once per demonstration) and ``prefill``.
        way: "chat" asks in messages, "completion" by a text to continue. "auto" asks in messages
            where the teacher has a chat template, was trained to answer messages and is no very
            small model; but labels with demonstrations by a text to continue, which labels about as
            well for fewer tokens (see :meth:`asks_in_messages`).
        label_way: The same for labels alone; "auto" follows ``way``. ``tutelage tune-prompt`` sets
            it, because what it measures are labels.
        shots: Demonstrations of a chat: "turns" shows each one as a question and an answer of its
            own, "message" shows all of them inside the question.
        thinking: Longest thinking of a chat model before it answers, in tokens; 0 turns thinking
            off where the model's template can. Labels by scoring never think.
        language: Language of the texts to write ("German"); null for that of the examples.
        text_tokens: Longest text to label or to imitate, in tokens of the teacher; null for as much
            as the teacher's context leaves beside the rest of the prompt and the reply. Longer
            texts keep their beginning and end, and are counted in ``cut``.
        shown_tokens: Longest text among the demonstrations of a label, and of an analysis, in
            tokens; longer ones keep their beginning and end.
        genre: Description of the texts ("messages of a social network"), for templates that use
            ``{{ genre }}``.
        leads: For NER: openings of generated sentences. One of them is drawn and placed before the
            name that a text begins with; "" begins with the name itself. A chat has none.
        links: For NER: words to place between the names that a text begins with. One of them is
            drawn before each further name.
        cue: Word right before a label ("Answer"), for templates that use ``{{ cue }}``. Small
            teachers are very sensitive to it.
        strategies: For NER: instructions for rewriting a sentence (LLM-DA), by name.
        tuned_on: Number of dev labels by which ``tutelage tune-prompt`` chose the prompts; a run
            counts them as used.

    Attributes:
        cut: Ids of the distinct texts that were cut where the prompt was about them.

    Raises:
        ConfigError: A kind is missing or unknown, a template has a syntax error, or a limit is
            below 16 tokens.
    """

    def __init__(
        self,
        completion: Mapping[str, str],
        chat: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        way: Way = "auto",
        label_way: Way = "auto",
        shots: Literal["turns", "message"] = "turns",
        thinking: int = 0,
        language: str | None = None,
        text_tokens: int | None = None,
        shown_tokens: int = 128,
        genre: str = "",
        leads: Sequence[str] = ("",),
        links: Sequence[str] = ("and",),
        cue: str = "",
        strategies: Mapping[str, str] | None = None,
        tuned_on: int = 0,
    ) -> None:
        self._way, self._label_way = way, label_way
        self.tuned_on = tuned_on
        for name, limit in (("text_tokens", text_tokens), ("shown_tokens", shown_tokens)):
            if limit is not None and limit < _FEWEST_TOKENS:
                raise ConfigError(
                    f"prompt.{name}={limit} leaves nothing of a text. Set {_FEWEST_TOKENS} or more."
                )
        self._text_tokens, self._shown_tokens = text_tokens, shown_tokens
        self.context_length = CONTEXT
        self._shortener = Shortener()
        self._reading = _Reading()
        self.thinking = thinking
        self.links = tuple(links)
        self.strategies = dict(strategies or {})
        self._leads = tuple(leads)
        self._turns = shots == "turns"
        # As of a base model, until the teacher is known.
        self._suits_chat, self._scores_texts = False, True
        # Templates come from users, and their variables from data: neither may run code.
        environment = sandbox(
            {
                "line": lambda text: self._shown(str(text), _flat),
                "text": lambda text: self._shown(str(text), plain_lines),
            },
            genre=genre,
            cue=one_line(cue),
            language=one_line(language or ""),
        )
        self.cut: set[str] = set()
        chats = chat or {}
        _check_kinds("completion", completion)
        if chats or "chat" in (way, label_way):
            _check_kinds("chat", chats)
        # Syntax errors surface here instead of at the first rendering.
        self._texts = {
            kind: Template.of(environment, f"prompt.completion.{kind}", source)
            for kind, source in completion.items()
        }
        self._chats = {
            kind: _chat_template(environment, f"prompt.chat.{kind}", parts)
            for kind, parts in chats.items()
        }

    @property
    def suits_chat(self) -> bool:
        """Whether chats suit the teacher, whatever the settings choose; see :meth:`settle`."""
        return self._suits_chat

    def asks_in_messages(self, kind: str, demonstrated: bool = True) -> bool:
        """Returns whether prompts of a kind are chats.

        The automatic choice is the measured one (docs/results/labelling.md, "Ways of asking"). A
        very small teacher continues texts. A capable one is asked in messages, except for labels:
        where demonstrations are shown, a text to continue labels about as well, for fewer tokens.

        Args:
            kind: The kind of the prompt.
            demonstrated: For "score", whether demonstrations show the labels. Of many labels they
                show a few, and a chat lists them.
        """
        way = self._way
        if kind in LABELLING and self._label_way != "auto":
            way = self._label_way
        if way != "auto":
            return way == "chat"
        if kind == "score" and demonstrated and self._scores_texts:
            return False
        return self._suits_chat and bool(self._chats)

    @property
    def leads(self) -> tuple[str, ...]:
        """Openings of generated sentences; empty for chats, which name what to write about."""
        return () if self.asks_in_messages("easy") else self._leads

    def settle(
        self,
        suits_chat: bool,
        tokenize: Tokenize | None = None,
        context_length: int | None = None,
        *,
        scores_texts: bool = True,
    ) -> None:
        """Learns about the teacher.

        Args:
            suits_chat: Whether chats suit the teacher.
            tokenize: Its tokenizer; None estimates the tokens of texts.
            context_length: Prompt and reply together, in tokens; None if the teacher does not say
                it.
            scores_texts: Whether it scores labels after a text to continue as well as in a chat.
        """
        self._suits_chat, self._scores_texts = suits_chat, scores_texts
        self.context_length = context_length or CONTEXT
        self._shortener = Shortener(tokenize)

    def reply_room(self, kind: str) -> int:
        """Returns the tokens that prompts of a kind leave for the reply.

        Args:
            kind: The kind of the prompt.
        """
        if kind == "score":
            return _FEWEST_TOKENS
        return self.context_length // (2 if kind in WRITING else 4)

    def require(self, kind: str) -> None:
        """Checks that a template exists, before the run starts rather than at the first rendering.

        Args:
            kind: One of :data:`MORE_KINDS`.

        Raises:
            ConfigError: The set has no such template.
        """
        # A report is a text, whatever it stands before.
        way = "chat" if kind != "report" and self.asks_in_messages(kind) else "completion"
        if kind not in (self._chats if way == "chat" else self._texts):
            raise ConfigError(
                f"there is no prompt.{way}.{kind}, which this run needs. Add the template, or use "
                "the prompts of the task (prompt/templates@prompt=ner)."
            )

    def version(self, kind: str) -> str:
        """Returns a hash (8 hex digits) of a template's source.

        Every row written from the template keeps it.
        """
        return record_id(self._templates(kind)[kind].source)[:8]

    def render(
        self, kind: str, /, *, in_messages: bool | None = None, **variables: object
    ) -> Prompt:
        """Renders a prompt.

        Args:
            kind: The kind of the prompt.
            in_messages: Whether it is a chat; None asks :meth:`asks_in_messages`.
            **variables: The variables of its template.

        Returns:
            A chat, or a text without trailing white space, so that completions begin with a space.

        Raises:
            ConfigError: The template uses an undefined variable or something that the sandbox
                forbids, or it fails.
        """
        reading = self._reading = self._begin(kind, variables)
        reading.in_messages = self.asks_in_messages(kind) if in_messages is None else in_messages
        prompt = self._rendered(kind, variables)
        room = self.context_length - self.reply_room(kind)
        for _ in range(_FITTINGS):
            if not self._shortener.exceeds(prompt, room) or not self._tighten(
                reading, self._shortener.count(prompt), room
            ):
                break
            reading.read.clear()
            prompt = self._rendered(kind, variables)
        return prompt

    def _rendered(self, kind: str, variables: Mapping[str, object]) -> Prompt:
        study: Any = variables.get("study") or {}
        report = self._texts["report"].render(study) if study else ""
        if not self._reading.in_messages:
            text = self._texts[kind].render(variables)
            return f"{report}\n\n{text}" if report else text
        thinking = 0 if kind == "score" else self.thinking
        chat: Chat = self._chats[kind].render(variables, turns=self._turns, thinking=thinking)
        if not report:
            return chat
        system, *rest = chat.messages
        return replace(
            chat, messages=(replace(system, content=f"{system.content}\n\n{report}"), *rest)
        )

    def _begin(self, kind: str, variables: Mapping[str, object]) -> _Reading:
        if kind in WRITING:
            return _Reading(shown_tokens=self._text_tokens, counts_shown=True)
        text = variables.get("text")
        return _Reading(
            text if isinstance(text, str) else "", self._text_tokens, self._shown_tokens
        )

    def _tighten(self, reading: _Reading, count: int, room: int) -> bool:
        """Lowers the limits of a prompt that is too long, that of its own text first.

        Args:
            reading: The limits.
            count: Tokens of the prompt.
            room: Most tokens of the prompt.

        Returns:
            False if there is nothing to shorten.
        """
        if reading.text:
            own = self._shortener.count(reading.text)
            own = min(own, reading.text_tokens or own)
            if own > _FEWEST_TOKENS:
                reading.text_tokens = max(_FEWEST_TOKENS, own - (count - room) - 4)
                return True
        longest = max(map(self._shortener.count, reading.read), default=0)
        longest = min(longest, reading.shown_tokens or longest)
        if longest <= _FEWEST_TOKENS:
            return False
        reading.shown_tokens = max(_FEWEST_TOKENS, int(0.95 * longest * room / count))
        return True

    def _templates(self, kind: str) -> Mapping[str, Template] | Mapping[str, ChatTemplate]:
        return self._chats if self.asks_in_messages(kind) else self._texts

    def _shown(self, text: str, tidied: Callable[[str], str]) -> str:
        """Tidies a text of the data, and cuts it if it is too long."""
        reading, tidy = self._reading, unspaced(tidied(text))
        is_own = bool(text) and text == reading.text
        limit = reading.text_tokens if is_own else reading.shown_tokens
        short = tidy if limit is None else self._shortener.cut(tidy, limit)
        if short != tidy and (is_own or reading.counts_shown):
            self.cut.add(record_id(text))
        if not is_own:
            reading.read.append(tidy)
        return short if reading.in_messages else defused(short)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _check_kinds(way: str, templates: Mapping[str, object]) -> None:
    """Checks the kinds before anything is compiled, so that a misspelt one is named first."""
    for kind in templates:
        if kind not in (*KINDS, *MORE_KINDS):
            raise ConfigError(
                f"prompt.{way}: {did_you_mean('template', kind, (*KINDS, *MORE_KINDS))}"
            )
    if missing := [kind for kind in KINDS if kind not in templates]:
        raise ConfigError(
            f"prompt.{way} has no template '{missing[0]}'. Required: {', '.join(KINDS)}."
        )


def _chat_template(environment: Any, place: str, parts: Mapping[str, Any]) -> ChatTemplate:
    """Compiles the templates of a chat.

    Raises:
        ConfigError: A part is unknown or missing, or has a syntax error.
    """
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"{place}: {did_you_mean('part', part, PARTS)}")
    shot = parts.get("shot") or {}
    for part in shot:
        if part not in ("user", "assistant"):
            raise ConfigError(f"{place}.shot: {did_you_mean('part', part, ('user', 'assistant'))}")
    if not parts.get("system") or not parts.get("user") or len(shot) == 1:
        raise ConfigError(
            f"{place} needs the templates 'system' and 'user', and a shot both 'user' and "
            "'assistant'."
        )
    found = {
        "system": parts["system"],
        "user": parts["user"],
        "prefill": parts.get("prefill"),
        **{f"shot_{part}": source for part, source in shot.items()},
    }
    return ChatTemplate(
        **{
            part: Template.of(environment, f"{place}.{part.replace('_', '.')}", source)
            for part, source in found.items()
            if source
        }
    )
