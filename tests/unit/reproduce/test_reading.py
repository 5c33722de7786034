"""Claims are read as they stand, and what is wrong in them is told with its place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tests.unit.reproduce.papers import claims_file

from tutelage.errors import ConfigError
from tutelage.reproduce.claims import Side
from tutelage.reproduce.reading import read_papers


def test_a_file_of_claims_is_read(tmp_path: Path) -> None:
    (paper,) = read_papers(claims_file(tmp_path)).values()
    more, little = paper.claims
    assert (more.low, more.high, more.times, more.better, more.arms) == (
        0.0,
        math.inf,
        1.0,
        (Side("base"),),
        ("base", "less"),
    )
    assert (more.paper, little.paper) == ("", "Less & More, 2020")
    assert (little.low, little.high, little.better) == (-math.inf, 0.25, (Side("base", "share"),))
    assert more.expected == "base minus less: above 0 points"
    assert little.expected == "base:share: below 25.0 %"
    # What an arm is like comes before its own, and each scale has its own overrides.
    assert paper.arms["less"].overrides == {
        "cpu": ("method=evokd", "method.rounds=2", "ablation=no_easy", "shots=2"),
        "full": ("method=evokd", "method.rounds=9", "ablation=no_easy"),
    }
    assert (paper.scale("cpu").minutes, paper.scale("full").minutes, paper.scale("full").gpu) == (
        2.0,
        None,
        "a large one",
    )


def test_a_scale_may_have_each_set_with_several_numbers_of_shots_below_a_folder(
    tmp_path: Path,
) -> None:
    set_of_scale = {"overrides": ["data.path={folder}/a"], "metric": "accuracy"}
    given = {"overrides": [], "seeds": [1], "shots": [1, 5], "sets": {"a": set_of_scale}}
    file = claims_file(tmp_path, "mine/scales/full", given)
    (paper,) = read_papers(file, "here").values()
    full, (more, _) = paper.scale("full"), paper.claims
    assert {name: (data.overrides, data.path) for name, data in full.sets.items()} == {
        f"a-{shots}": (("data.path=here/a", f"shots={shots}"), "here/a") for shots in (1, 5)
    }
    assert (more.sets["full"], full.folder) == (("a-1", "a-5"), "here")
    assert (more.sets["cpu"], paper.scale("cpu").folder) == (("a", "b"), "")


@pytest.mark.parametrize(
    ("index", "value", "said"),
    [
        ("mine/scales/full/shots", ["one"], "mine.scales.full.shots is ['one']; give a list"),
        ("mine/title", None, "mine lacks title."),
        ("mine/titel", "x", "mine: Unknown key 'titel'. Did you mean 'title'?"),
        ("mine/claims", {}, "mine.claims is {}; it must be a list."),
        ("mine/scales", [], "mine.scales is []; it must be a mapping."),
        (
            "mine/scales/cpu/seeds",
            ["one"],
            "mine.scales.cpu.seeds is ['one']; give a list of whole numbers.",
        ),
        ("mine/scales/cpu/seeds", [], "mine.scales.cpu.seeds is []"),
        (
            "mine/scales/cpu/minutes",
            "few",
            "mine.scales.cpu.minutes is 'few'; it must be a finite number.",
        ),
        (
            "mine/scales/cpu/overrides",
            ["shots"],
            "mine.scales.cpu.overrides has 'shots', which is no override",
        ),
        (
            "mine/arms/less/like",
            "bas",
            "mine.arms.less.like: Unknown arm 'bas'. Did you mean 'base'?",
        ),
        ("mine/arms/base/like", "less", "(It must be an arm further up.)"),
        ("mine/arms/less/cpuu", [], "mine.arms.less: Unknown key 'cpuu'. Did you mean 'cpu'?"),
        ("mine/claims/1/id", "more", "mine.claims: two claims have the id 'more'."),
        ("mine/claims/0/kind", "gab", "claim more: Unknown kind 'gab'. Did you mean 'gap'?"),
        ("mine/claims/0/mark", "sure", "claim more: Unknown mark 'sure'."),
        ("mine/claims/0/table", "mian", "claim more: Unknown table 'mian'. Did you mean 'main'?"),
        ("mine/claims/0/better", ["bese"], "claim more: Unknown arm 'bese'. Did you mean 'base'?"),
        (
            "mine/claims/0/better",
            ["base:shar"],
            "claim more: Unknown measure 'shar'. Did you mean 'share'?",
        ),
        ("mine/claims/0/better", [], "claim more is a gap with 0 better and 1 worse"),
        ("mine/claims/0/worse", [], "claim more is a gap with 1 better and 0 worse"),
        ("mine/claims/1/worse", ["less"], "claim little is a value with 1 better and 1 worse"),
        ("mine/claims/0/at_most", 1, "claim more: a gap has no at_most; remove it."),
        ("mine/claims/1/times", 2, "claim little: a value has no times; remove it."),
        ("mine/claims/1/at_most", None, "claim little is a value without a band"),
        ("mine/claims/1/at_least", 0.3, "claim little: at_least=0.3 is not below at_most=0.25."),
        (
            "mine/claims/1/at_most",
            True,
            "claim little: at_most is True; it must be a finite number.",
        ),
        ("mine/claims/0/sets", {"cpu": ["c"], "full": ["a"]}, "claim more: Unknown data set 'c'."),
        (
            "mine/claims/0/sets",
            {"cup": ["a"]},
            "claim more: Unknown scale 'cup'. Did you mean 'cpu'?",
        ),
        (
            "mine/claims/1/skipped",
            None,
            "claim little: give either data sets for scale full under sets, or a reason for none",
        ),
        (
            "mine/claims/1/skipped",
            {"full": "it takes 10", "000 tokens": None},
            "claim little: Unknown scale '000 tokens'.",
        ),
        ("mine/claims/0/skipped", {"cpu": "no"}, "claim more: give either data sets for scale cpu"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, index: str, value: Any, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read_papers(claims_file(tmp_path, index, value))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_papers(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_papers(tmp_path / "broken.yaml")


def test_an_unknown_scale_or_claim_is_told(tmp_path: Path) -> None:
    (paper,) = read_papers(claims_file(tmp_path)).values()
    with pytest.raises(ConfigError, match=r"Unknown scale 'cpuu'. Did you mean 'cpu'"):
        paper.scale("cpuu")
    with pytest.raises(ConfigError, match=r"Unknown claim 'mor'. Did you mean 'more'"):
        paper.only(["mor"])
    assert [claim.id for claim in paper.only(["little", "more"])] == ["more", "little"]
