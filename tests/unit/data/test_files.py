"""Files by their endings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.data.files import COMPRESSED, FORMATS, ending_of, format_of, is_txt, unknown_ending


@pytest.mark.parametrize("format", FORMATS)
def test_endings_name_formats_in_any_case_and_compressed(format: str) -> None:
    for ending in FORMATS[format]:
        for packed in ("", *COMPRESSED):
            for name in (f"train{ending}{packed}", f"train{ending}{packed}".upper()):
                assert format_of(Path(name)) == format
                assert ending_of(name) == ending + packed
                assert is_txt(Path(name)) is (ending == ".txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.log", r"a.log has the unknown ending '.log'. Known: .csv, .txt; each also compressed"),
        ("texts", r"texts has no ending that names its format"),
        ("a.gz", r"a.gz has the unknown ending '.gz'"),
        ("train.xlsx", r"is a spreadsheet, which cannot be read. Save the sheet as a CSV"),
        ("train.ODS", r"is a spreadsheet"),
        ("train.csv.zip", r"is an archive. Unpack it"),
        ("data.tar.gz", r"is an archive. Unpack it"),
    ],
)
def test_an_unknown_ending_is_named(name: str, message: str) -> None:
    assert format_of(Path(name)) == ""
    assert message in str(unknown_ending(Path(name), (".csv", ".txt")))
