"""The recipes of examples/cluster: their commands compose, their files have the form they should.

No cluster is here. The scripts of Slurm run in a shell, with a stand-in for `vllm serve`; manifests
are checked against the schemas of Kubernetes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tutelage.arguments import parser
from tutelage.config.compose import compose_config

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"
SCRIPTS = ("slurm_runs.sbatch", "slurm_teacher.sbatch")
MANIFESTS = ("kubernetes.yaml", "rayjob.yaml")
VLLM = """#!{python}
import http.server, sys
_, serve, model, option, port = sys.argv
assert (serve, option) == ("serve", "--port"), sys.argv
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("", int(port)), Healthy).serve_forever()
"""
"""Takes the words of `vllm serve`, and is healthy at once."""
RELEASE = "1.33"
"""Of Kubernetes."""


def commands(text: str) -> list[list[str]]:
    """The words of each `tutelage` command, with variables of the shell replaced."""
    joined = re.sub(r"\\\n\s*", " ", text)
    # Comments are prose, and "…" stands for anything.
    lines = [line for line in joined.splitlines() if not line.lstrip().startswith("#")]
    found = re.findall(r"\btutelage ((?:label|train|doctor) [^;\n]*)", "\n".join(lines))
    return [
        shlex.split(re.sub(r"\$(\w+|\{[^}]*\})", "1", one.replace('"$folder"', "")))
        for one in found
    ]


def check(words: list[str]) -> None:
    """Composes a command without doing it."""
    verb, *rest = words
    if verb == "train":
        compose_config(rest)
        return
    options = parser().parse_args(words)
    config = compose_config(options.overrides)
    if verb == "label":
        assert options.to.is_absolute()
        assert config.data.get("path")


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def test_every_file_is_tested_here_and_documented() -> None:
    page = (FOLDER.parents[1] / "docs" / "how-to" / "clusters.md").read_text(encoding="utf-8")
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {*SCRIPTS, *MANIFESTS, "skypilot.yaml"}
    assert not [name for name in names if f"examples/cluster/{name}" not in page]


@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        ("kubernetes.yaml", ["doctor", "label", "train"]),
        ("rayjob.yaml", ["label"]),
        ("skypilot.yaml", ["label"]),
    ],
)
def test_the_commands_of_a_manifest_compose(name: str, verbs: list[str]) -> None:
    def texts(node: Any) -> list[str]:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return [node] if isinstance(node, str) else [one for each in inner for one in texts(each)]

    scripts = [text for document in manifests(name) for text in texts(document)]
    for script in scripts:
        if "\n" in script:
            subprocess.run(["bash", "-n", "-c", script], check=True)
    found = [words for script in scripts for words in commands(script)]
    assert sorted(words[0] for words in found) == verbs
    for words in found:
        check(words)


def test_kubernetes_knows_every_field() -> None:
    documents = manifests("kubernetes.yaml")
    for document in documents:
        kubernetes_validate.validate(document, RELEASE, strict=True)
    # It is the schemas that say so.
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**documents[1], "spec": {**documents[1]["spec"], "completion": 4}},
            RELEASE,
            strict=True,
        )
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    claim = by_name["PersistentVolumeClaim", "tutelage"]["metadata"]["name"]
    pod = by_name["Deployment", "teacher"]["spec"]["template"]
    assert by_name["Service", "teacher"]["spec"]["selector"] == pod["metadata"]["labels"]
    for job in ("label", "runs"):
        check_pod(by_name["Job", job]["spec"]["template"]["spec"], claim)
    check_pod(pod["spec"], claim)


def check_pod(spec: dict[str, Any], claim: str) -> None:
    """Checks a pod's fields, and that each mounted volume is there."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
    kubernetes_validate.validate(pod, RELEASE, strict=True)
    volumes = {one["name"]: one for one in spec.get("volumes", ())}
    claims = (one.get("persistentVolumeClaim") for one in volumes.values())
    assert {one["claimName"] for one in claims if one} <= {claim}
    for container in spec["containers"]:
        assert {one["name"] for one in container.get("volumeMounts", ())} <= set(volumes)


def test_a_ray_job_has_room_for_its_replicas() -> None:
    (job,) = manifests("rayjob.yaml")
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    pods = [cluster["headGroupSpec"]["template"], group["template"]]
    for pod in pods:
        check_pod(pod["spec"], "tutelage")
    (words,) = commands(spec["entrypoint"])
    options = parser().parse_args(words)
    assert options.engine == "ray"
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert group["maxReplicas"] == options.replicas
    assert limits["nvidia.com/gpu"] == options.gpus_per_replica
    assert float(limits["cpu"]) == options.cpus_per_replica
    # The version that the extra "ray" was tested with.
    pins = (FOLDER.parents[1] / "constraints.txt").read_text(encoding="utf-8")
    assert f"ray=={cluster['rayVersion']}\n" in pins


@pytest.fixture
def node(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of Slurm, whose vLLM is a stand-in."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(VLLM.format(python=sys.executable), encoding="utf-8")
    # Whatever environment the tests run in.
    (programs / "tutelage").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m tutelage.cli "$@"\n', encoding="utf-8"
    )
    (programs / "hostname").write_text("#!/bin/sh\necho localhost\n", encoding="utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)
    source = str(Path(__file__).parents[2] / "src")
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]),
        "SHARED": str(tmp_path),
        "PAUSE": "0.2",
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_of_slurm_is_bash(name: str) -> None:
    subprocess.run(["bash", "-n", str(FOLDER / name)], check=True)
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    # Slurm reads no option after the first command.
    assert max(n for n, line in enumerate(lines) if line.startswith("#SBATCH")) < 8


def test_the_runs_of_an_array_find_two_teachers_and_resume(
    node: dict[str, str], tmp_path: Path
) -> None:
    runs = subprocess.Popen(
        ["bash", str(FOLDER / "slurm_runs.sbatch"), "data=snips", "--cfg", "job"],
        env={**node, "SLURM_ARRAY_TASK_ID": "3"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    teachers = []
    try:
        for job in (20_011, 20_012):
            teachers.append(
                subprocess.Popen(
                    ["bash", str(FOLDER / "slurm_teacher.sbatch")],
                    env={**node, "SLURM_JOB_ID": str(job)},
                    cwd=tmp_path,
                )
            )
            if job == 20_011:
                shown, said = runs.communicate(timeout=120)
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("teachers/*.url"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        # One that was killed left its file.
        (tmp_path / "teachers" / "1.url").write_text("http://localhost:9/v1\n", encoding="utf-8")
        begun = tmp_path / "runs" / "seed-3" / "status.json"
        begun.parent.mkdir(parents=True)
        begun.touch()
        again = subprocess.run(
            ["bash", str(FOLDER / "slurm_runs.sbatch"), "--cfg", "job"],
            env={**node, "SLURM_ARRAY_TASK_ID": "3"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for teacher in teachers:
            teacher.terminate()
            teacher.wait(timeout=30)
    assert runs.returncode == 0, said
    assert "No teacher of" in said
    config = yaml.safe_load(shown)
    assert config["seed"] == 3
    assert config["teacher"]["url"] == [f"http://localhost:{port(20_011)}/v1"]
    assert config["teacher"]["cache"] == str(tmp_path / "caches" / "seed-3.sqlite")
    config = yaml.safe_load(again.stdout)
    assert config["teacher"]["url"] == [
        f"http://localhost:{port(job)}/v1" for job in (20_011, 20_012)
    ]
    assert config["resume"] == str(begun.parent)
    # A teacher that ends takes its address back.
    assert [path.name for path in tmp_path.glob("teachers/*.url")] == ["1.url"]


def port(job: int) -> str:
    return str(20_000 + job % 20_000)


def test_a_teacher_that_dies_says_so(node: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "vllm").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    ended = subprocess.run(
        ["bash", str(FOLDER / "slurm_teacher.sbatch")],
        env={**node, "SLURM_JOB_ID": "20013"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "vllm serve ended before it was ready" in ended.stderr
    assert not list(tmp_path.glob("teachers/*"))
