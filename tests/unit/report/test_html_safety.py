"""report.html is self-contained, and texts of models and data cannot inject markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from tests.helpers.pages import HOSTILE, Page

from tutelage.report import html
from tutelage.report.trail import script_json
from tutelage.runs.read import read_run


def test_nothing_points_outside(done: Path, hostile: Path) -> None:
    for path in (done, hostile):
        page = Page(path.read_text(encoding="utf-8"))
        for _, attributes in page.tags:
            for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                value = attributes.get(name)
                assert value is None or value.startswith("#") or value == "data:,", (name, value)
        source = path.read_text(encoding="utf-8")
        assert "@import" not in source
        assert not re.findall(r"url\((?!#)", source)
        assert "http://" not in source
        assert "https://" not in source


def test_the_policy_allows_only_our_script(done: Path) -> None:
    page = Page(done.read_text(encoding="utf-8"))
    policy = next(
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert "unsafe-eval" not in policy
    kinds = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert kinds == ["application/json", None]


def test_hostile_text_makes_no_markup(done: Path, hostile: Path) -> None:
    plain, page = Page(done.read_text(encoding="utf-8")), Page(hostile.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags} - {tag for tag, _ in plain.tags} == set()
    assert not any(tag == "img" for tag, _ in page.tags)
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert "</script><img src=x onerror=alert(1)>" in page.text
    assert "{{7*7}}" in page.text


def test_the_island_gives_back_what_the_pool_holds(hostile: Path) -> None:
    island = Page(hostile.read_text(encoding="utf-8")).scripts[0]
    assert not set("<>&\u2028\u2029") & set(island)
    data = json.loads(island)
    run = read_run(hostile.parent)
    assert [row["text"] for row in data["rows"]] == [row.text for row in run.rows]
    assert [row["why"] for row in data["rows"]] == [row.reason for row in run.rows]
    assert set(HOSTILE) & {row["text"] for row in data["rows"]}
    assert len(data["mistakes"]["1"]) == len(run.feedback_for(1)) > 0


def test_script_json_refuses_what_json_cannot_hold() -> None:
    assert script_json({"a": "</script>\u2028&"}) == '{"a":"\\u003c/script\\u003e\\u2028\\u0026"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json({"a": float("nan")})


def test_the_page_script_parses_no_markup() -> None:
    script = (Path(html.__file__).parent / "report.js").read_text(encoding="utf-8")
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "setAttribute",
    ):
        assert forbidden not in script


def test_the_template_marks_nothing_safe() -> None:
    template = (Path(html.__file__).parent / "report.html.j2").read_text(encoding="utf-8")
    assert "safe" not in re.findall(r"\|\s*(\w+)", template)
    assert "autoescape" not in template
