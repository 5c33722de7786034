"""The command line and the configuration refuse secrets without repeating them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.config.compose import compose_config
from tutelage.config.secrets import refuse_secrets
from tutelage.errors import ConfigError


@pytest.mark.parametrize(
    "override",
    [
        "+teacher.api_key=canary",
        "+teacher.api_key='canary'",
        "+teacher.api_key=${oc.env:NAME,canary}",
        "+student.hub={a: 1, accessToken: canary}",
        '+student.hub={"token": canary}',
        "+student.hub=[{x: {my_secret: canary}}]",
        "+teacher.headers=['Accept: text/plain','Authorization: Bearer canary']",
        "+teacher.headers={X-Api-Key: canary}",
        "+training.password=canary",
        "+hydra.job.env_set.HF_TOKEN=canary",
        "teacher.url=http://canary@host/v1",
        "teacher.url=http://a:8000/v1,http://b:8000/v1?key=canary",
        "name=sk-canary0123456789",
        "sk-canary0123456789",
        "+sk-canary0123456789=1",
        "+data.labels_of={token: canary}",
        "teacher.api_key_env=sk-canary0123456789",
        "teacher.api_key_env='canary canary'",
    ],
)
def test_a_secret_is_refused_and_not_repeated(override: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config([override])
    assert "canary" not in str(refused.value)
    assert "written down with the run" in str(refused.value)


@pytest.mark.parametrize(
    "override",
    [
        "+teacher.api_key=${oc.env:NAME}",
        "+teacher.headers=['Authorization: Bearer ${oc.env:NAME}']",
        "+data.labels={password_reset: password}",
        "+data={labels: {token: token}}",
        "teacher.tokenizer=some/tokenizer",
        "method.max_tokens=40,80",
        "method.max_tokens=range(10,50,10)",
        "budget.tokens=null",
        "+prompt.cue_tokens=[Answer,Label]",
        "teacher.api_key_env=NAME",
        "~teacher.api_key_env",
        "--config-dir=somewhere",
        "-m",
    ],
)
def test_what_only_sounds_secret_is_taken(override: str) -> None:
    refuse_secrets([override])


@pytest.mark.parametrize(
    "value", ["sk-canary0123456789", "${oc.env:OWN_KEY}", "[OPENAI_API_KEY, sk-canary0123456789]"]
)
def test_a_key_instead_of_its_variable_is_refused_in_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("OWN_KEY", "sk-canary0123456789")
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "mine.yaml").write_text(
        f"defaults: [server]\nmodel: m\napi_key_env: {value}\n", encoding="utf-8"
    )
    monkeypatch.setenv("TUTELAGE_CONF", str(tmp_path))
    with pytest.raises(ConfigError, match=r"teacher\.api_key_env must be the NAME") as refused:
        compose_config(["teacher=mine"], import_targets=False)
    assert "canary" not in str(refused.value)
    assert "OPENAI_API_KEY" in str(refused.value)
    # What the message advises works.
    config = compose_config(["teacher=mine", "teacher.api_key_env=OPENAI_API_KEY"])
    assert config.teacher.settings["api_key_env"] == "OPENAI_API_KEY"
    config = compose_config(["teacher=mine", "teacher.api_key_env=[OPENAI_API_KEY,OWN_KEY]"])
    assert config.teacher.settings["api_key_env"] == ["OPENAI_API_KEY", "OWN_KEY"]
