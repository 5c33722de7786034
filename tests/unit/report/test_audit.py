"""The section of the label audit: what it counts and lists, and that texts stay texts."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.pages import HOSTILE, Page
from tests.helpers.run_folders import LABELS, build_run, write_jsonl

from tutelage.errors import RunError
from tutelage.report.audit import MOST_SHOWN, audit_section, split_line
from tutelage.report.html import write_report
from tutelage.runs.check_records import Audit, AuditedClass, AuditedSplit, Suspect
from tutelage.runs.read import read_run
from tutelage.terminal import print_audit

CLASSES = (AuditedClass(LABELS[0], 40, 8.0, 20, 5), AuditedClass(LABELS[1], 10, 0.0, 0, 0))
POOL = AuditedSplit("pool", 50, 8, 4, 3, ("classifier",))
DEV = AuditedSplit("dev", 30, 1, 0, 0, ("student",))
TEST = AuditedSplit("test", 90, 0, 0, 0, ("student", "teacher"))
AUDIT = Audit("rows", CLASSES, (POOL, DEV, TEST), 0.9, ("dev is <b>another</b>",))


def audited(folder: Path, suspects: list[Suspect], audit: Any = AUDIT) -> Path:
    (folder / "audit.json").write_text(json.dumps(asdict(audit)), encoding="utf-8")
    write_jsonl(folder / "audit.jsonl", [asdict(one) for one in suspects])
    return folder


def suspect(number: int, split: str = "pool", text: str = "a text", **more: str) -> Suspect:
    labels = {"label": LABELS[0], "suggested": LABELS[1], "why": f"reason {number}", **more}
    return Suspect(f"r{number}", text, split, probability=0.125, **labels)


def test_the_page_has_the_classes_and_the_suspects(tmp_path: Path, no_figures: None) -> None:
    folder = audited(build_run(tmp_path / "run"), [suspect(1), suspect(2, "dev")])
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "Label audit" in page.text
    assert split_line(POOL) == ("8 suspects among the labels of 50 texts; 3 of 4 are wrong by gold")
    assert all(split_line(one) in page.text for one in (POOL, DEV, TEST))
    assert "reason 1" in page.text
    assert "reason 2" in page.text
    assert "12.5" in page.text
    assert "25.0" in page.text, "5 of 20 labels of the first class are wrong by gold"


def test_without_an_audit_there_is_no_section(tmp_path: Path, no_figures: None) -> None:
    page = write_report(build_run(tmp_path / "run")).read_text(encoding="utf-8")
    assert 'id="audit"' not in page
    assert "#audit" not in page


def test_texts_make_no_markup_and_types_of_elsewhere_have_a_colour(
    tmp_path: Path, no_figures: None
) -> None:
    plain = Page(write_report(build_run(tmp_path / "plain")).read_text(encoding="utf-8"))
    hostile = [
        suspect(number, text=text, label=text, suggested=text, why=text)
        for number, text in enumerate(HOSTILE)
    ]
    folder = audited(build_run(tmp_path / "run"), hostile)
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert not any(tag in ("img", "b", "iframe") for tag, _ in page.tags if tag not in plain.text)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert "<b>another</b>" in page.text
    ner = build_ner_run(tmp_path / "ner")
    spans = {"label": '[[0, 1, "NOWHERE"]]', "suggested": "[]"}
    page = Page(write_report(audited(ner, [suspect(1, **spans)])).read_text(encoding="utf-8"))
    assert "NOWHERE" in page.text


def test_the_first_suspects_of_many_are_shown(tmp_path: Path) -> None:
    many = [suspect(number) for number in range(MOST_SHOWN + 5)]
    section = audit_section(read_run(audited(build_run(tmp_path / "run"), many)))
    assert section is not None
    assert [len(lines) for _, _, lines in section.splits] == [MOST_SHOWN, 0, 0]


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("audit.json", '{"units": "rows"}', "audit.json violates"),
        ("audit.json", "[]", "audit.json contains a list"),
        ("audit.jsonl", '{"id": "a"}\n{"id": "b"}', "audit.jsonl line 1 violates"),
    ],
)
def test_a_damaged_audit_is_named_and_the_report_goes_without(
    tmp_path: Path, no_figures: None, name: str, line: str, said: str
) -> None:
    folder = audited(build_run(tmp_path / "run"), [])
    (folder / name).write_text(line, encoding="utf-8")
    with pytest.raises(RunError, match=said):
        read_run(folder)
    assert said in Page(write_report(folder).read_text(encoding="utf-8")).text


def test_the_terminal_has_the_table_and_a_line_per_split() -> None:
    out = StringIO()
    print_audit(Console(file=out, width=120), AUDIT)
    said = out.getvalue()
    assert "5 of 20  25.0%" in said
    assert "8.0  20.0%" in said
    assert f"pool  {split_line(POOL)}" in said
    assert "dev is <b>another</b>" in said
    out = StringIO()
    unknown = Audit("words", (AuditedClass("PER", 7, 1.5, 0, 0),), (POOL,), 0.9, ())
    print_audit(Console(file=out, width=120), unknown)
    assert "wrong by gold" not in out.getvalue().partition("\n\n")[0]
