"""Rows of csv and tsv files: separators, quotes, and rows that a stray quote swallows."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.headers import Names
from tutelage.data.separated import read_separated
from tutelage.errors import DataError

LABELS = ["food", "music", "weather"]
HEADER = ["text", "label"]
# Without letters of the labels: a text must not look like a row.
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeffoue"), min_size=1)
TABLES = st.lists(st.tuples(CELLS, st.sampled_from(LABELS)), min_size=1)


def written(rows: list[tuple[str, str]], quoting: int = csv.QUOTE_MINIMAL, sep: str = ",") -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=sep, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows([HEADER, *rows])
    return buffer.getvalue()


def values(text: str, format: str = "csv") -> list[list[str]]:
    return [row for _, row in read_separated("f", text, format).rows]


@given(TABLES, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_a_csv_writer_wrote_is_read(rows: list[tuple[str, str]], quoting: int) -> None:
    text = written(rows, quoting)
    assert values(text) == [list(row) for row in rows]
    assert values(text.replace("\n", "\r\n")) == [
        [cell.replace("\n", "\r\n") for cell in row] for row in rows
    ]


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters='\r\n\0\ufeff\t"'), min_size=1)


@given(st.lists(st.tuples(PLAIN, st.sampled_from(LABELS)), min_size=1))
def test_a_tsv_without_quotes_is_read_as_it_stands(rows: list[tuple[str, str]]) -> None:
    text = "".join("\t".join(row) + "\n" for row in [HEADER, *rows])
    found = read_separated("f", text, "tsv")
    assert ([row for _, row in found.rows], found.warnings) == ([list(row) for row in rows], [])


QUOTED = [
    ('she said "hi": will it rain', "weather"),
    ("two\nlines", "music"),
    ("a\ttab", "food"),
    ("nothing to quote", "food"),
]


@pytest.mark.parametrize(
    "rows", [QUOTED, QUOTED[:1], QUOTED[1:2], QUOTED[2:3], [QUOTED[0], QUOTED[3]]]
)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_tsv_with_the_quotes_of_csv_is_recognised(
    rows: list[tuple[str, str]], quoting: int
) -> None:
    found = read_separated("f", written(rows, quoting, "\t"), "tsv")
    assert [row for _, row in found.rows] == [list(row) for row in rows]
    assert found.warnings == ["f: the quotes around its fields were read as those of csv."]


def test_a_tsv_of_excel_quotes_fields_with_commas() -> None:
    text = 'text\tlabel\r\n"first, second"\tfood\r\nplain\tmusic\r\n'
    assert values(text, "tsv") == [["first, second", "food"], ["plain", "music"]]


@pytest.mark.parametrize(
    ("cells", "warned"),
    [
        (['"open quote, never closed', "b"], False),
        (['5" nails', "b"], False),
        (['"Great!"', "Great!", "so, so"], True),
        (['"quoted" and more', "b"], False),
        (['"I went', "b", 'home"'], True),  # two stray quotes, with rows between them
    ],
)
def test_a_tsv_whose_quotes_are_characters_keeps_them(cells: list[str], warned: bool) -> None:
    text = "".join(
        f"{cell}\t{label}\n" for cell, label in zip(["text", *cells], "labc", strict=False)
    )
    found = read_separated("f", text, "tsv")
    assert [row[0] for _, row in found.rows] == cells
    assert bool(found.warnings) is warned
    assert all("write csv or jsonl" in warning for warning in found.warnings)


@pytest.mark.parametrize("line", ["a\tb\tweather", "alone"])
def test_a_tsv_row_of_another_width_is_told_to_change_the_format(line: str) -> None:
    with pytest.raises(
        DataError,
        match=r"f:3: \d fields?, but the header has 2 \(text, label\)\. "
        r"Texts in a tsv file cannot contain tabs or line breaks; write csv or jsonl",
    ):
        read_separated("f", f"text\tlabel\na\tfood\n{line}\n", "tsv")
    # The advice, done.
    assert values(written([("a\tb", "weather")])) == [["a\tb", "weather"]]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_read_and_told(separator: str) -> None:
    rows = [("I went, home", "food"), ('say "hi"', "music")]
    found = read_separated("f", written(rows, sep=separator), "csv")
    assert [row for _, row in found.rows] == [list(row) for row in rows]
    assert "between its fields, not commas" in found.warnings[0]
    assert values("text,label\na,food\n", "tsv") == [["a", "food"]]
    assert values(f"sep={separator}\r\ntext{separator}label\r\na{separator}food\r\n") == [
        ["a", "food"]
    ]


def test_a_separator_that_fits_some_rows_only_is_named() -> None:
    with pytest.raises(
        DataError,
        match=r"f:1: the header is the single column 'text;label'. It may be meant to be separated "
        r"by semicolons, but then rows differ",
    ):
        read_separated("f", "text;label\na;food\nb; c;music\n", "csv")


def test_a_single_column_needs_no_separator() -> None:
    assert values("text\nhello; there\n") == [["hello; there"]]
    assert values('"text; or so"\nhello\n'.replace("; or so", "")) == [["hello"]]


def test_lines_are_those_where_rows_begin() -> None:
    text = 'text,label\n"one\ntwo, or so\nthree",food\n\nfour,music\n'
    assert read_separated("f", text, "csv").rows == [
        (2, ["one\ntwo, or so\nthree", "food"]),
        (6, ["four", "music"]),
    ]
    with pytest.raises(DataError, match=r"f:6: 1 field, but the header has 2"):
        read_separated("f", text.replace("four,music", "four"), "csv")


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["a,food", '"open,food', "b,food", "c,music"], r"f:3: .*unexpected end of data in line 5"),
        (["a,food", '"open,food', 'b "said" so,x'], r"f:3: .*expected after .* in line 4"),
        (['"two\nlines","open', "b,food"], r"f:3: .*unexpected end of data in line 4"),
        (['"closed ""well""","open\n""\n', "b"], r"f:2: "),
    ],
)
def test_an_open_quote_is_named_where_it_opens(lines: list[str], place: str) -> None:
    with pytest.raises(DataError, match=f"^{place}"):
        read_separated("f", "\n".join(["text,label", *lines]), "csv")


@pytest.mark.parametrize("format", ["csv", "tsv"])
@pytest.mark.parametrize("header", ["text,label,label", "label,text, label", "a,a,text"])
def test_a_repeated_column_is_named(format: str, header: str) -> None:
    text = f"{header}\nx,y,z\n".replace(",", "," if format == "csv" else "\t")
    with pytest.raises(
        DataError, match=r"f:1: the header has the column '(label|a)' more than once"
    ):
        read_separated("f", text, format)


def test_columns_without_a_name_may_be_repeated() -> None:
    assert read_separated("f", "text,label,,\na,food,,\n", "csv").header == [
        "text",
        "label",
        "",
        "",
    ]


def swallowing(rows: list[list[str]], first: int, last: int, column: int) -> str:
    """Rows joined by commas, with a stray quote before one cell and one after a later cell."""
    rows = [list(row) for row in rows]
    rows[first][column] = '"' + rows[first][column]
    rows[last][column] += '"'
    return "".join(",".join(row) + "\n" for row in rows)


@pytest.mark.parametrize("order", ["text,label", "label,text", "id,text,label", "text,id"])
@pytest.mark.parametrize("length", [1, 3])
def test_rows_swallowed_by_a_quote_are_told_with_their_line(order: str, length: int) -> None:
    columns = order.split(",")
    made = [
        {"text": f"the soup was cold {n}", "label": LABELS[n % 3], "id": str(n)} for n in range(16)
    ]
    text = swallowing(
        [columns, *([row[name] for name in columns] for row in made)],
        5,
        5 + length,
        columns.index("text"),
    )
    (warning,) = read_separated("f", text, "csv").warnings
    assert warning.startswith(
        f"f:6: a quoted field spans {length + 1} lines, each of which would be a row by itself"
    )
    assert "quote all texts, or write jsonl" in warning


def test_a_file_that_loses_most_of_its_rows_is_refused() -> None:
    rows = [["text", "label"], *([f"the soup was cold {n}", LABELS[n % 3]] for n in range(16))]
    with pytest.raises(
        DataError, match=r"^f:3: a quoted field spans 9 lines.*8 of 16 rows would be lost"
    ):
        read_separated("f", swallowing(rows, 2, 10, 0), "csv")


def test_texts_of_several_lines_are_not_taken_for_rows() -> None:
    poem = "Dear Sir, I write\nabout the soup, the cold one\nand the bill"
    rows = [(poem, "food"), ("short", "music"), (poem.replace("\n", ", so\n"), "weather")] * 5
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        assert read_separated("f", written(rows, quoting), "csv").warnings == []


def test_long_fields_are_read_and_the_limit_of_the_process_stays() -> None:
    before = csv.field_size_limit()
    assert values(written([("word " * 60_000, "food")]))[0][0] == "word " * 60_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("quoted_header", [False, True])
@given(rows=TABLES, spaced=st.integers(0, 99))
def test_quotes_after_a_space_enclose_fields(
    rows: list[tuple[str, str]], spaced: int, separator: str, quoted_header: bool
) -> None:
    # The label first, so that the text follows a space; some lines are written without it.
    blank = separator + " "
    lines = [
        label + (separator if spaced % (at + 2) else blank) + '"' + text.replace('"', '""') + '"'
        for at, (text, label) in enumerate(rows)
    ]
    header = f'"label"{blank}"text"' if quoted_header else f"label{separator}text"
    found = read_separated("f", "\n".join([header, *lines]), "csv")
    assert found.header == ["label", "text"]
    assert [row for _, row in found.rows] == [[label, text] for text, label in rows]
    assert [one for one in found.warnings if "semicolons" not in one and "spans" not in one] == (
        [one for one in found.warnings if "a space stands before a quote" in one]
    )
    if any(f'{blank}"' in line.split("\n")[0] for line in [header, *lines]):
        assert any("a space stands before a quote" in one for one in found.warnings)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_names_in_quotes_may_have_another_separator(separator: str) -> None:
    found = read_separated("f", written(QUOTED, csv.QUOTE_ALL, separator), "csv")
    assert (found.header, [row for _, row in found.rows]) == (HEADER, [list(one) for one in QUOTED])
    assert "between its fields, not commas" in found.warnings[0]


def test_the_first_line_with_a_space_before_a_quote_is_named() -> None:
    text = 'text,label\n"a, b","x"\n"c, d", "x"\n'
    found = read_separated("f", text, "csv")
    assert [row for _, row in found.rows] == [["a, b", "x"], ["c, d", "x"]]
    assert found.warnings[0].startswith("f:3: a space stands before a quote; the quotes of such")


@pytest.mark.parametrize(
    ("line", "field", "warned"),
    [
        # A field that holds a space and quotes; a text with a quotation; both kinds mixed.
        ('x," ""so"""', ' "so"', False),
        ('x, "so" she said', ' "so" she said', False),
        ('x, "so" she said\ny, "so"', ' "so" she said', True),
    ],
)
def test_quotes_that_belong_to_a_text_stay(line: str, field: str, warned: bool) -> None:
    found = read_separated("f", f"label,text\n{line}\n", "csv")
    assert found.rows[0][1][1] == field
    assert [one[:40] for one in found.warnings] == (
        ["f:3: a field begins with a space and a q"] if warned else []
    )


ROWS = "play a tune,music\nwill it rain,weather\nsing to me,music\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS, r"^f:1: .* since 'music' occurs .* above it: text,label$"),
        (
            "1,music,play a tune\n2,music,sing\n",
            r"'music' .*: column1,label,text$",
        ),
        ("play a nice tune\nsing\n", r"^f:1: there is no column 'text'.*data.text_column=…$"),
        (f"Exported on Monday\n\ntext,label\n{ROWS}", r"^f:3 looks like the header.*lines above"),
        (f"Exported,\n,\n'x',\n\"text\",label\n{ROWS}", r"^f:4 looks like the header"),
    ],
)
def test_a_header_that_is_missing_or_lies_below_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_separated("f", text, "csv", Names("text", "label"))


@pytest.mark.parametrize(
    "text", [f"text,label\n{ROWS}", f"text,label\nx,text\n{ROWS}", "body\nx\n"]
)
def test_any_other_header_is_taken(text: str) -> None:
    assert read_separated("f", text, "csv", Names("text", "label")).warnings == []
