"""The command line: what it imports, its verbs, and how it ends when something is wrong."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tutelage import cli, errors
from tutelage.interruption import Interrupted
from tutelage.version import __version__

HEAVY = (
    "torch",
    "pytorch_lightning",
    "transformers",
    "vllm",
    "datasets",
    "sklearn",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "code",
    [
        "import tutelage",
        "import tutelage.cli",
        "import tutelage.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass",
        "import tutelage.config.compose as c; c.compose_hydra(['seed=2', 'method.rounds=1'])",
        # A sweep's own process stays small: its jobs are processes of their own.
        "from tutelage.sweep.expected import expected_jobs\n"
        "from tutelage.sweep.multirun import check_metric\n"
        "from tutelage.sweep.session import shares_engine\n"
        "found = expected_jobs(['seed=1,2', 'method.rounds=1', 'sweep.metric=macro_f1'])\n"
        "check_metric(found.config), shares_engine(found.config)",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str):
    done = python(
        f"{code}\nimport sys, json\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_help_answers_at_once_and_names_every_verb():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "tutelage.cli", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of its own work: what else this machine does at the time is not its doing.
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0
    assert all(
        verb in done.stdout
        for verb in (
            "train",
            "plan",
            "predict",
            "export",
            "push",
            "serve-student",
            "guarantee",
            "audit",
            "report",
            "reproduce",
            "wandb-dashboard",
            "assets",
            "doctor",
        )
    )
    assert took < 1.0, f"--help took {took:.2f} s of processor time"


def test_the_version_is_the_package_s(tutelage):
    ended = tutelage("--version")
    assert (ended.code, ended.out.strip()) == (0, f"tutelage {__version__}")


@pytest.mark.parametrize("arguments", [(), ("trian",), ("predict",), ("doctor", "--engine", "vlm")])
def test_a_wrong_command_line_is_code_2_with_what_there_is(tutelage, arguments):
    ended = tutelage(*arguments)
    assert ended.code == 2
    assert "usage: tutelage" in ended.err


def test_each_kind_of_error_has_an_exit_code_of_its_own(tutelage, monkeypatch):
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.TutelageError)
    ]
    direct = [kind for kind in kinds if errors.TutelageError in kind.__bases__]
    codes = {kind.__name__: kind.exit_code for kind in direct}
    assert len(set(codes.values())) == len(codes)
    assert not {0, 1, 130} & set(codes.values())
    for kind in (*kinds, Interrupted):

        def fail(options, kind=kind):
            raise kind("the value 7 is wrong; give 8.")

        monkeypatch.setitem(cli._ACTS, "report", fail)
        ended = tutelage("report", "somewhere")
        assert (ended.code, ended.err) == (
            kind.exit_code,
            "tutelage: the value 7 is wrong; give 8.\n",
        )


def test_ctrl_c_in_any_verb_is_code_130(tutelage, monkeypatch):
    def stopped(options):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli._ACTS, "report", stopped)
    ended = tutelage("report", "somewhere")
    assert (ended.code, ended.err) == (130, "tutelage: stopped.\n")


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    def broken(options):
        raise ZeroDivisionError

    monkeypatch.setitem(cli._ACTS, "report", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["report", "somewhere"])


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("train", "method=evokdd"),
            2,
            "Unknown method 'evokdd'. Did you mean 'evokd'? Available: ",
        ),
        (("train", "seed=abc"), 2, "seed"),
        (("train", "method.rounds=abc"), 2, "method.rounds='abc' is not a whole number"),
        (("plan", "metod=evokd"), 2, "metod"),
        (
            ("train", "data=files"),
            2,
            "data.path has no value and needs one: add data.path=… to the command.",
        ),
        (("plan", "data=files"), 2, "data.path has no value and needs one"),
        (("train", "teacher=server"), 2, "teacher.model has no value and needs one"),
        (("train", "teacher=replay"), 2, "teacher.recording has no value and needs one"),
        (("train", "data=hub"), 2, "data.name has no value and needs one"),
        (("train", "data=files", "data.path=nowhere"), 3, "There is no folder nowhere."),
        (("predict", "nowhere", "a text"), 3, "nowhere holds no student"),
        (
            ("predict", "--keep", "id", "nowhere", "a text"),
            2,
            "--keep copies columns of a file. Name",
        ),
        (("predict", "nowhere", "--file", "none.csv"), 3, "--file none.csv does not exist."),
        (("export", "nowhere", "--format", "hf"), 7, "There is no run folder nowhere."),
        (("push", "nowhere", "--to", "x"), 2, "nowhere is no export: it lacks export.json"),
        (("serve-student", "nowhere"), 3, "nowhere holds no student"),
        (("audit", "nowhere"), 7, "There is no run folder nowhere."),
        (("guarantee", "nowhere"), 7, "There is no run folder nowhere."),
        (("predict", "nowhere", "a text", "--abstain"), 3, "and nowhere has none"),
        (("audit", "run", "--min-confidence", "9"), 2, "--min-confidence 9 is no probability."),
        (("train", "resume=nowhere"), 2, "resume=nowhere is not the folder of a run"),
        (
            ("train", "resume=true"),
            2,
            "resume=true found no unfinished run of this very configuration under "
            "outputs/snips_intent-evokd",
        ),
        (
            ("train", "student.model=./nowhere", "method=shots", "data=snips"),
            2,
            "student.model=./nowhere does not exist.",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_message_without_a_traceback(tutelage, arguments, code, said):
    ended = tutelage(*arguments)
    assert ended.code == code, ended.err
    assert said in ended.err
    assert ended.err.splitlines()[-1].startswith("tutelage: ")


def test_a_report_of_what_is_no_run_names_the_folder(tutelage):
    ended = tutelage("report", "nowhere")
    assert ended.code == 7
    assert "nowhere" in ended.err


def test_cfg_job_prints_the_configuration_and_runs_nothing(tutelage, workplace: Path):
    ended = tutelage("train", "--cfg", "job", "seed=7", "method.rounds=3")
    assert ended.code == 0
    assert "seed: 7\n" in ended.out
    assert "rounds: 3\n" in ended.out
    assert "_target_: tutelage.methods.evokd.method.EvoKD\n" in ended.out
    assert not any(workplace.iterdir())


def test_hydra_s_own_help_is_reached(tutelage):
    ended = tutelage("train", "--help")
    assert ended.code == 0
    assert "evokd" in ended.out


@pytest.mark.parametrize("overrides", [["-m", "seed=1,2"], ["sweep=seeds"]])
def test_a_plan_is_of_one_run(tutelage, overrides):
    ended = tutelage("plan", *overrides)
    assert ended.code == 2
    assert "tutelage plan shows one run" in ended.err


def test_a_multirun_refuses_a_flag_that_its_jobs_would_not_see(tutelage, workplace: Path):
    ended = tutelage("train", "seed=1,2", "-m", "shots=1", "--package=elsewhere")
    assert ended.code == 2
    assert "not --package=elsewhere" in ended.err
    assert not any(workplace.iterdir())


@pytest.mark.parametrize(
    "arguments", [("train",), ("plan",), ("predict", "run", "a text"), ("report", "run")]
)
def test_a_working_folder_that_was_deleted_is_said_in_one_sentence(
    tutelage, workplace: Path, monkeypatch, arguments
):
    (workplace / "gone").mkdir()
    monkeypatch.chdir(workplace / "gone")
    (workplace / "gone").rmdir()
    ended = tutelage(*arguments)
    assert ended.code == 7
    assert ended.err.startswith("tutelage: The working folder is gone (")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "tutelage: The output could not be written: No space left on device.\n",
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_no_traceback(tutelage, monkeypatch, error, code, said):
    def full(options):
        raise error

    monkeypatch.setitem(cli._ACTS, "report", full)
    ended = tutelage("report", "somewhere")
    assert (ended.code, ended.err) == (code, said)


@pytest.mark.parametrize("flag", ["--cfg job", "--cfg=job", "-c job", "--info defaults"])
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.cue=a=b", "Write 'data.cue=\"a=b\"'."),
        ("data=nope", "Unknown data 'nope'."),
        ("shots.x=1", "There is no setting 'shots.x' ("),
    ],
)
def test_what_only_shows_refuses_what_a_run_refuses(tutelage, flag, override, said):
    ended = tutelage("train", *flag.split(), override)
    assert ended.code == 2
    assert said in ended.err


def test_the_configuration_of_many_runs_is_not_shown(tutelage):
    ended = tutelage("train", "-m", "--cfg", "job", "seed=1")
    assert ended.code == 2
    assert "leave -m out" in ended.err


def test_a_path_that_is_typed_as_it_is_reaches_every_verb(tutelage, workplace: Path):
    for arguments in (["train"], ["plan"], ["train", "-m"]):
        ended = tutelage(*arguments, "method=shots", "data=files", "data.path=my data (v2)/é=1")
        assert "cannot be read" not in ended.err
    ended = tutelage("train", "--cfg", "job", "data=files", "data.path=my data (v2)/é=1")
    assert "  path: my data (v2)/é=1\n" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch=b", "-m", "seed=1"], "There is no setting 'nosuch' ("),
        (["seed=1", "-m", "data.cue=a (1),b"], "Write 'data.cue=\"a (1)\",b' or "),
        (["seed=1", "-m", "shots"], "'shots' is no override: write key=value"),
        (["--seed=1", "-m"], "There is no flag --seed."),
        (["-m", "sweep.name=../x"], "sweep.name='../x' cannot name a folder of its own"),
    ],
)
def test_a_multirun_that_cannot_be_read_leaves_no_folder(tutelage, workplace: Path, words, said):
    ended = tutelage("train", *words)
    assert ended.code == 2
    assert said in ended.err
    assert not any(workplace.iterdir())
