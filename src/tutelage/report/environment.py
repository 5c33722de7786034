"""What every page of ours has: templates that escape, a policy that lets in nothing from outside, and one way to write a number."""

from __future__ import annotations

import base64
import hashlib
import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_MISSING = "\N{EN DASH}"


def page_environment(templates: Path, script: str = "") -> Environment:
    """The templates of a folder: they escape what they are given and fail on a name that is not there.

    They know our filters of numbers, ``style``, and ``csp``, which lets in no network, no frame, and no script but ``script``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": _percent,
        "count": _count,
        "duration": duration,
        "points": _points,
        "moment": _moment,
        "signed": _signed,
        "p": _p,
    }
    made.globals |= {
        "csp": _policy(script),
        "style": Markup((Path(__file__).parent / "report.css").read_text(encoding="utf-8")),
    }
    return made


def _policy(script: str) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    if not script:
        return policy
    return f"{policy} script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}';"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _percent(value: float | None) -> str:
    return _MISSING if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _signed(count: int) -> str:
    return f"{count:+,}".replace("-", "\N{MINUS SIGN}") if count else "0"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _MISSING if value is None else str(value)


def _p(value: float) -> str:
    return _MISSING if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _moment(value: Any) -> str:
    """An ISO time without its T and its fractions of a second; anything else as it is."""
    try:
        return datetime.fromisoformat(str(value)).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    except ValueError:
        return str(value or "")
