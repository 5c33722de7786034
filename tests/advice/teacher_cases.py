"""Teachers that cannot be had: servers, models, tokenizers, recordings and caches."""

from __future__ import annotations

from tests.advice.cases import Case

SERVER = (
    *("teacher=server", "-teacher._target_", "teacher.model=m", "teacher.url={url}"),
    *("teacher.tokenizer={student}", "teacher.retries=0", "teacher.backoff=0"),
)
LOCAL = ("teacher=local", "-teacher._target_")


def asked(
    site: str | tuple[str, ...],
    given: tuple[str, ...],
    fixes: tuple[str | tuple[str, ...], ...],
    about: tuple[str, ...] = (),
) -> Case:
    return Case(site, given, fixes, "teacher", about)


CASES = [
    # Servers.
    asked(
        "teacher.url={} is not an address", (*SERVER, "teacher.url=here"), ("teacher.url={url}",)
    ),
    asked(
        "teacher.url ends with a query",
        (*SERVER, 'teacher.url="{url}?a=b"'),
        ("teacher.url={url}",),
    ),
    asked(
        "teacher.url contains a password",
        (*SERVER, "teacher.url=http://me:pw@127.0.0.1/v1"),
        (("teacher.url={url}", "teacher.api_key_env=OPENAI_API_KEY"),),
        about=("OPENAI_API_KEY",),
    ),
    asked(
        "{} answered HTTP {} at {}{}: {}",
        (*SERVER, "teacher.url={url}/moved"),
        ("teacher.url={url}",),
    ),
    asked(
        "{} has no such model or address",
        (*SERVER, "teacher.url={url}/none"),
        (("teacher.url={url}", "teacher.model=m"),),
    ),
    asked(
        "Put a key into an environment variable",
        (*SERVER, "teacher.url={url}/locked", "teacher.api_key_env=''"),
        ("teacher.api_key_env=A_KEY",),
    ),
    asked(
        "the server at {} has no model {}",
        (*SERVER, "teacher.model=n"),
        ("teacher.model=m",),
    ),
    asked(
        "the server at {} is asked in messages, and cannot",
        (*SERVER, "teacher.url={url}/chatty", "prompt=completion"),
        ("prompt=chat",),
    ),
    asked(
        "the server at {} is asked for texts to continue",
        (*SERVER, "prompt=chat"),
        ("prompt=completion", ("teacher.api=chat", "teacher.url={url}/chatty")),
    ),
    asked(
        "the server at {} takes no messages",
        (*SERVER, "teacher.api=chat"),
        ("teacher.api=completions",),
        about=("teacher.api=chat",),
    ),
    asked(
        "the server at {} cannot tokenize",
        (*SERVER, "teacher.tokenizer=null"),
        ("teacher.tokenizer={student}", "teacher.tokenizer={student}/tokenizer.json"),
        about=("teacher.model=m",),
    ),
    # Models and tokenizers.
    asked(
        "teacher.batch_size is {}",
        (*LOCAL, "teacher.batch_size=0", "teacher.model={lm}"),
        ("teacher.batch_size=1",),
    ),
    asked(
        "has no config.json. Set teacher.model ",
        (*LOCAL, "teacher.model=."),
        ("teacher.model={lm}",),
    ),
    asked(
        "teacher.model={} is a file",
        (*LOCAL, "teacher.model={lm}/config.json"),
        ("teacher.model={lm}",),
    ),
    asked(
        "teacher.model={}: there is no such",
        (*LOCAL, "teacher.model={lm}/x"),
        ("teacher.model={lm}",),
    ),
    asked("teacher.model is empty", (*LOCAL, "teacher.model=' '"), ("teacher.model={lm}",)),
    asked(
        "the prompt has {} tokens, the engine takes {}; shorten",
        (*LOCAL, "teacher.model={lm}", "teacher.max_model_len=3"),
        ("teacher.max_model_len=40",),
    ),
    asked(
        "teacher.tokenizer={}: the folder {} has",
        (*SERVER, "teacher.tokenizer=."),
        ("teacher.tokenizer={student}",),
    ),
    asked(
        "teacher.tokenizer={}: there is no such",
        (*SERVER, "teacher.tokenizer=./x"),
        ("teacher.tokenizer={student}",),
    ),
    asked(
        "teacher.tokenizer={} cannot be loaded",
        (*SERVER, "teacher.tokenizer={student}/config.json"),
        ("teacher.tokenizer={student}",),
    ),
    asked(
        ("HF_HUB_OFFLINE is set", "the tokenizer {} is not on this machine"),
        (*SERVER, "teacher.tokenizer=no/such"),
        ("teacher.tokenizer={student}", "teacher.tokenizer={student}/tokenizer.json"),
        about=("HF_HUB_OFFLINE",),
    ),
    # Caches.
    asked(
        "is an SQLite database, but no cache",
        ("teacher.cache=other.sqlite",),
        ("teacher.cache=new.sqlite",),
    ),
    asked(
        "The file is damaged, or is not a cache",
        ("teacher.cache=notes.txt",),
        ("teacher.cache=new.sqlite",),
    ),
    asked(
        "Check that the folder exists and is",
        ("teacher.cache=notes.txt/x.sqlite",),
        ("teacher.cache=new.sqlite",),
    ),
    asked(
        "the cache {} has format {}", ("teacher.cache=later.sqlite",), ("teacher.cache=new.sqlite",)
    ),
    asked(
        "{} is a recording of {}, but this run's",
        ("teacher.record=recorded.jsonl",),
        ("teacher.record=new.jsonl",),
    ),
    asked(
        "the recording {} cannot be written",
        ("teacher.record=notes.txt/x.jsonl",),
        ("teacher.record=new.jsonl",),
    ),
]
