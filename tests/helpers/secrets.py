"""Plants secrets where a run could pick them up, and searches its files and output for them."""

from __future__ import annotations

from pathlib import Path

import pytest

SECRETS = {
    name: f"canary-{name.lower().replace('_', '-')}-5f3a"
    for name in (
        "WANDB_API_KEY",
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "TUTELAGE_CANARY",
    )
}
"""Environment variables and their values."""

CONFIGURED = (
    "+teacher.hub_token=${oc.env:TUTELAGE_CANARY}",
    "+teacher.api_key=${oc.env:TUTELAGE_CANARY}",
)
"""Overrides that put a secret into the configuration; the scripted teachers take any setting."""


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the secrets into the environment."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def leaks(folder: Path, *printed: str) -> list[tuple[str, str]]:
    """Finds secrets in the files of ``folder`` and in ``printed``: (source, variable) pairs."""
    contents = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert contents
    contents |= {f"printed {number}": text.encode() for number, text in enumerate(printed)}
    return [
        (source, name)
        for source, content in contents.items()
        for name, value in SECRETS.items()
        if value.encode() in content
    ]
