"""The papers' claims: every run composes, and each script of reproduce/ does its table."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from tests.conftest import Command

from tutelage.config.compose import compose_config
from tutelage.config.folder import conf_directory
from tutelage.config.schema import RunConfig
from tutelage.reproduce.claims import TABLES, Claim, Paper
from tutelage.reproduce.reading import read_papers
from tutelage.reproduce.runs import commands
from tutelage.runs.manifest import config_hash
from tutelage.sweep.expected import expected_jobs

SCRIPTS = Path(__file__).parents[2] / "reproduce"
PAPERS = read_papers()
SCALES = [(paper, scale) for paper, found in PAPERS.items() for scale in found.scales]
FIGURES = [
    (paper, table) for paper, found in PAPERS.items() for table in TABLES if found.only(table=table)
]


@cache
def composed(line: str) -> RunConfig:
    """The configuration of the first job of a command."""
    expected = expected_jobs(shlex.split(line)[3:])
    assert expected.swept == {"seed"}
    return compose_config(expected.overrides)


@pytest.mark.parametrize(("paper", "scale"), SCALES)
def test_every_command_of_every_claim_composes_to_a_configuration_of_its_own(
    paper: str, scale: str
) -> None:
    found = PAPERS[paper]
    # The number of shots is one value in otherwise equal lines.
    lines = {
        re.sub(r" shots=\d ", " shots=1 ", line)
        for line in commands(found, found.scales[scale], found.claims)
    }
    # An ablation that another value of its line undoes would equal the arm it is compared with.
    assert len({config_hash(composed(line).source) for line in lines}) == len(lines)


@pytest.mark.parametrize("scale", ["cpu", "full", "sets"])
def test_an_ablation_differs_from_the_whole_method_in_one_setting(scale: str) -> None:
    evokd = PAPERS["evokd"]
    lines = commands(evokd, evokd.scale(scale), evokd.only(["review_helps"]))
    whole, ablated = (composed(line).source for line in lines)
    assert [key for key in whole if whole[key] != ablated[key]] == ["training"]
    assert ablated["training"] == {**whole["training"], "review_every": 0}


def test_the_settings_of_the_papers_scale_come_from_the_experiment_files() -> None:
    amazon = composed("tutelage train -m experiment=reproduce/evokd_amazon seed=1,2").source
    assert amazon["data"]["splits"] == {
        "train": "train[:20000]",
        "validation": None,
        "test": "test[:2000]",
    }
    assert (amazon["student"]["model"], amazon["student"]["pooling"]) == (
        "FacebookAI/roberta-base",
        "first",
    )
    assert (amazon["method"]["rounds"], amazon["budget"]["tokens"]) == (100, 500_000)
    # The command line wins, and the method may be exchanged.
    ceiling = composed("tutelage train -m experiment=reproduce/amazon method=supervised seed=1,2")
    assert ceiling.source["data"] == amazon["data"]
    assert ceiling.source["method"]["name"] == "supervised"


def test_every_experiment_of_a_claim_is_a_file_and_every_file_is_used() -> None:
    used = {
        name
        for paper in PAPERS.values()
        for scale in paper.scales.values()
        for line in commands(paper, scale, paper.claims)
        for name in re.findall(r"experiment=reproduce/(\w+)", line)
    }
    files = sorted((conf_directory() / "experiment" / "reproduce").glob("*.yaml"))
    nested = set(re.findall(r"/experiment/reproduce/(\w+)", "".join(map(Path.read_text, files))))
    assert used | nested == {path.stem for path in files}


def test_the_small_scale_needs_nothing_that_is_not_shipped_and_is_quick() -> None:
    for paper in PAPERS.values():
        cpu = paper.scales["cpu"]
        lines = commands(paper, cpu, paper.claims)
        for line in lines:
            config = composed(line)
            assert config.data.kind == "load_sample"
            assert (config.source["teacher"]["model"], config.student.model) == ("embedded",) * 2
        assert not cpu.gpu
        # Nobody has measured the runs of the relatives.
        assert (cpu.minutes is None) is (paper.name == "relatives")
        assert len(lines) * len(cpu.seeds) * (cpu.minutes or 0.5) <= 60
        assert all(scale.gpu for name, scale in paper.scales.items() if name == "full")


def claims_of(paper: Paper, table: str, scale: str) -> list[Claim]:
    return [claim for claim in paper.claims if claim.table == table and claim.sets.get(scale)]


@pytest.mark.parametrize(
    ("paper", "scale", "table"),
    [(paper, scale, table) for paper, table in FIGURES for scale in PAPERS[paper].scales],
)
def test_the_dry_run_of_a_table_prints_exactly_the_runs_of_its_claims(
    tutelage: Command, paper: str, scale: str, table: str
) -> None:
    found = PAPERS[paper]
    wanted = commands(found, found.scales[scale], claims_of(found, table, scale))
    ended = tutelage("reproduce", paper, "--table", table, "--scale", scale, "--dry-run")
    assert ended.code == 0
    *lines, estimate = ended.out.splitlines()
    assert lines == list(wanted)
    assert max(map(len, lines)) < 380
    assert estimate.startswith(
        f"{paper} at {scale} scale: {len(wanted) * len(found.scales[scale].seeds)} runs of "
    )


@pytest.mark.parametrize("paper", ["evokd", "llkd"])
def test_the_papers_sets_lie_in_one_folder_and_have_a_capable_teacher(
    tutelage: Command, paper: str
) -> None:
    ended = tutelage("reproduce", paper, "--scale", "sets", "--data", "elsewhere", "--dry-run")
    *lines, _ = ended.out.splitlines()
    assert all(" data.path=elsewhere/" in line for line in lines)
    assert {shots for line in lines for shots in re.findall(r" shots=(\d) ", line)} == set("135")
    config = composed(lines[0])
    assert config.source["teacher"]["model"] == "qwen2.5-coder-1.5b"
    # Every arm of EvoKD has the same budget, but for the claim about few tokens.
    budgets = re.findall(r"budget\.tokens=(\d+)", " ".join(lines))
    assert set(budgets) <= {"40000", "8000"}


def test_the_relatives_share_labels_and_sets(tutelage: Command) -> None:
    relatives = PAPERS["relatives"]
    ended = tutelage("reproduce", "relatives", "--scale", "sets", "--data", "here", "--dry-run")
    *lines, _ = ended.out.splitlines()
    assert {name for line in lines for name in re.findall(r" data=(\w+) ", line)} == {
        "snips",
        "trec6",
        "ag_news",
        "sst2",
        "emotion",
        "csabstruct",
    }
    # SNIPS is shipped, and every other set lies in the folder.
    assert all((" data.path=here/" in line) is (" data=snips " not in line) for line in lines)
    for line in (line for line in lines if " data=trec6 " in line):
        source = composed(line.replace("here/", "data/")).source
        assert source["teacher"]["model"] == "qwen2.5-coder-0.5b"
        assert source["student"]["freeze_encoder"]
        assert source["budget"]["tokens"] == (
            30_000 if re.search(r"method_arms/(?!shots|eda)", line) else None
        )
    # The teacher alone costs labels of the test set: only where a claim compares with it.
    with_teacher = {
        side.arm
        for claim in relatives.claims
        for side in (*claim.better, *claim.worse)
        if side.measure == "teacher"
    }
    labelled = {
        arm
        for arm, found in relatives.arms.items()
        if "evaluate.teacher=true" in found.overrides["sets"]
    }
    whole = {"llmaaa", "freeal", "few_shots", "predictive", "boosted"}
    assert with_teacher == labelled == whole


@pytest.mark.parametrize(
    ("experiment", "option", "spelt_out"),
    [
        (
            "relatives_select",
            "select=small_loss",
            "method=full_pool method.train_on_shots=true training.start_epochs=10",
        ),
        (
            "relatives_loss",
            "loss=candidate_sets",
            "method=full_pool method.train_on_shots=true student.head=trained "
            "student.head_learning_rate=3e-2 training.start_epochs=10",
        ),
        (
            "relatives_acquire",
            "acquire=entropy",
            "method=llkd_on_demand method.train_on_shots=true method.first=60 method.n_texts=35 "
            "method.rounds=4 select=every_row",
        ),
    ],
)
def test_the_relatives_run_with_the_settings_of_the_table_of_every_option(
    experiment: str, option: str, spelt_out: str
) -> None:
    shared = "shots=1 method.pool_size=400 evaluate.teacher=false evaluate.written_or_real=false"
    table = compose_config(
        [*spelt_out.split(), "student=frozen_classification", *shared.split(), option]
    )
    arm = compose_config([f"experiment=reproduce/{experiment}", option])
    assert config_hash(arm.source) == config_hash(table.source)


def test_every_claim_of_a_relative_names_its_paper() -> None:
    for claim in PAPERS["relatives"].claims:
        assert re.search(r"\(arXiv \d{4}\.\d{5}\)$", claim.paper), claim.id
    assert not any(claim.paper for name in ("evokd", "llkd") for claim in PAPERS[name].claims)


@pytest.mark.parametrize(("paper", "table"), FIGURES)
def test_a_script_names_its_table_and_draws_its_figure(paper: str, table: str) -> None:
    stem = f"{paper}_{'table_main' if table == 'main' else table}"
    script = (SCRIPTS / f"{stem}.sh").read_text(encoding="utf-8")
    *_, runs, figure = script.splitlines()
    # A failed run ends neither the script nor hides its exit code.
    assert runs == f'tutelage reproduce {paper} --table {table} --scale "${{SCALE:-cpu}}"; code=$?'
    folder = f'"multirun_sweeps/reproduce-{paper}-${{SCALE:-cpu}}"'
    assert figure == f'python reproduce/{stem}.py {folder} && exit "$code"'
    assert f'main("{paper}", "{table}")' in (SCRIPTS / f"{stem}.py").read_text(encoding="utf-8")


def test_the_tables_together_have_every_claim_once() -> None:
    for paper in PAPERS.values():
        both = [claim for table in TABLES for claim in paper.only(table=table)]
        assert sorted(claim.id for claim in both) == sorted(claim.id for claim in paper.claims)
        assert {path.stem for path in SCRIPTS.glob(f"{paper.name}_*.sh")} == {
            path.stem for path in SCRIPTS.glob(f"{paper.name}_*.py")
        }
