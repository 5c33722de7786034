"""Files, columns and labels that cannot be used as they are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping

from tests.advice.cases import Case
from tests.helpers.bad_data import MUSIC, WEATHER, two_classes

Files = Mapping[str, str | bytes]


def jsonl(*records: Mapping[str, object]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def renamed(records: list[dict[str, object]], **names: str) -> list[dict[str, object]]:
    return [{names.get(key, key): value for key, value in one.items()} for one in records]


def tagged(words: str, mark: str = "PER") -> dict[str, object]:
    listed = words.split()
    return {"tokens": listed, "tags": [f"B-{mark}", *["O"] * (len(listed) - 1)]}


GOOD: Files = {
    "train.jsonl": jsonl(*two_classes(0, 4)),
    "validation.jsonl": jsonl(*two_classes(4, 5)),
    "test.jsonl": jsonl(*two_classes(5, 6)),
}
NAMES: Files = {
    "train.jsonl": jsonl(tagged("Ann sings"), tagged("Bob runs far"), tagged("Rome is old", "LOC")),
    "validation.jsonl": jsonl(tagged("Eve waits")),
    "test.jsonl": jsonl(tagged("Tim sleeps"), tagged("Bath is near", "LOC")),
}
LINES = "Ann B-PER\nsings O\n\nBob B-PER\nruns O\n"
COLUMNS: Files = {
    "train.conll": LINES,
    "validation.conll": "Eve B-PER\nwaits O\n",
    "test.conll": "Tim B-PER\nsleeps O\n",
}


def every(change: object, files: Files = GOOD) -> Files:
    """The files with their records changed."""
    assert callable(change)
    return {
        name: jsonl(*(change(json.loads(line)) for line in str(text).splitlines()))
        for name, text in files.items()
    }


def spanned(record: Mapping[str, object]) -> Mapping[str, object]:
    return {**record, "label": [[0, len(str(record["text"]).split()[0]), "PER"]]}


def with_key(**names: str) -> Files:
    return every(lambda record: {names.get(key, key): value for key, value in record.items()})


def with_empty_texts() -> Files:
    return every(lambda record: {"text": " ", "body": record["text"], "label": record["label"]})


ODD = (
    *("qux", "wem", "zop", "fip", "gat", "hul", "jom", "kib", "lor", "mif"),
    *("nob", "pul", "ret", "sig", "tov", "vuk", "wax", "yip", "zeb", "dro"),
)
MANY = [
    {
        "text": f"{one} {two} {one}",
        "label": ("music", "weather")[len(one + two) % 2],
        "own": f"{one} {two}",
    }
    for one, two in itertools.combinations(ODD, 2)
]
MANY = [{**one, "label": ("music", "weather")[number % 2]} for number, one in enumerate(MANY[::2])]
OWN = ",".join(f'"{one["own"]}"' for one in MANY[:80])
LONG = ",".join(f'"{name}{" of a kind" * 30}"' for name in ("music", "Music", "weather"))
NO_NAMES = {
    "train.jsonl": jsonl({"tokens": ["none", "here"], "tags": ["O", "O"]}),
    "test.jsonl": jsonl(tagged("Tim sleeps")),
}
SMALL = [tagged(f"{one} {two} {one}") for one, two in itertools.combinations(ODD[:8], 2)] + [
    tagged("rome is old", "LOC")
]
NEAR = {
    **GOOD,
    "train.jsonl": jsonl(
        *({"text": f"{text} {end}", "label": "music"} for text in MUSIC[4:6] for end in ("a", "b")),
        *({"text": f"{text} a", "label": "weather"} for text in WEATHER[4:6]),
    ),
}

CASES = [
    # Folders and their files.
    Case(
        "{} is a file; data.path= takes",
        ("data.path=mine/train.jsonl",),
        ("data.path=mine",),
        files=GOOD,
    ),
    Case("Set data.path= to a folder", ("data.path=mime",), ("data.path=mine",), files=GOOD),
    Case(
        ", or choose with data.format=",
        ("data.format=auto",),
        ("data.format=jsonl",),
        files={**GOOD, "train.csv": "text,label\nplay,music\nrain,weather\n"},
    ),
    Case(
        "A {} file with words and tags needs task=ner",
        (),
        ("task=ner",),
        files={name.replace(".conll", ".txt"): text for name, text in COLUMNS.items()},
    ),
    Case("Set data.format=auto to read", ("data.format=csv",), ("data.format=",), files=GOOD),
    Case(
        "The files are in {}: set data.path={}",
        (),
        ("data.path=",),
        files={f"deeper one/{name}": text for name, text in GOOD.items()},
    ),
    Case(
        "Add the file, or set data.path= to another",
        ("data.path=mine/none",),
        ("data.path=mine",),
        files={**GOOD, "none/notes.md": "nothing"},
    ),
    Case(
        "Set {} to a known one, for instance",
        ("data.encoding=utf-9",),
        ("data.encoding=utf-8",),
        files=GOOD,
    ),
    Case(
        "Which encoding it has is a guess",
        (),
        ("data.encoding=",),
        files={
            **GOOD,
            "train.jsonl": jsonl(*two_classes(0, 4))
            .replace("tune", "tüne")
            .replace("play", "pläy")
            .encode("cp1252"),
        },
    ),
    # Columns.
    Case(
        "Choose another data.text_column ({})",
        (),
        ("data.text_column=body",),
        files=with_empty_texts(),
    ),
    Case(
        "Choose another data.text_column, or correct",
        (),
        ("data.text_column=body",),
        files=every(lambda one: {"text": 7, "body": one["text"], "label": one["label"]}),
    ),
    Case(
        "Correct it, or choose another data.label_column.",
        (),
        ("data.label_column=kind",),
        files=every(lambda one: {"text": one["text"], "label": [1], "kind": one["label"]}),
    ),
    Case(
        "Keep one, or choose another data.label_column.",
        (),
        ("data.label_column=kind",),
        files=every(lambda one: {**one, "label": ["a", "b"], "kind": one["label"]}),
    ),
    Case(
        "If it marks entities, set task=ner data.spans_column={}",
        (),
        ("data.label_column=kind", ("task=ner", "data.spans_column=label")),
        files=every(lambda one: {**spanned(one), "kind": one["label"]}),
    ),
    Case(
        "{} has no column '{}', but a list in '{}'",
        (),
        ("data.spans_column=label",),
        task="ner",
        files=every(spanned),
    ),
    Case(
        "{} has no column '{}', but 0 and 1 in {}",
        (),
        ("data.label_column=kind",),
        files=every(
            lambda one: {
                "text": one["text"],
                "music": int(one["label"] == "music"),
                "weather": int(one["label"] == "weather"),
                "kind": one["label"],
            }
        ),
    ),
    Case(
        "A classifier needs at least two labels",
        (),
        ("data.label_column=kind", ("shots=0", "data.labels=[all,none]")),
        files=every(lambda one: {"text": one["text"], "label": "all", "kind": one["label"]}),
    ),
    Case(
        "Set task=ner, or set data.text_column= and data.label_column=.",
        (),
        ("task=ner", ("data.text_column=body", "data.label_column=kind")),
        files=every(
            lambda one: {**one, "body": " ".join(one["tokens"]), "kind": one["tags"][0]}, NAMES
        ),
    ),
    Case(
        "{} contains words with entity tags, but the task is classification",
        (),
        ("task=ner",),
        files=COLUMNS,
    ),
    Case(
        "{} has one label per text ('{}') and no entities",
        (),
        ("task=classification", "data.tags_column=marks", "data.spans_column=places"),
        task="ner",
        files=every(
            lambda one: {
                "text": one["text"],
                "label": one["label"],
                "tokens": one["text"].split(),
                "marks": ["B-PER", *["O"] * (len(one["text"].split()) - 1)],
                "places": [[0, len(one["text"].split()[0]), "PER"]],
            }
        ),
    ),
    Case(
        "{}: a {} file has no lists, so it cannot mark entities",
        (),
        ("task=classification",),
        task="ner",
        files={
            "train.csv": "text,label\nplay some music,music\nrain today,weather\n",
            "validation.csv": "text,label\nan old album,music\nis it cold,weather\n",
            "test.csv": "text,label\nmy favourite tune,music\nsunny or not,weather\n",
        },
    ),
    Case(
        "Set data.words_column= or data.text_column=.",
        (),
        ("data.words_column=words", ("data.text_column=body", "data.spans_column=spans")),
        task="ner",
        files=every(
            lambda one: {
                "words": one["tokens"],
                "tags": one["tags"],
                "body": " ".join(one["tokens"]),
                "spans": [[0, 3, "PER"]],
            },
            NAMES,
        ),
    ),
    Case(
        "{} has neither '{}' (of '{}') nor '{}' (of '{}')",
        (),
        ("data.tags_column=marks", "data.spans_column=places"),
        task="ner",
        files=every(
            lambda one: {
                "tokens": one["tokens"],
                "text": " ".join(one["tokens"]),
                "marks": one["tags"],
                "places": [[0, 3, "PER"]],
            },
            NAMES,
        ),
    ),
    Case(
        "{}: '{}' ({}) marks words, but '{}' has none",
        (),
        ("data.words_column=words", "data.tags_column=none"),
        task="ner",
        files=every(
            lambda one: {
                "tokens": None,
                "words": one["tokens"],
                "text": " ".join(one["tokens"]),
                "tags": one["tags"],
                # An unlabelled text of train, whose "tags" are no entities' perhaps.
                "spans": None if one["tokens"][0] == "Bob" else [[0, 3, "PER"], [0, 4, "LOC"]][:1],
            },
            {
                **NAMES,
                "train.jsonl": jsonl(
                    tagged("Bob runs far"), tagged("Ann sings"), tagged("Rome", "LOC")
                ),
            },
        ),
    ),
    Case(
        "{}: '{}' marks characters of '{}', which is missing",
        (),
        ("data.text_column=body",),
        task="ner",
        files=every(
            lambda one: {
                "tokens": one["tokens"],
                "body": " ".join(one["tokens"]),
                "text": None,
                "spans": [[0, 3, "PER"]],
            },
            NAMES,
        ),
    ),
    Case(
        "{} contains no entities. Check",
        (),
        (("data.labels=[PER,LOC]", "shots=0"),),
        task="ner",
        files=every(lambda one: {**one, "tags": ["O"] * len(one["tokens"])}, NAMES),
    ),
    Case(
        "data.word_column_number={} and data.tag_column_number={} select",
        ("data.word_column_number=1", "data.tag_column_number=1"),
        (("data.word_column_number=0", "data.tag_column_number=2"),),
        task="ner",
        files={
            "train.conll": "Ann B-PER B-PER\nsings O S-X\n\nBob B-PER O\nruns O O\n",
            "validation.conll": "Eve B-PER O\nwaits O O\nhere O O\n",
            "test.conll": "Tim B-PER O\nsleeps O S-X\nso O O\n",
        },
    ),
    Case(
        "Correct the line, or set data.tag_column_number=",
        (),
        ("data.tag_column_number=1",),
        task="ner",
        files={
            name: text.replace("\n", " x\n").replace("\n x\n", "\n\n")
            for name, text in COLUMNS.items()
        },
    ),
    Case(
        "{}: column {} has hardly anything but whole numbers",
        (),
        ("data.word_column_number=",),
        task="ner",
        files={
            name: "\n".join(f"{at} {line}" if line else "" for at, line in enumerate(lines)) + "\n"
            for name, text in COLUMNS.items()
            if (lines := str(text).splitlines())
        },
    ),
    Case(
        "{}: there is no column '{}', and the first line looks like a row",
        (),
        ("data.text_column=what did you ask for",),
        files={
            f"{split}.csv": "what did you ask for,label\n"
            + "".join(f"{one['text']},{one['label']}\n" for one in two_classes(*cut))
            for split, cut in {"train": (0, 4), "validation": (4, 5), "test": (5, 6)}.items()
        },
    ),
    # Labels.
    Case(
        "data.labels is the string",
        ("data.labels=music",),
        ("data.labels=[music,weather]",),
        files=GOOD,
    ),
    Case(
        "data.labels lists '{}' twice",
        ("data.labels=[music,music,weather]",),
        ("data.labels=[music,weather]",),
        files=GOOD,
    ),
    Case(
        "data.labels.{} is {}; give null",
        ("data.labels={music:3,weather:null}",),
        (
            "data.labels={music:null,weather:null}",
            "data.labels={music:songs,weather:null}",
            "data.labels={music:{word:songs,description:of music},weather:null}",
        ),
        about=("data.labels.music",),
        files=GOOD,
    ),
    Case(
        "data.labels.{}: {}",
        ("data.labels={music:{name:songs},weather:null}",),
        ("data.labels={music:{word:songs},weather:null}",),
        about=("data.labels.music",),
        files=GOOD,
    ),
    Case(
        "listing every label in data.labels is enough",
        (),
        (("shots=0", "data.labels=[music,weather,sport]"),),
        files={
            **GOOD,
            "validation.jsonl": jsonl(*two_classes(4, 5), {"text": "a goal", "label": "sport"}),
        },
    ),
    Case(
        "{}, or, if they are right, list them all",
        ("data.label_column=own",),
        ("data.label_column=label", f"data.labels=[{OWN}]"),
        files={
            "train.jsonl": jsonl(*MANY[:80]),
            "validation.jsonl": jsonl(*({**one, "own": MANY[0]["own"]} for one in MANY[80:86])),
            "test.jsonl": jsonl(*({**one, "own": MANY[0]["own"]} for one in MANY[86:94])),
        },
    ),
    Case(
        "Write each in one way, or keep them apart: {}",
        (),
        ("data.labels=",),
        files={
            **GOOD,
            "train.jsonl": jsonl(
                *two_classes(0, 4),
                {"text": "opera tickets", "label": "Music"},
                {"text": "opera seats", "label": 'it\'s "on"'},
            ),
        },
    ),
    Case(
        "The teacher reads one word for several",
        (),
        ("data.labels={music_on:null,MusicOn:{word:loud},weather:null}",),
        files={
            **GOOD,
            **{
                f"{split}.jsonl": jsonl(
                    *(
                        {
                            **one,
                            "label": {
                                "music": ("music_on", "MusicOn")[len(str(one["text"])) % 2]
                            }.get(str(one["label"]), one["label"]),
                        }
                        for one in two_classes(*cut)
                    )
                )
                for split, cut in {"train": (0, 4), "validation": (4, 5), "test": (5, 6)}.items()
            },
        },
    ),
    Case(
        "{} {} used as {}, but may mark missing",
        (),
        ("data.labels=",),
        files={
            **GOOD,
            "train.jsonl": jsonl(
                *two_classes(0, 4),
                {"text": "opera tickets", "label": "n/a"},
                {"text": "opera seats", "label": "n/a"},
            ),
        },
    ),
    # What cleaning leaves, and what is cut from it.
    Case(
        ", or keep near duplicates: data.near_threshold=1",
        (),
        ("data.near_threshold=",),
        files=NEAR,
    ),
    Case(
        "data.near_threshold=1 keeps the {}",
        (),
        ("data.near_threshold=",),
        files={**NEAR, "train.jsonl": str(NEAR["train.jsonl"]) + jsonl(*two_classes(0, 4))},
    ),
    Case(
        "data.validation_share is {}; it must",
        ("data.validation_share=1",),
        ("data.validation_share=0.5",),
        files={name: text for name, text in GOOD.items() if name[0] != "v"},
    ),
    Case(
        "cut off less: data.validation_share={}",
        ("shots=19",),
        ("data.validation_share=", "shots=18"),
        about=("data.splits.validation",),
        files={
            "train.jsonl": jsonl(
                *(
                    {"text": f"{word} {kind} {word[::-1]}", "label": kind}
                    for kind in ("music", "weather")
                    for word in ODD
                )
            ),
            "test.jsonl": GOOD["test.jsonl"],
        },
    ),
    Case(
        "The pool of '{}' has no gold labels",
        ("training.gold=pool",),
        (("training.gold=", "evaluate.supervised="),),
        files={
            **with_key(label="none"),
            "validation.jsonl": GOOD["validation.jsonl"],
            "test.jsonl": GOOD["test.jsonl"],
            "shots.jsonl": jsonl(*two_classes(3, 4)),
        },
    ),
    Case(
        "has no labels (columns: {}), and '{}' has no shots",
        (),
        ("data.label_column=kind",),
        about=("data.label_column",),
        files={
            **every(lambda one: {**one, "kind": one["label"]}),
            "train.jsonl": with_key(label="kind")["train.jsonl"],
        },
    ),
    Case(
        ("data.labels does not list it", "add it to data.labels."),
        ("data.labels=[music,weather]",),
        ("data.labels=[music,weather,sport]",),
        files={
            **GOOD,
            "train.jsonl": jsonl(
                *two_classes(0, 4),
                {"text": "a late goal", "label": "sport"},
                {"text": "two cups won", "label": "sport"},
            ),
        },
    ),
    Case(
        "list every one of them in data.labels.",
        (),
        (f"data.labels=[{LONG}]",),
        files=every(
            lambda one: (
                {
                    **one,
                    "label": one["label"] + " of a kind" * 30,
                    # The same label with other letters, for one text of train.
                }
                if one["text"] != MUSIC[0]
                else {**one, "label": ("Music" + " of a kind" * 30)}
            )
        ),
    ),
    Case(
        "data.format: {}",
        ("data.format=jsnl",),
        ("data.format=jsonl",),
        by="object",
        files=GOOD,
    ),
    Case(
        "{} For your own data: data=files",
        ("data=snips", "data.name=snaps", "-data.path"),
        (("-data.name", "data=files", "data.path=mine"),),
        by="object",
        files=GOOD,
    ),
    Case(
        "LLM-DA keeps the entities of the shots",
        ("method=llm_da", "training.gold=pool", "shots=0", "data.labels=[PER]"),
        ("method=",),
        by="begin files",
        task="ner",
        files={**NAMES, **NO_NAMES},
    ),
    Case(
        "LLM-DA keeps the entities of the shots",
        ("method.n_init=4", "training.gold=pool", "shots=0", "data.labels=[PER]"),
        ("method.n_init=",),
        by="begin files",
        task="ner",
        files={**NAMES, **NO_NAMES},
    ),
    Case(
        "method.n_init={} asks for variants of shots",
        (
            *("method.n_init=4", "method.init=paraphrase", "training.gold=pool", "shots=0"),
            "data.labels=[PER]",
        ),
        ("method.n_init=",),
        by="begin files",
        task="ner",
        files={**NAMES, **NO_NAMES},
    ),
    Case(
        "%d of %d texts have no span candidate",
        ("method=llkd", "labelling.candidates=[capitals]"),
        ("labelling.candidates=", "labelling.candidates=[ngrams]"),
        by="begin files",
        task="ner",
        files={**NAMES, "train.jsonl": jsonl(*SMALL)},
    ),
]
