"""What a server can do for a teacher, in lines for ``tutelage doctor``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from tutelage.errors import TeacherError
from tutelage.teacher.engines.server_chat import ChatSurvey
from tutelage.teacher.engines.server_chat_probe import ChatProber
from tutelage.teacher.engines.server_client import ServerClient
from tutelage.teacher.engines.server_errors import Lasting, NotFoundError, Refused
from tutelage.teacher.engines.server_probe import Prober
from tutelage.teacher.engines.server_replies import top_tokens
from tutelage.teacher.engines.server_requests import Way
from tutelage.teacher.engines.server_tokenizer import ServerTokenizer
from tutelage.teacher.engines.server_tokens import find

_WORDS = (" yes", " no")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Ability:
    """One line of the report.

    Attributes:
        name: The ability.
        ok: True if a teacher can use it, False if it cannot do without, None for information.
        found: The finding.
        advice: The remedy; "" if there is none.
    """

    name: str
    ok: bool | None
    found: str
    advice: str = ""


async def examine(client: ServerClient, model: str, scoring: str, tokenizer: str) -> list[Ability]:
    """Asks a server for each ability once.

    Args:
        client: The client of the server.
        model: Name of the model; "" for the only one that the server has.
        scoring: The setting ``teacher.scoring``.
        tokenizer: The setting ``teacher.tokenizer``; "" if it is not set.

    Returns:
        The lines, up to the first ability without which the others cannot be tried.
    """
    lines = [await _models(client, model)]
    if lines[0].ok is False:
        return lines
    if not model:
        entries = await Prober(client, "", 0).listed()
        if len(entries) != 1:
            advice = "Name one: teacher.model=…"
            return [*lines, Ability("model", False, "not chosen", advice)]
        model = str(entries[0]["id"])
    prober = Prober(client, model, 0)
    chat = await _surveyed(prober, scoring)
    lines += [*await _completions(prober, chat), _chat(chat)]
    if lines[1].ok is False:
        return lines
    if chat.form is not None:
        return [*lines, *await _chat_scores(prober, chat)]
    tokens = ServerTokenizer(tokenizer, model)
    return [*lines, *[line async for line in _scores(prober, tokens, scoring)]]


async def _models(client: ServerClient, model: str) -> Ability:
    try:
        await client.get("/v1/models")
    except Lasting as error:
        advice = f"Check teacher.url, and that the server runs: {client.root} was asked."
        return Ability("reachable", False, f"failed {error}", advice)
    except (Refused, ValueError, NotFoundError):
        pass  # Not every server has a list of its models.
    except TeacherError as error:
        return Ability("reachable", False, "yes, but it refused the request", str(error))
    names = [str(entry["id"]) for entry in await Prober(client, model, 0).listed()]
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return Ability("reachable", True, client.clean(f"yes; models: {shown or 'not listed'}"))


async def _surveyed(prober: Prober, scoring: str) -> ChatSurvey:
    try:
        return await ChatProber(prober).survey(scoring, 1)
    except (Lasting, TeacherError) as error:
        return ChatSurvey(no_way=prober.client.clean(str(error)))


async def _completions(prober: Prober, chat: ChatSurvey) -> list[Ability]:
    name = "completions"
    try:
        seconds = await prober.seconds()
        reply = await prober.complete({})
    except (Lasting, Refused, ValueError, TeacherError) as error:
        if chat.form is not None:
            return [Ability(name, None, "no, so prompts are chats")]
        if not isinstance(error, TeacherError):
            advice = "A teacher needs chats or plain completions: use another server."
            return [Ability(name, False, prober.client.clean(str(error)), advice)]
        try:
            await prober.survey("exact")  # It looks for what is there instead.
        except (Lasting, TeacherError) as better:
            error = better if isinstance(better, TeacherError) else error
        return [Ability(name, False, "no", str(error))]
    counts = reply.prompt_tokens is not None and reply.completion_tokens is not None
    called = f", called {prober.client.clean(reply.model)!r} by its replies" if reply.model else ""
    return [
        Ability(name, True, f"yes: {prober.model}{called}"),
        Ability("speed", None, f"{seconds:.2f} s for 8 tokens, one request at a time"),
        Ability("token counts", None, "yes" if counts else "no: they will be estimated"),
    ]


def _chat(chat: ChatSurvey) -> Ability:
    if chat.form is None:
        return Ability("chat", None, "no")
    thinks = "; its model thinks before every answer" if chat.form.thinks else ""
    return Ability("chat", None, f"yes{thinks}")


async def _chat_scores(prober: Prober, chat: ChatSurvey) -> list[Ability]:
    """Tells how labels of chats are scored, and whether their schemas are enforced."""
    assert chat.form is not None
    way = chat.way
    if way is None:
        found, advice = f"no: {chat.no_way}", "Set teacher.scoring=auto, or use another server."
    elif way.samples:
        found, advice = "no: labels are shares of several sampled answers (teacher.samples)", ""
    elif way.decides:
        found, advice = "by /v1/decisions", ""
    else:
        exact = "exact: the log-probability of every label"
        found, advice = exact if way.exact else f"the {way.top} most likely tokens", ""
    try:
        schema, reason = await ChatProber(prober, chat.form).schemas()
    except Lasting as error:
        schema, reason = "", str(error)
    schemas = "enforced, for labelling=extract" if schema else f"not enforced ({reason})"
    return [
        Ability("scores", way is not None, found, advice),
        Ability("JSON schemas", None, schemas),
    ]


async def _scores(
    prober: Prober, tokenizer: ServerTokenizer, scoring: str
) -> AsyncIterator[Ability]:
    ids: list[int] = []
    try:
        ids = await _first_ids(prober, tokenizer)
        yield Ability("token ids", True, "by teacher.tokenizer" if tokenizer.is_here else "yes")
    except (Lasting, TeacherError) as error:
        yield Ability("token ids", False, "no", str(error))
    try:
        schema, no_schema = await prober.schemas()
        way, no_way = await prober.scoring(scoring != "top")
        seen = await _seen(prober, way, tokenizer, ids) if way is not None and ids else ""
    except Lasting as error:
        yield Ability("scores", False, f"failed {error}", "Wait until the server is less busy.")
        return
    if way is not None:
        found = "exact: the log-probability of every label" if way.exact else seen
        yield Ability("scores", True, found or f"the {way.top} most likely tokens")
    else:
        # Entities can do without, where the server keeps to a schema.
        advice = "Labels need log-probabilities: use another server, such as `vllm serve`."
        yield Ability("scores", None if schema else False, f"no: {no_way}", advice)
    found = "enforced, for labelling=extract" if schema else f"not enforced ({no_schema})"
    yield Ability("JSON schemas", None, found)


async def _first_ids(prober: Prober, tokenizer: ServerTokenizer) -> list[int]:
    if not tokenizer.is_here:
        try:
            rows = await tokenizer.ask(prober.client, _WORDS)
            return [row.ids[0] for row in rows]
        except NotFoundError:
            pass
    tokenizer.load(prober.client.root)
    return [row[0] for row in tokenizer.ids(_WORDS)]


async def _seen(prober: Prober, way: Way, tokenizer: ServerTokenizer, ids: list[int]) -> str:
    """Tells whether two words that the prompt names are found among the likely tokens."""
    if way.exact:
        return ""
    try:
        tokens = top_tokens((await prober.complete(way.fields(ids))).logprobs)
        named = any(token.id is None for token in tokens)
        known = await tokenizer.spellings(prober.client, ids) if named else {}
        count = len(ids) - find(tokens, ids, known).missing
    except (Refused, ValueError, TeacherError) as error:
        return f"the {way.top} most likely tokens ({prober.client.clean(str(error))})"
    return f"the {way.top} most likely tokens; {count} of {len(ids)} test words are among them"
