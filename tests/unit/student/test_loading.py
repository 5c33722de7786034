"""A student's folder is data: no code of it runs, and damage is one clear error."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer

from tutelage.errors import DataError, StudentError
from tutelage.student.checkpoint import new_tagger, save_student
from tutelage.student.inference import load

TEXTS = ["animal dune quay", "tool " * 40, "zzz 42!", ""]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def students(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("students")
    networks = {
        "mean": tiny_network(encoder),
        "first": tiny_network(encoder, "first"),
        "tagger": new_tagger(str(encoder), ("O", "B-PER", "I-PER")),
    }
    for name, network in networks.items():
        save_student(base / name, network, tiny_tokenizer(), 12)
    return {name: base / name for name in networks}


@pytest.fixture
def copy(tmp_path: Path, students: dict[str, Path]) -> Callable[[str], Path]:
    def copied(name: str) -> Path:
        return Path(shutil.copytree(students[name], tmp_path / "student", dirs_exist_ok=True))

    return copied


def change(path: Path, **values: Any) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**found, **values}), encoding="utf-8")


ATTACKS: dict[str, Callable[[Path], None]] = {
    "a model of its own": lambda folder: change(
        folder / "config.json",
        model_type="evil",
        auto_map={
            "AutoConfig": "evil.Config",
            "AutoModelForSequenceClassification": "evil.Model",
        },
    ),
    "a known model with another class": lambda folder: change(
        folder / "config.json", model_type="clip", auto_map={"AutoModel": "evil.Model"}
    ),
    "a tokenizer of its own": lambda folder: change(
        folder / "tokenizer_config.json",
        tokenizer_class="EvilTokenizer",
        auto_map={"AutoTokenizer": ["evil.Slow", "evil.Fast"]},
    ),
    "attention from the hub": lambda folder: change(
        folder / "config.json", attn_implementation="evil/kernel"
    ),
    "quantisation": lambda folder: change(
        folder / "config.json", quantization_config={"quant_method": "evil"}
    ),
    "an adapter": lambda folder: (folder / "adapter_config.json").write_text("{}") and None,
    "weights outside": lambda folder: (
        (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
        and (folder / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": "../model.safetensors"}})
        )
        and None
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_code_of_the_folder_runs_whatever_is_answered(
    copy: Callable[[str], Path], attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy("first")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n")
    ATTACKS[attack](folder)
    with pytest.raises(StudentError, match="could not be loaded") as refused:
        load(folder)
    assert not (folder / "ran").exists()
    assert "\n" not in str(refused.value)
    if attack.endswith("its own"):
        assert "runs no code from a student's folder" in str(refused.value)


def test_no_weights_are_unpickled(copy: Callable[[str], Path]) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (folder / "ran",))

    folder = copy("first")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(StudentError, match="could not be loaded"):
        load(folder)
    torch.save(tiny_network, folder / "pytorch_model.bin")
    with pytest.raises(StudentError, match="could not be loaded"):
        load(folder)
    assert not (folder / "ran").exists()


def weights(spoil: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def spoiled(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        spoil(found)
        save_file(found, folder / "model.safetensors", {"format": "pt"})

    return spoiled


SPOILT: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a tensor is missing": (
        "mean",
        weights(lambda found: found.pop("classifier.weight")),
        r"1 of its weights are missing \(classifier\.weight",
    ),
    "a tensor too many": (
        "first",
        weights(lambda found: found.update(extra=torch.zeros(2))),
        "1 of its weights are unexpected",
    ),
    "no number": (
        "tagger",
        weights(lambda found: found["classifier.bias"].fill_(float("nan"))),
        r"hold what is no number \(classifier\.bias",
    ),
    "another shape": (
        "mean",
        weights(lambda found: found.update({"classifier.weight": torch.zeros(3, 5)})),
        "could not be loaded",
    ),
    "fewer layers than weights": (
        "first",
        lambda folder: change(folder / "config.json", num_hidden_layers=0),
        "weights are unexpected",
    ),
    "absurd layers": (
        "first",
        lambda folder: change(folder / "config.json", num_hidden_layers=10**9),
        r"config\.json: num_hidden_layers is 1000000000",
    ),
    "absurd classes": (
        "first",
        lambda folder: change(folder / "config.json", num_labels=10**12),
        r"config\.json: num_labels is 1000000000000",
    ),
    "classes without a number": (
        "first",
        lambda folder: change(folder / "config.json", id2label={"0": "a", "1": "b", "7": "c"}),
        "does not name each class by its number",
    ),
    "two classes of one name": (
        "mean",
        lambda folder: change(folder / "config.json", id2label={"0": "a", "1": "b", "2": "a"}),
        "gives two classes one name",
    ),
    "no length": (
        "mean",
        lambda folder: change(folder / "tutelage.json", max_length="12"),
        r"tutelage\.json: max_length is '12'",
    ),
    "another tokenizer": (
        "mean",
        lambda folder: (
            tiny_tokenizer([f"word{n}" for n in range(900)]).save_pretrained(folder) and None
        ),
        "could not read a batch of 4 texts .* do not fit together",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_does_not_belong_together_is_an_error(copy: Callable[[str], Path], what: str) -> None:
    name, spoil, message = SPOILT[what]
    folder = copy(name)
    spoil(folder)
    with pytest.raises(StudentError, match=message) as refused:
        load(folder).predict([*TEXTS[:3], "word777 word888"])
    assert "again" in str(refused.value)


CONTENTS = (None, b"", b"[]", b"5", b"{}", b'{"a": "\xe9"}', b"[" * 100_000, b"\0" * 500)
VALUES = (None, "x", -1, 0, 10**12, [], {}, 1.5, float("nan"))


def test_any_damage_is_an_error_or_harmless(
    students: dict[str, Path], copy: Callable[[str], Path]
) -> None:
    messages = []
    for name, source in (("mean", students["mean"]), ("tagger", students["tagger"])):
        sound = [sorted(record) for record in load(source).predict(TEXTS)]
        for path in sorted(source.glob("*.*")):
            if path.suffix == ".py":
                continue
            whole = path.read_bytes()
            damages: list[bytes | None] = [*CONTENTS, whole[: len(whole) // 2]]
            if path.suffix == ".json":
                record = json.loads(whole)
                damages += [
                    json.dumps({**record, key: VALUES[number % len(VALUES)]}).encode()
                    for number, key in enumerate(record)
                ]
            for content in damages:
                folder = copy(name)
                (folder / path.name).unlink()
                if content is not None:
                    (folder / path.name).write_bytes(content)
                try:
                    found = load(folder).predict(TEXTS)
                except (StudentError, DataError) as error:
                    messages.append(str(error))
                else:
                    assert [sorted(record) for record in found] == sound, (path, content)
    assert len(messages) > 50
    assert not [message for message in messages if "\n" in message]


def test_the_files_of_a_student_follow_the_umask(students: dict[str, Path]) -> None:
    modes = {path.stat().st_mode & 0o777 for path in students["mean"].iterdir()}
    assert len(modes) == 1
