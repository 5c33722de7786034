"""What a run will ask and cost, before it is run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.teachers import LabelWritingTeacher
from tests.helpers.tiny import scripted
from tests.helpers.tiny_ner import ner_data, scripted_ner

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, TeacherError
from tutelage.plan import plan
from tutelage.teacher.base import GenerateRequest, Reply, ScoreRequest


def config(data: Path, cache: Path, *more: str) -> Any:
    return compose_config(
        [
            *scripted(cache.parent / "no-student", data, cache),
            "method.n_hard=4",
            "method.n_easy=4",
            "method.rounds=3",
            *more,
        ]
    )


def number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found, f"{pattern} is not in\n{text}"
    return float(found[1].replace(",", ""))


def test_a_plan_shows_prompts_tokens_and_the_whole_cost(
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan(config(small_data, tmp_path / "replies.sqlite")) == 0
    text = capsys.readouterr().out
    assert re.search("^─+ generation ─+$", text, flags=re.MULTILINE)
    assert "Answer:\n" in text
    assert "8 generation, 8 labelling, 1 analysis" in text
    each = [
        float(share) for share in re.findall(r"^(\d+) tokens per request", text, flags=re.MULTILINE)
    ]
    assert len(each) == 3
    assert len(re.findall(r"tokens per request \(\d+ of them in the prompt\)", text)) == 3
    a_round = number(text, r"about ([\d,]+) billed tokens, \d+ s of teacher time")
    kinds = re.findall(r"^─+ (generation|labelling|analysis) ─+$", text, flags=re.MULTILINE)
    counts = {"generation": 8, "labelling": 8, "analysis": 1}
    assert a_round == pytest.approx(
        sum(counts[kind] * share for kind, share in zip(kinds, each, strict=True)),
        abs=sum(counts.values()),
    )
    assert number(text, r"3 rounds: about ([\d,]+) billed") == pytest.approx(3 * a_round, abs=3)
    assert "7 gold labels" in text
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("replies")] == []


def test_a_second_plan_says_that_it_knows_the_answers(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(config(small_data, tmp_path / "replies.sqlite"))
    assert "from the cache" not in capsys.readouterr().out
    plan(config(small_data, tmp_path / "replies.sqlite"))
    assert "16 of them from the cache, so the time is too low" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_budget_cuts_the_rounds(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(config(small_data, tmp_path / "replies.sqlite"))
    a_round = number(
        capsys.readouterr().out, r"about ([\d,]+) billed tokens, \d+ s of teacher time"
    )
    plan(config(small_data, tmp_path / "replies.sqlite", f"budget.tokens={int(2.5 * a_round)}"))
    assert "2 rounds: about" in capsys.readouterr().out


def test_a_budget_smaller_than_a_round_is_an_error(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"budget.tokens=10 is smaller than one round \(about [\d,]+\).*method.n_hard",
    ):
        plan(config(small_data, tmp_path / "replies.sqlite", "budget.tokens=10"))


class FailingTeacher(LabelWritingTeacher):
    """Fails for prompts that end with one of two letters, or for all prompts of a kind."""

    kind: type | None = None

    def ask(self, requests: Any, on_reply: Any = None) -> list[Reply]:
        replies = super().ask(requests)
        failing = [
            isinstance(request, self.kind) if self.kind else number % 4 == 0
            for number, request in enumerate(requests)
        ]
        return [
            Reply(reply.id, error="HTTP 500 [internal]") if fails else reply
            for reply, fails in zip(replies, failing, strict=True)
        ]


class WritesNothing(FailingTeacher):
    kind = GenerateRequest


class ScoresNothing(FailingTeacher):
    kind = ScoreRequest


def failing(data: Path, cache: Path, name: str) -> Any:
    return config(data, cache, f"teacher._target_={__name__}.{name}")


def test_a_part_that_failed_is_told_beside_the_estimate(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(failing(small_data, tmp_path / "replies.sqlite", "FailingTeacher")) == 0
    shown, _, estimate = capsys.readouterr().out.partition("one round")
    assert "refused: 3 of 8: HTTP 500 [internal]" in shown
    assert "refused: 1 of 1: HTTP 500 [internal]" in shown
    assert not re.search(r"^0 tokens per request", shown, flags=re.MULTILINE)
    assert "3 of 8 generation requests failed: HTTP 500 [internal]" in estimate
    assert "5 of 16 labelling requests failed: HTTP 500 [internal]" in estimate
    assert "1 of 1 analysis requests failed: HTTP 500 [internal]" in estimate


@pytest.mark.parametrize(
    ("name", "kind"), [("WritesNothing", "generation"), ("ScoresNothing", "labelling")]
)
def test_where_all_failed_there_is_no_estimate(
    small_data: Path, tmp_path: Path, name: str, kind: str
) -> None:
    with pytest.raises(TeacherError, match=rf"All \d+ {kind} requests .* says: HTTP 500") as caught:
        plan(failing(small_data, tmp_path / "replies.sqlite", name))
    assert caught.value.exit_code == 5


def test_ablations_are_in_the_plan(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(config(small_data, tmp_path / "replies.sqlite", "ablation=no_separation"))
    assert "8 generation, 1 analysis" in capsys.readouterr().out


def llm_da(tmp_path: Path, *more: str) -> Any:
    data = ner_data(tmp_path / "data")
    return compose_config(
        [
            *scripted_ner(tmp_path / "no-student", data, tmp_path / "replies.sqlite"),
            "method=llm_da",
            *more,
        ]
    )


def test_another_method_s_requests_are_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        plan(llm_da(tmp_path, "method.n_texts=40", "method.rounds=2", "method.invented_names=0.5"))
        == 0
    )
    text = capsys.readouterr().out
    assert "Keep these names as they are: " in text
    assert int(number(text, r"requests  20 generation, (\d+) names")) in range(10, 25)
    assert "2 rounds: about" in text


def lower(folder: Path, lines: slice) -> Path:
    """The small data whose train texts of these lines have no capital."""
    data = ner_data(folder)
    train = data / "train.jsonl"
    texts = [json.loads(text) for text in train.read_text().splitlines()]
    for text in texts[lines]:
        text["tokens"] = [word.lower() for word in text["tokens"]]
    train.write_text("".join(json.dumps(text) + "\n" for text in texts))
    return data


def test_a_pool_s_first_texts_may_give_no_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [
        *scripted_ner(
            tmp_path / "no-student",
            lower(tmp_path / "data", slice(20)),
            tmp_path / "replies.sqlite",
        ),
        "method=llkd",
    ]
    assert plan(compose_config(overrides)) == 0
    assert "is a name of:" in capsys.readouterr().out


def test_a_pool_without_a_candidate_is_said(tmp_path: Path) -> None:
    overrides = [
        *scripted_ner(
            tmp_path / "no-student",
            lower(tmp_path / "data", slice(None)),
            tmp_path / "replies.sqlite",
        ),
        "method=llkd",
        "labelling.candidates=[capitals]",
    ]
    with pytest.raises(
        ConfigError, match=r"None of the texts gives a request.* labelling\.candidates=\[chunks\]"
    ):
        plan(compose_config(overrides))


def test_noise_alone_has_no_plan(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="method=llm_da asks no teacher, so there is nothing to plan"
    ):
        plan(llm_da(tmp_path, "method.modes=[noise]"))


def test_a_method_that_asks_nothing_has_no_plan(small_data: Path, tmp_path: Path) -> None:
    overrides = [
        *scripted(tmp_path / "no-student", small_data, tmp_path / "replies.sqlite"),
        "method=shots",
    ]
    with pytest.raises(
        ConfigError, match="method=shots asks no teacher, so there is nothing to plan"
    ):
        plan(compose_config(overrides))
