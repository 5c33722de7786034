"""The papers' claims: every run composes at both scales, and the scripts of reproduce/ do those very runs."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from tutelage.config.compose import require_values
from tutelage.reproduce.claims import Claim, Paper
from tutelage.reproduce.reading import TABLES, read_papers
from tutelage.reproduce.runs import check_command, commands
from tutelage.runs.manifest import config_hash
from tutelage.sweep.expected import expected_jobs

SCRIPTS = Path(__file__).parents[2] / "reproduce"
PAPERS = read_papers()
SCALES = [(paper, scale) for paper, found in PAPERS.items() for scale in found.scales]


@cache
def composed(line: str) -> str:
    """The hash of the first job's configuration."""
    expected = expected_jobs(shlex.split(line)[3:])
    require_values(expected.config)
    assert expected.swept == {"seed"}
    return config_hash(expected.config.source)


@pytest.mark.parametrize(("paper", "scale"), SCALES)
def test_every_command_of_every_claim_composes_to_a_configuration_of_its_own(
    paper: str, scale: str
) -> None:
    found = PAPERS[paper]
    lines = commands(found, found.scales[scale], found.claims)
    # An ablation that a value of the same line takes back would be the arm that it is compared with.
    assert len({composed(line) for line in lines}) == len(lines)


def test_the_small_scale_needs_nothing_that_is_not_shipped_and_is_quick() -> None:
    for paper in PAPERS.values():
        cpu = paper.scales["cpu"]
        lines = commands(paper, cpu, paper.claims)
        assert all(re.search(r" data=(snips|wikigold) ", line) for line in lines)
        assert not any("model=" in line for line in lines)
        assert not cpu.gpu
        assert cpu.minutes is not None
        assert len(lines) * len(cpu.seeds) * cpu.minutes <= 60
        assert paper.scales["full"].gpu


def claims_of(paper: Paper, table: str, scale: str) -> list[Claim]:
    return [claim for claim in paper.claims if claim.table == table and claim.sets.get(scale)]


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("table", TABLES)
def test_a_script_does_the_runs_of_its_claims(paper: str, table: str) -> None:
    stem = f"{paper}_{'table_main' if table == 'main' else table}"
    script = (SCRIPTS / f"{stem}.sh").read_text(encoding="utf-8")
    found = PAPERS[paper]
    for name, scale in found.scales.items():
        body = re.search(rf"^{name}\)\n(.*?)^  ;;$", script, flags=re.MULTILINE | re.DOTALL)
        assert body is not None
        claims = claims_of(found, table, name)
        wanted = [*commands(found, scale, claims), check_command(found, scale, claims)]
        lines = [line.strip() for line in body[1].splitlines()]
        # A run that fails ends no other.
        assert all(line.endswith(" || failed=1") for line in lines)
        said = f"{stem}.sh is not what `tutelage reproduce {paper} --scale {name} --dry-run` prints for its claims"
        assert [line.removesuffix(" || failed=1") for line in lines] == wanted, said
    assert f'main("{paper}", "{table}")' in (SCRIPTS / f"{stem}.py").read_text(encoding="utf-8")
    assert f"python reproduce/{stem}.py" in script
    assert script.endswith('exit "$failed"\n')
