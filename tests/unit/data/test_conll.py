"""CoNLL files: any order of columns, every tagging scheme, comments, and located errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.data.folders import folder

from tutelage.data.conll import Sentence, check_lengths, looks_tagged, read_sentences
from tutelage.data.sources import load_files
from tutelage.errors import ConfigError, DataError
from tutelage.tasks.spans import Span, read_spans

TWO = "Anna B-PER\nleft O\n\nUlm B-LOC\n"


def test_words_tags_and_places() -> None:
    assert read_sentences("f", TWO) == [
        Sentence(["Anna", "left"], ["B-PER", "O"], "f:1"),
        Sentence(["Ulm"], ["B-LOC"], "f:4"),
    ]
    assert read_sentences("f", TWO.replace("\n", "\r\n")) == read_sentences("f", TWO)
    assert read_sentences("f", "\n \n" + TWO.replace("\n\n", "\n \t\n\n").rstrip()) == [
        Sentence(["Anna", "left"], ["B-PER", "O"], "f:3"),
        Sentence(["Ulm"], ["B-LOC"], "f:7"),
    ]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("EU NNP B-NP B-ORG\nsaid VBD B-VP O", (0, -1)),
        ("EU NNP B-NP B-ORG\nsaid VBD B-VP O", (-4, 3)),
        ("1\tEU\tB-ORG\t_\n2\tsaid\tO\t_", (1, 2)),
        ("B-ORG   EU\nO \t said", (1, 0)),
        ("B-ORG\tEU\nO said", (-1, 0)),
    ],
)
def test_columns_stand_where_the_settings_say(text: str, numbers: tuple[int, int]) -> None:
    assert [(one.words, one.tags) for one in read_sentences("f", text, *numbers)] == [
        (["EU", "said"], ["B-ORG", "O"])
    ]


def test_remarks_and_document_starts_are_passed_over() -> None:
    text = (
        "# id 12\tdomain=en\n-DOCSTART- -X- -X- O\n\n# sent_id = 1\n# O\n#\tB-MISC\n#tag O\n"
        "# note\n-DOCSTART- O\nUlm B-LOC\n-DOCSTART-\n# a b c d\n"
    )
    assert [(one.words, one.tags) for one in read_sentences("f", text)] == [
        (["#", "#", "#tag"], ["O", "B-MISC", "O"]),
        (["Ulm"], ["B-LOC"]),
    ]
    assert read_sentences("f", "# O\n") == [Sentence(["#"], ["O"], "f:1")]
    assert read_sentences("f", "# only remarks\n\n") == []


def test_a_remark_needs_no_space_after_its_sign() -> None:
    text = (
        "#id 1\n#sent_id = 2 x\n#\nAnna B-PER\n#hashtag O\n#hashtag B-MISC\n#note 2\n#hashtag\n"
        "##\n\n#id 3\nUlm B-LOC\n"
    )
    assert read_sentences("f", text) == [
        Sentence(["Anna", "#hashtag", "#hashtag"], ["B-PER", "O", "B-MISC"], "f:4"),
        Sentence(["Ulm"], ["B-LOC"], "f:12"),
    ]
    assert read_sentences("f", "#id\t1\n1\tUlm\tB-LOC\n#text of it\n2\t#x\tO\n", 1) == [
        Sentence(["Ulm", "#x"], ["B-LOC", "O"], "f:2")
    ]
    assert read_sentences("f", "#x O\n#id 1\n") == [Sentence(["#x"], ["O"], "f:1")]
    assert read_sentences("f", "#id 1\nAnna\n#tag\n") == [Sentence(["Anna", "#tag"], None, "f:2")]


def test_a_file_of_one_column_has_no_tags() -> None:
    assert read_sentences("f", "# a remark\nAnna\n#\n\nUlm\n") == [
        Sentence(["Anna", "#"], None, "f:2"),
        Sentence(["Ulm"], None, "f:5"),
    ]


def test_a_word_may_hold_what_ends_lines_elsewhere() -> None:
    assert read_sentences("f", "a\u00a0b\tO\n\u200b\tO")[0].words == ["a\u00a0b", "\u200b"]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1),
                st.sampled_from(["O", "B-X", "I-X"]),
            ),
            min_size=1,
        ),
        min_size=1,
    )
)
def test_what_was_written_is_read(sentences: list[list[tuple[str, str]]]) -> None:
    text = "\n\n".join(
        "\n".join(f"{word}\t{tag}" for word, tag in sentence) for sentence in sentences
    )
    assert [
        list(zip(one.words, one.tags or (), strict=True)) for one in read_sentences("f", text)
    ] == sentences


@pytest.mark.parametrize(
    ("text", "numbers", "message"),
    [
        ("Anna B-PER\nleft\n", (0, -1), r"^f:2: 1 column, but line 1 has 2; it reads 'left'"),
        ("# hm\nAnna O\nNew York B-LOC\n", (0, -1), r"^f:3: 3 columns, but line 2 has 2"),
        (
            "Anna O\nsaw VBD\n",
            (0, -1),
            r"^f:2: 'VBD' is not a tag of IOB1, IOB2 or BIOES.*data.tag_column_number=",
        ),
        ("Anna O\n\tO\n", (0, -1), r"^f:2: '' is not a word"),
        ("Anna O\nNew York\tB-LOC\n", (0, -1), r"^f:2: 'New York' is not a word"),
        (
            "Anna O\n",
            (0, 2),
            r"^f:1: 2 columns, so there is none with data.tag_column_number=2 \(the first is 0",
        ),
        ("Anna\n", (1, -1), r"^f:1: 1 column, so there is none with data.word_column_number=1"),
        ("Anna O\n", (-3, 1), r"^f:1: 2 columns, so there is none with data.word_column_number=-3"),
    ],
)
def test_a_broken_line_is_named(text: str, numbers: tuple[int, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_sentences("f", text, *numbers)


def test_words_and_tags_cannot_be_one_column() -> None:
    with pytest.raises(
        ConfigError,
        match=r"word_column_number=1 and data.tag_column_number=-1 "
        r"select the same one of the 2 columns of f",
    ):
        read_sentences("f", TWO, 1, -1)


def of_words(*counts: int) -> list[Sentence]:
    return [Sentence(["a"] * count, None, f"f:{number}") for number, count in enumerate(counts, 1)]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            [100],
            r"^f has no empty line between sentences: the one that begins at f:1 has 100 words",
        ),
        ([3_117], r"begins at f:1 has 3,117 words. Put an empty line after each sentence"),
        ([20, 501, 30], r"^f lacks empty lines: 501 of its 551 words .* begins at f:2 has 501"),
        ([20] * 200 + [5_000], r"^f lacks empty lines: 5,000 of its 9,000 words"),
    ],
)
def test_a_file_without_empty_lines_is_refused(counts: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_lengths("f", of_words(*counts))


@pytest.mark.parametrize(
    ("counts", "warning"),
    [
        ([], ""),
        ([99], ""),
        ([250, 3], ""),
        ([300, 260, 3], r"f: 2 of 3 sentences have more than 250 words; the one .* f:1 has 300"),
        ([20] * 200 + [900], r"f: 1 of 201 sentences .* f:201 has 900 words. Empty lines are perh"),
    ],
)
def test_a_few_long_sentences_are_told(counts: list[int], warning: str) -> None:
    assert [bool(re.match(warning, one)) for one in check_lengths("f", of_words(*counts))] == (
        [True] if warning else []
    )


def test_the_lengths_reach_the_user(tmp_path: Path) -> None:
    long = "".join(f"word{n} O\n" for n in range(300))
    data = load_files(
        written(tmp_path, train=f"Anna B-PER\nleft O\n\nUlm B-LOC\n\n{long}"), kind="ner"
    )
    assert "train.conll: 1 of 3 sentences have more than 250 words" in data.warnings[0]
    (tmp_path / "train.conll").write_text(long, encoding="utf-8")
    with pytest.raises(DataError, match=r"train.conll has no empty line between sentences"):
        load_files(tmp_path, kind="ner")


def test_words_alone_need_no_valid_tags() -> None:
    assert read_sentences("f", "Anna NN\n#x VB\n\nUlm NN\n# a note\n", tag_number=None) == [
        Sentence(["Anna", "#x"], None, "f:1"),
        Sentence(["Ulm"], None, "f:4"),
    ]
    with pytest.raises(DataError, match=r"there is none with --words-column 2 \(the first"):
        read_sentences("f", "Anna NN\n", 2, None, "--words-column ")


@pytest.mark.parametrize(
    ("text", "tagged"),
    [
        (TWO, True),
        ("-DOCSTART- O\n\n# id 1\nAnna NNP B-PER\n", True),
        ("I am in Group O\nAnna left\n", False),
        ("a text\n", False),
        ("O\nB-PER\n", False),
        ("\n", False),
    ],
)
def test_words_with_tags_are_told_from_texts(text: str, tagged: bool) -> None:
    assert looks_tagged(text) is tagged


def written(tmp_path: Path, ending: str = ".conll", **files: str) -> Path:
    given_files = {
        "train": "Anna I-PER\nleft O\n\nthe O\nUlm I-LOC\nBonn B-LOC\n",
        "dev": "Olga S-PER\nsaw O\nNew B-LOC\nYork E-LOC\n",
        "test": "Peter B-PER\nPan I-PER\nflew O\naway O\n",
        **files,
    }
    for name, text in given_files.items():
        (tmp_path / f"{name}{ending}").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("ending", [".conll", ".iob", ".iob2", ".bio", ".txt"])
def test_a_folder_of_column_files_in_any_scheme(tmp_path: Path, ending: str) -> None:
    data = load_files(written(tmp_path, ending), kind="ner")
    assert [example.text for example in data.pool] == ["Anna left", "the Ulm Bonn"]
    assert read_spans(data.pool_gold[data.pool[1].id]) == (Span(1, 2, "LOC"), Span(2, 3, "LOC"))
    assert [(one.text, read_spans(one.label or "")) for one in (*data.dev, *data.test)] == [
        ("Olga saw New York", (Span(0, 1, "PER"), Span(2, 4, "LOC"))),
        ("Peter Pan flew away", (Span(0, 2, "PER"),)),
    ]
    assert [label.name for label in data.labels] == ["LOC", "PER"]
    assert load_files(tmp_path, kind="ner", format="conll").digest == data.digest


def test_the_numbers_reach_the_reader(tmp_path: Path) -> None:
    turned = {
        name: "\n".join(" ".join(reversed(line.split())) for line in text.split("\n"))
        for name, text in {
            "train": "Anna B-PER\nleft O\n",
            "dev": "Olga B-PER\n",
            "test": "Peter B-PER\n",
        }.items()
    }
    data = load_files(
        written(tmp_path, **turned), kind="ner", word_column_number=1, tag_column_number=0
    )
    assert data.pool[0].text == "Anna left"
    with pytest.raises(DataError, match=r"train.conll:1: 'Anna' is not a tag"):
        load_files(tmp_path, kind="ner")


def test_an_unlabelled_pool_of_words_with_shots(tmp_path: Path) -> None:
    path = written(
        tmp_path, train="they\nleft\n\nwe\nstayed\nhere\n", shots="Ann B-PER\n\nBonn B-LOC\n"
    )
    data = load_files(path, kind="ner")
    assert ([example.text for example in data.pool], data.pool_gold) == (
        ["they left", "we stayed here"],
        {},
    )
    assert {shot.text for shot in data.shots(1, seed=0)} == {"Ann", "Bonn"}
    (path / "shots.conll").unlink()
    with pytest.raises(
        DataError, match=r"train.conll has no labels .*data.tags_column= .*named shots"
    ):
        load_files(path, kind="ner")


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test.conll has one column, so it has words but no tags"):
        load_files(written(tmp_path, test="no\ntags\n"), kind="ner")
    with pytest.raises(DataError, match=r"test.conll has no rows"):
        load_files(written(tmp_path, test="# a remark\n"), kind="ner")
    with pytest.raises(
        DataError,
        match=r"train.conll contains words with entity tags, "
        r"but the task is classification. Set task=ner",
    ):
        load_files(tmp_path)


def test_a_classification_run_does_not_take_txt_for_columns(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"has no train file .*contains: .*train.txt\. A "
        r".txt file with words and tags needs task=ner",
    ):
        load_files(written(tmp_path, ".txt"))
    folder(tmp_path)
    assert len(load_files(tmp_path).pool) == 16
    with pytest.raises(DataError, match=r"more than one train file: train.jsonl, train.txt"):
        load_files(tmp_path, kind="ner")


@pytest.mark.parametrize(
    ("line", "tag_number", "setting", "column"),
    [
        ("{0} {1} O", -1, "data.word_column_number=", 1),
        ("{0} {1} NN O", None, "--words-column ", 1),
        ("{0} {0} {1} O", -1, "data.word_column_number=", 2),
        ("{0} O {1}", 1, "data.word_column_number=", 2),
    ],
)
def test_numbers_of_words_are_not_taken_for_words(
    line: str, tag_number: int | None, setting: str, column: int
) -> None:
    words = ["Anna", "left", "Rome", "in", "1984"]
    text = "\n".join(line.format(at, word) for at, word in enumerate(words, start=1))
    with pytest.raises(DataError, match=rf"^f: column 0 has hardly.*Set {setting}{column}$"):
        read_sentences("f", text, 0, tag_number, setting)
    assert read_sentences("f", text, column, tag_number)[0].words == words


def test_words_may_be_numbers_where_nothing_else_can_be_words() -> None:
    assert read_sentences("f", "12 O\n13 O\n")[0].words == ["12", "13"]
    assert read_sentences("f", "12 O\n13 B-X\n", 0, None)[0].words == ["12", "13"]
    assert read_sentences("f", "12\n13\n")[0].words == ["12", "13"]
