"""Advice about commands, their options, folders and variables, each followed as it is written."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.advice.cases import advises, from_message
from tests.conftest import Command
from tests.helpers.bad_data import MUSIC, WEATHER, good_folder
from tests.helpers.tiny import write_jsonl
from tests.helpers.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

import tutelage
from tutelage.errors import ConfigError, TeacherError
from tutelage.student.checkpoint import save_student

Heard = Callable[..., str]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with only a student."""
    base = tmp_path_factory.mktemp("run")
    save_student(base / "student", tiny_network(tiny_encoder(base / "e")), tiny_tokenizer(), 12)
    return base


@pytest.fixture
def small(base: Callable[[str], list[str]], no_report: None) -> list[str]:
    """Overrides of the smallest run."""
    return [*base("classification"), "method=shots", "shots=1", "evaluate.supervised=false"]


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of sweeps, which tests/integration does."""
    words: list[list[str]] = []
    monkeypatch.setattr(
        "tutelage.sweep.multirun.multirun", lambda given: 0 if words.append(given) is None else 1
    )
    return words


def commands_of(text: str) -> list[list[str]]:
    return [shlex.split(one)[1:] for one in re.findall(r"`(tutelage [^`]*)`", text)]


# Command lines.


@advises("{}{} (`tutelage train --cfg job` prints every setting.)")
def test_an_unknown_setting(tutelage: Command, heard: Heard):
    said = heard(tutelage("train", "method.n_hart=3").err)
    (command,) = commands_of(said)
    assert "n_hard: 56" in tutelage(*command).out


@advises("{}: {} is no key of a setting")
def test_a_key_that_is_none(tutelage: Command, heard: Heard):
    (command,) = commands_of(heard(tutelage("train", "dàta=snips").err))
    assert "path: " in tutelage(*command, "data=files", "data.path=mine").out


@advises("tutelage advise chooses the method itself")
def test_advice_on_a_method(tutelage: Command, heard: Heard, base: Callable[[str], list[str]]):
    own = [one for one in base("classification") if not one.startswith("method.")]
    said = heard(tutelage("advise", *own, "method=llkd").err)
    (command,) = commands_of(said)
    assert tutelage(*command, *own, "method=llkd").code == 0
    assert tutelage("advise", *own).code == 0


@advises("There is no flag {}.")
def test_a_flag_that_there_is_not(tutelage: Command, heard: Heard, small: list[str]):
    said = heard(tutelage("train", "--seed=7", *small).err)
    (command,) = commands_of(said)
    assert "as in seed=…" in said
    assert "seed: 7" in tutelage(*command, "seed=7").out


@advises("{}: a comma separates the values")
def test_a_comma(tutelage: Command, heard: Heard, small: list[str], swept: list[list[str]]):
    said = heard(tutelage("train", *small, "data.cue=one,two").err)
    written = from_message(said, "data.cue")
    assert not tutelage("train", *small, written).code
    told = heard(tutelage("train", *small, "seed=1,2").err)
    assert "`tutelage train -m`" in told
    assert not tutelage("train", "-m", *small, "seed=1,2").code
    assert swept == [["-m", *small, "seed=1,2"]]


@advises("--config-dir needs a folder", "{} would replace the configuration")
def test_folders_of_configurations(tutelage: Command, heard: Heard, workplace: Path):
    (workplace / "my_conf" / "data").mkdir(parents=True)
    (workplace / "my_conf" / "data" / "mine.yaml").write_text("defaults: [files]\npath: here\n")
    asked = ("train", "--cfg", "job", "data=mine")
    heard(tutelage("train", "--config-dir").err, "--config-dir needs a folder")
    heard(tutelage("train", "--config-path=x").err, "{} would replace the configuration")
    assert "path: here" in tutelage(*asked, "--config-dir", "my_conf").out


@advises("--config-dir {} (or {}) is no folder")
def test_a_folder_of_configurations_that_is_not_there(
    tutelage: Command, heard: Heard, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TUTELAGE_CONF", "nowhere")
    said = heard(tutelage("train", "--cfg", "job", "data=mine").err)
    (shown,) = re.findall(r"for instance (\S+)\.", said)
    own = workplace / shown
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [every_row]\n")
    root = shown.partition("/")[0]
    monkeypatch.setenv("TUTELAGE_CONF", root)
    assert not tutelage("train", "--cfg", "job", "select=mine").code
    monkeypatch.setenv("TUTELAGE_CONF", "")
    assert not tutelage("train", "--cfg", "job", "select=mine", "--config-dir", root).code


@advises("tutelage plan shows one run")
def test_a_plan_of_many(tutelage: Command, heard: Heard, base: Callable[[str], list[str]]):
    heard(tutelage("plan", "-m", "seed=1,2", *base("classification")).err)
    heard(tutelage("plan", "sweep=seeds", *base("classification")).err)
    assert not tutelage("plan", "seed=1", *base("classification")).code


# Folders of runs.


@advises("{} holds a run already")
def test_a_folder_that_holds_a_run(tutelage: Command, heard: Heard, small: list[str]):
    here = [*small, "hydra.run.dir=here"]
    assert not tutelage("train", *here).code
    said = heard(tutelage("train", *here).err)
    assert not tutelage("train", *small, from_message(said, "resume")).code
    assert not tutelage("train", *small, "hydra.run.dir=there").code
    assert "folder=… in Python" in said
    assert tutelage_train(small, "elsewhere").folder == Path("elsewhere")


def tutelage_train(overrides: list[str], folder: str):
    return tutelage.train(*overrides, folder=folder, progress=False)


@advises("give folder= or resume=, not both", "{} is no override; give text such as")
def test_calls_from_python(heard: Heard, small: list[str], workplace: Path):
    begun = tutelage_train(small, "here").folder
    with pytest.raises(ConfigError) as caught:
        tutelage.train(*small, folder="x", resume=str(begun))
    heard(str(caught.value), "give folder= or resume=, not both")
    assert tutelage.train(*small, resume=str(begun), progress=False).folder == begun
    with pytest.raises(ConfigError) as caught:
        tutelage.train("snips")
    said = heard(str(caught.value), "{} is no override; give text such as")
    assert "'data=snips'" in said
    assert tutelage.train(*small, "seed=1", folder="y", progress=False).folder == Path("y")


@advises("The run folder {} cannot be made", "The run folder {} cannot be created")
def test_a_folder_that_cannot_be_made(
    tutelage: Command, heard: Heard, small: list[str], workplace: Path
):
    (workplace / "file").write_text("")
    said = tutelage("train", *small, "hydra.run.dir=file/run").err
    heard(said, "The run folder {} cannot be made")
    with pytest.raises(tutelage_error()) as caught:
        tutelage_train(small, "file/run")
    heard(str(caught.value), "The run folder {} cannot be created")
    assert not tutelage("train", *small, "hydra.run.dir=file2/run").code


def tutelage_error() -> type[Exception]:
    from tutelage.errors import TutelageError

    return TutelageError


@advises(
    "resume=true found no unfinished run",
    "resume={} is not the folder of a run",
    "resume={} was run with another configuration",
    "resume={} was begun by tutelage {}",
)
def test_runs_to_resume(
    tutelage: Command, heard: Heard, small: list[str], workplace: Path, no_report: None
):
    said = tutelage("train", *small, "resume=true").err
    heard(said, "resume=true found no unfinished run")
    assert not tutelage("train", *small).code
    (run,) = workplace.glob("outputs/*/*")
    other = workplace / "notes"
    other.mkdir()
    (other / "a.txt").write_text("")
    said = tutelage("train", *small, "resume=notes").err
    heard(said, "resume={} is not the folder of a run")
    assert "under outputs/" in said
    assert not tutelage("train", *small, f"resume={run}").code
    # "or resume=true": an unfinished run of this configuration.
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "failed"}))
    assert not tutelage("train", *small, "resume=true").code

    said = tutelage("train", *small, "seed=9", f"resume={run}").err
    heard(said, "resume={} was run with another configuration")
    assert Path(said.partition("they are in ")[2].strip().rstrip(".")).is_file()

    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "config_format": 0}))
    said = tutelage("train", *small, f"resume={run}").err
    heard(said, "resume={} was begun by tutelage {}")
    assert not tutelage("train", *small).code


# Predictions.


@pytest.fixture
def texts(workplace: Path) -> Path:
    return write_jsonl(
        workplace / "texts.jsonl",
        [{"body": text, "number": index, "text": None} for index, text in enumerate(MUSIC)],
    )


@advises(
    "--keep copies columns of a file",
    "There is nothing to label: give texts",
    "--file {} does not exist",
    "--file {} is not a regular file",
    "--file {} is a stream",
    "'{}' is labelled as a text, but is also the name of a file",
    "--output {} is the input",
    "--output {}: predictions are written as JSON lines",
    "--output {} cannot be written",
    "Standard output is closed",
    "{}: {} Set it with --text-column{}.",
    "Choose another --text-column",
    "--keep: {}",
    "Set {} to a known one, for instance",
)
def test_what_predict_says(
    tutelage: Command,
    heard: Heard,
    finished: Path,
    texts: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    predict, run = ("predict", str(finished)), str(finished)
    whole = (*predict, "--file", str(texts), "--text-column", "body")
    heard(tutelage(*predict, "a text", "--keep", "id").err, "--keep copies columns of a file")
    assert not tutelage(*whole, "--keep-all").code
    said = heard(tutelage(*predict).err, "There is nothing to label: give texts")
    (shown,) = re.findall(r"\((tutelage predict RUN [^)]*)\)", said)
    assert not tutelage(*shlex.split(shown.replace("RUN", run))[1:]).code
    (workplace / "texts.txt").write_text("a text\n")
    assert not tutelage(*predict, *re.findall(r"--file texts.txt", said)[0].split()).code

    said = tutelage(*predict, "--file", "none.txt").err
    heard(said, "--file {} does not exist")
    said = tutelage(*predict, "--file", ".").err
    heard(said, "--file {} is not a regular file")
    said = heard(tutelage(*predict, "--file", "-").err, "--file {} is a stream")
    assert not tutelage(*predict, *shlex.split(said[said.rindex("--file") :])).code
    said = tutelage(*predict, "texts.txt").err
    said = heard(said, "'{}' is labelled as a text, but is also the name of a file")
    assert not tutelage(*predict, *re.findall(r"--file \S+", said)[0].split()).code
    said = tutelage(*whole, "--output", "out.csv").err
    said = heard(said, "--output {}: predictions are written as JSON lines")
    assert not tutelage(*whole, "--output", re.findall(r"such as (\S+)\.$", said)[0]).code
    heard(tutelage(*whole, "--output", str(texts)).err, "--output {} is the input")
    heard(tutelage(*whole, "--output", "none/out.jsonl").err, "--output {} cannot be written")
    assert not tutelage(*whole, "--output", "out.jsonl").code
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", None)
        from tutelage.errors import DataError
        from tutelage.predict import predict as labels

        with pytest.raises(DataError) as caught:
            labels(finished, ["a text"], None, None)
        heard(str(caught.value), "Standard output is closed")
        labels(finished, ["a text"], None, workplace / "closed.jsonl")

    said = tutelage(*predict, "--file", str(texts), "--text-column", "bodi").err
    heard(said, "{}: {} Set it with --text-column{}.")
    assert "'body'" in said
    said = tutelage(*predict, "--file", str(texts), "--text-column", "number").err
    heard(said, "Choose another --text-column")
    heard(tutelage(*whole, "--keep", "numbr").err, "--keep: {}")
    assert not tutelage(*whole, "--keep", "number").code
    said = heard(tutelage(*whole, "--encoding", "utf-9").err, "Set {} to a known one, for instance")
    assert "Set --encoding to" in said
    assert not tutelage(*whole, "--encoding", "utf-8").code


@advises(
    "or --words-column", "not a list of words. Choose another --words-column, or correct the row."
)
def test_what_predict_says_about_words(
    tutelage: Command, heard: Heard, ner_student: Path, tmp_path: Path
):
    from tutelage.records import Label
    from tutelage.student.checkpoint import load_tokenizer, new_tagger, save_student
    from tutelage.tasks.ner import NerTask

    task = NerTask([Label("PER", "person", "person")])
    network = new_tagger(str(ner_student), task.outputs)
    save_student(tmp_path / "student", network, load_tokenizer(str(ner_student), head="token"), 16)
    file = write_jsonl(tmp_path / "words.jsonl", [{"tokens": "Ann sings", "words": ["Ann"]}])
    predict = ("predict", str(tmp_path), "--file", str(file))
    heard(
        tutelage(*predict).err,
        "not a list of words. Choose another --words-column, or correct the row.",
    )
    heard(tutelage(*predict, "--words-column", "x").err, "or --words-column")
    assert not tutelage(*predict, "--words-column", "words").code
    assert not tutelage(*predict, "--text-column", "tokens").code


# Models and other packages.


@advises("The model {} ({}) is not whole")
def test_the_embedded_models(tutelage: Command, heard: Heard, monkeypatch: pytest.MonkeyPatch):
    ready: list[bool] = []
    monkeypatch.setattr("tutelage.assets.asset_ready", lambda name: bool(ready))
    monkeypatch.setattr(
        "tutelage.assets.ensure_asset", lambda name, show: ready.append(True) or Path(name)
    )
    (command,) = commands_of(heard(tutelage("assets", "--check").err))
    assert not tutelage(*command).code
    assert not tutelage("assets", "--check").code


@advises("teacher.model={} is not on this machine")
def test_a_larger_teacher(tutelage: Command, heard: Heard, monkeypatch: pytest.MonkeyPatch):
    from tutelage.teacher.engines.model_files import resolve_model

    ready: list[str] = []
    for module in ("tutelage.assets", "tutelage.teacher.engines.model_files"):
        monkeypatch.setattr(f"{module}.asset_ready", lambda name: name in ready)
    monkeypatch.setattr(
        "tutelage.assets.ensure_asset", lambda name, show: ready.append(name) or Path(name)
    )
    with pytest.raises(TeacherError) as caught:
        resolve_model("qwen2.5-coder-0.5b")
    (command,) = commands_of(heard(str(caught.value)))
    assert not tutelage(*command).code
    assert resolve_model("qwen2.5-coder-0.5b").endswith("Qwen2.5-Coder-0.5B-Instruct")


@advises("logger={} needs a package")
def test_a_logger_s_package(heard: Heard, small: list[str], monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'tensorboard'")

    monkeypatch.setattr("pytorch_lightning.loggers.TensorBoardLogger.__init__", missing)
    with pytest.raises(ConfigError) as caught:
        tutelage.train(*small, "logger=tensorboard", progress=False)
    heard(str(caught.value))
    assert tutelage.train(*small, progress=False).folder.is_dir()


@advises("'{}' was loaded at its newest", "data.splits.{} is null", "data.splits: {}")
def test_splits_of_a_folder_that_datasets_reads(heard: Heard, workplace: Path):
    from tutelage.config.build import build_dataset
    from tutelage.config.compose import compose_config
    from tutelage.errors import TutelageError

    good_folder(workplace / "mine")

    def load(*words: str) -> list[str]:
        config = compose_config(["data=hub", "data.name=mine", *words])
        try:
            return [*build_dataset(config).notes]
        except TutelageError as error:
            return [str(error)]

    said = "\n".join(load())
    heard(said, "'{}' was loaded at its newest")
    assert "newest" not in "\n".join(load("data.revision=main"))
    said = heard("\n".join(load("data.splits.test=null")), "data.splits.{} is null")
    shown = re.findall(r"such as (train\[90%:\])", said)[0]
    assert "is null" not in "\n".join(load(f"data.splits.test='{shown}'"))
    heard("\n".join(load("+data.splits.tests=test")), "data.splits: {}")
    assert "Unknown" not in "\n".join(load("data.splits.test=test"))


@advises("Split '{}' of the hub data set '{}' could not", "add a validation file (on the hub")
def test_a_split_of_the_hub(heard: Heard, workplace: Path):
    from tutelage.config.build import build_dataset
    from tutelage.config.build_fit import gold_for
    from tutelage.config.compose import compose_config
    from tutelage.errors import TutelageError

    folder = good_folder(workplace / "mine")

    def load(*words: str, data: str = "data=hub") -> str:
        config = compose_config([data, *words, "shots=4"])
        try:
            gold_for(config, build_dataset(config))
        except TutelageError as error:
            return str(error)
        return ""

    hub = ("data.name=mine",)
    said = heard(
        load(*hub, "data.splits.validation=dev"), "Split '{}' of the hub data set '{}' could not"
    )
    null = load(*hub, from_message(said, "data.splits.validation"))
    heard(null, "add a validation file (on the hub")
    assert not load(*hub, "data.splits.validation=validation")
    assert not load(*hub, "data.subset=default", "data.revision=main")
    assert not load(f"data.path={folder}", data="data=files")


@advises(
    "It is a single split, saved by the library `datasets`",
    "The library `datasets` can read it, with one folder",
)
def test_folders_that_datasets_wrote(heard: Heard, workplace: Path):
    import datasets

    from tutelage.config.build import build_dataset
    from tutelage.config.compose import compose_config
    from tutelage.errors import TutelageError

    def load(*words: str) -> str:
        try:
            build_dataset(compose_config(words))
        except TutelageError as error:
            return str(error)
        return ""

    records = [
        {"text": f"{text} {end}", "label": label}
        for end in ("here", "there", "now")
        for label, texts in (("music", MUSIC), ("weather", WEATHER))
        for text in texts
    ]
    datasets.Dataset.from_list(records).save_to_disk(str(workplace / "one"))
    said = load("data=files", "data.path=one")
    heard(said, "It is a single split, saved by the library `datasets`")
    assert not load(*shlex.split(said.partition("Cut it into splits: ")[2]))

    for split in ("train", "validation", "test"):
        (workplace / "deep" / split).mkdir(parents=True)
        good = good_folder(workplace / f"good-{split}")
        (good / f"{split}.jsonl").rename(workplace / "deep" / split / "rows.jsonl")
    said = load("data=files", "data.path=deep")
    heard(said, "The library `datasets` can read it, with one folder")
    assert not load(*shlex.split(said.partition("split: set ")[2]))
