"""Secrets that are planted where a run could pick them up, and looked for in everything that it leaves."""

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
"""Variables of the environment with their values."""

CONFIGURED = (
    "+student.hub_token=${oc.env:TUTELAGE_CANARY}",
    "+training.api_key=${oc.env:TUTELAGE_CANARY}",
)
"""Overrides of a run whose configuration holds one of them."""


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the secrets into the environment."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def leaks(folder: Path, *printed: str) -> list[tuple[str, str]]:
    """Where below ``folder``, or in what was ``printed``, a secret stands, and which."""
    indices = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert indices
    indices |= {f"printed {number}": text.encode() for number, text in enumerate(printed)}
    return [
        (index, name)
        for index, content in indices.items()
        for name, value in SECRETS.items()
        if value.encode() in content
    ]
