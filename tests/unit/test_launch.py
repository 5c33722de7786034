"""From a command line to a run: the folder to continue, and paths as a person types them."""

from __future__ import annotations

import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tutelage import launch
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, RunError
from tutelage.launch import (
    as_value,
    folder_to_begin,
    folder_to_resume,
    resume_command,
    shown,
    shows_only,
    split_flags,
)
from tutelage.runs.folder import REPORT, RunFolder, finish
from tutelage.runs.manifest import CONFIG_FORMAT, config_hash


def run_folder(
    base: Path, time: str, overrides: list[str], state: str, started: str | None = None
) -> Path:
    folder = base / time
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps(
            {
                "config_hash": config_hash(compose_config(overrides).source),
                "config_format": CONFIG_FORMAT,
            }
        )
    )
    (folder / "status.json").write_text(json.dumps({"state": state, "started": started or time}))
    return folder


@pytest.fixture
def base(workplace: Path) -> Path:
    return workplace / "outputs" / "snips_intent-evokd"


def test_without_resume_there_is_no_folder(base: Path):
    assert folder_to_resume(compose_config([])) is None
    assert folder_to_resume(compose_config(["resume=false"])) is None


def test_resume_true_takes_the_newest_unfinished_run_of_this_configuration(base: Path):
    run_folder(base, "1", ["seed=2"], "failed")
    run_folder(base, "2", ["seed=2"], "interrupted")
    run_folder(base, "3", ["seed=2"], "done")
    run_folder(base, "4", ["seed=3"], "failed")
    found = folder_to_resume(compose_config(["seed=2", "resume=true"]))
    assert found is not None
    assert found.resolve() == base / "2"


def test_a_killed_run_is_unfinished_whatever_its_status_says(base: Path):
    run_folder(base, "1", [], "running")
    (run_folder(base, "2", [], "running") / "status.json").unlink()
    found = folder_to_resume(compose_config(["resume=true"]))
    assert found is not None
    assert found.name == "1"


@pytest.mark.parametrize("state", ["done", ""])
def test_resume_true_with_nothing_to_go_on_with_says_where_it_looked(base: Path, state: str):
    if state:
        run_folder(base, "1", [], state)
    with pytest.raises(
        ConfigError,
        match="no unfinished run of this very configuration under outputs/snips_intent-evokd",
    ):
        folder_to_resume(compose_config(["resume=true"]))


def test_a_folder_is_taken_as_it_is_named(base: Path):
    folder = run_folder(base, "1", ["seed=2"], "done")
    assert folder_to_resume(compose_config(["seed=2", f"resume={folder}"])) == folder
    assert folder_to_resume(
        compose_config(["seed=2", "resume=outputs/snips_intent-evokd/1"])
    ) == Path("outputs/snips_intent-evokd/1")


def test_a_folder_of_another_configuration_is_refused_with_both_hashes(base: Path):
    folder = run_folder(base, "1", ["seed=2"], "failed")
    wanted = compose_config(["seed=3", f"resume={folder}"])
    with pytest.raises(ConfigError) as refused:
        folder_to_resume(wanted)
    assert config_hash(wanted.source) in str(refused.value)
    assert config_hash(compose_config(["seed=2"]).source) in str(refused.value)
    assert str(folder / "config.yaml") in str(refused.value)


def test_a_folder_that_is_no_run_s_is_refused(base: Path, workplace: Path):
    (workplace / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is not the folder of a run \(it has no status\.json\)"):
        folder_to_resume(compose_config([f"resume={workplace}"]))


def test_a_run_that_ended_before_its_manifest_is_found_too(base: Path, workplace: Path):
    folder = folder_to_begin(compose_config(["seed=2"]), ["seed=2"])
    assert (folder.parent.resolve(), [one.name for one in folder.iterdir()]) == (
        base,
        ["status.json"],
    )
    for resume in ("true", as_value(folder)):
        assert folder_to_resume(compose_config(["seed=2", f"resume={resume}"])) == folder
    with pytest.raises(ConfigError, match="was run with another configuration"):
        folder_to_resume(compose_config(["seed=3", f"resume={folder}"]))


@pytest.mark.parametrize("left", [(), (".lock",), (".status.json.4711.part",)])
def test_a_run_that_ended_before_its_first_file_is_begun_in_its_folder(base: Path, left: tuple):
    (base / "1").mkdir(parents=True)
    for name in left:
        (base / "1" / name).touch()
    for resume in ("true", as_value(base / "1")):
        found = folder_to_resume(compose_config([f"resume={resume}"]))
        assert found is not None
        assert found.resolve() == base / "1"
    # A run that has begun comes first.
    run_folder(base, "0", [], "failed")
    assert folder_to_resume(compose_config(["resume=true"])) == Path("outputs/snips_intent-evokd/0")


def test_a_finished_run_whose_report_was_not_drawn_is_gone_on_with(base: Path):
    folder = RunFolder(run_folder(base, "1", [], "running"))
    finish(folder, REPORT)
    found = folder_to_resume(compose_config(["resume=true"]))
    assert found is not None
    finish(folder)
    with pytest.raises(ConfigError, match="found no unfinished run"):
        folder_to_resume(compose_config(["resume=true"]))


def test_runs_that_begin_in_one_second_have_folders_of_their_own(workplace: Path):
    config = compose_config(["seed=2"])
    with ThreadPoolExecutor(8) as pool:
        folders = [*pool.map(lambda _: folder_to_begin(config, ["seed=2"]), range(24))]
    assert len({*folders}) == 24
    assert all((folder / "status.json").is_file() for folder in folders)


@pytest.mark.parametrize(
    "there", [("manifest.json",), ("result.json",), ("config.yaml", "status.json")]
)
def test_a_named_folder_that_holds_a_run_is_refused(workplace: Path, there: tuple[str, ...]):
    given = ["hydra.run.dir=my run"]
    config = compose_config(given)
    assert folder_to_begin(config, given) == Path("my run")
    assert folder_to_begin(config, given) == Path("my run"), "nothing of a run is in it yet"
    for name in there:
        (workplace / "my run" / name).write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="my run holds a run already") as refused:
        folder_to_begin(config, given)
    assert "hydra.run.dir=" in str(refused.value)
    assert "resume=my run" in str(refused.value)


def test_ctrl_c_before_a_run_listens_says_how_to_go_on(
    tutelage, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    def stopped(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "train", stopped)
    ended = tutelage("train", "seed=2")
    (folder,) = workplace.glob("outputs/*/*")
    status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    assert (ended.code, status["state"]) == (130, "interrupted")
    assert f"Go on with:\n  {status['resume_command']}\n" in ended.err
    command = [*split_flags(shlex.split(status["resume_command"])[2:])[1]]
    assert folder_to_resume(compose_config(command)) == folder.relative_to(workplace)


@pytest.mark.parametrize(
    ("typed", "flags", "overrides"),
    [
        (["a=b", "-m", "c=d"], ["-m"], ["a=b", "c=d"]),
        (["--cfg", "job", "a=b"], ["--cfg", "job"], ["a=b"]),
        (["a=b", "--cfg=job", "c=d", "--resolve"], ["--cfg=job", "--resolve"], ["a=b", "c=d"]),
        (["--info", "a=b"], ["--info"], ["a=b"]),
        (["-p", "data", "a=b", "word"], ["-p", "data"], ["a=b", "word"]),
    ],
)
def test_flags_may_stand_between_overrides(
    typed: list[str], flags: list[str], overrides: list[str]
):
    assert split_flags(typed) == (flags, overrides)


@pytest.mark.parametrize("flag", ["--seed=2", "--rounds", "-x", "--experimental-rerun"])
def test_a_flag_that_there_is_not_is_refused_with_how_settings_are_written(flag: str):
    with pytest.raises(ConfigError, match="Settings are written without dashes"):
        split_flags(["a=b", flag, "3"])


def test_an_altered_manifest_is_named(base: Path):
    folder = run_folder(base, "1", [], "failed")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json is not valid JSON"):
        folder_to_resume(compose_config([f"resume={folder}"]))


@pytest.mark.parametrize("format", [None, CONFIG_FORMAT - 1, CONFIG_FORMAT + 1])
def test_a_folder_whose_configuration_keys_had_other_names_is_refused_with_what_to_do(
    base: Path, format: int | None
):
    folder = run_folder(base, "1", ["seed=2"], "failed")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["config_format"]
    if format is not None:
        manifest["config_format"] = format
    manifest["tutelage"] = "0.0.9"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError) as refused:
        folder_to_resume(compose_config(["seed=2", f"resume={folder}"]))
    said = str(refused.value)
    assert "was begun by tutelage 0.0.9, whose configuration keys had other names" in said
    assert "CHANGELOG.md" in said
    assert "Start the run again: its replies are in the cache" in said


def test_the_command_that_continues_a_run_keeps_its_overrides_and_names_its_folder(
    workplace: Path,
):
    overrides = ["seed=2", "resume=true", "hydra.run.dir=elsewhere", "data.path=my folder"]
    folder = workplace / "outputs" / "my run"
    assert resume_command(overrides, folder) == (
        "tutelage train seed=2 'data.path=my folder' 'resume=outputs/my run'"
    )


def test_a_path_is_shown_as_it_is_typed_and_quoted_as_a_value(workplace: Path):
    assert shown(workplace / "outputs" / "a") == "outputs/a"
    assert shown(Path("/somewhere/else")) == "/somewhere/else"
    for odd in ("it's, [a] {b}=c", "a\\ b", "it\\'s", "ends in a backslash\\", "'"):
        path = workplace / odd
        assert compose_config([f"name={as_value(path)}"]).name == str(path)


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        (["--cfg", "job"], True),
        (["--cfg=job"], True),
        (["-c", "job"], True),
        (["-h"], True),
        (["--info"], True),
        (["--hydra-help"], True),
        (["seed=2", "--help"], True),
        (["seed=2"], False),
        (["-m", "seed=1,2"], False),
        (["--config-dir", "mine"], False),
    ],
)
def test_what_only_shows_something_runs_nothing(arguments: list[str], shows: bool):
    assert shows_only(arguments) is shows
