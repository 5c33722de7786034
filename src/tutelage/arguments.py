"""The options of each verb of the command line, and the name of the function that does it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from tutelage.assets import LARGER
from tutelage.version import __version__

_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parser() -> argparse.ArgumentParser:
    """Returns the parser; ``act`` of its result names the function of :mod:`tutelage.cli`."""
    parser = argparse.ArgumentParser(
        prog="tutelage",
        description="Grow a training set from a local LLM teacher while a small student learns.",
    )
    parser.add_argument("--version", action="version", version=f"tutelage {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, text in (
        ("train", "one run, or a multirun with -m; takes Hydra overrides"),
        ("plan", "prompts, requests and cost of a run; takes Hydra overrides"),
    ):
        verbs.add_parser(name, help=text, add_help=False)
    for add in (
        _add_advise,
        _add_tune_prompt,
        _add_label,
        _add_predict,
        _add_export,
        _add_push,
        _add_serve_student,
        _add_guarantee,
        _add_audit,
        _add_review,
        _add_report,
        _add_reproduce,
        _add_dashboard,
        _add_assets,
        _add_serve,
        _add_doctor,
    ):
        add(verbs)
    return parser


def _add_advise(verbs: _Verbs) -> None:
    advice = verbs.add_parser(
        "advise",
        help="say which method suits data, teacher and budget, what it costs and what to expect",
    )
    advice.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="a run's overrides but its method: data, shots, teacher, budget.tokens",
    )
    advice.set_defaults(act="advise")


def _add_tune_prompt(verbs: _Verbs) -> None:
    tune = verbs.add_parser(
        "tune-prompt",
        help="try ways of asking the teacher on dev texts or shots, and write down the best",
    )
    tune.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="a run's overrides: task, data, teacher"
    )
    tune.add_argument(
        "--on",
        default="auto",
        choices=("auto", "dev", "shots"),
        help="texts that decide: dev, or the shots, each one with the others as demonstrations",
    )
    tune.add_argument("--texts", type=int, default=60, help="dev texts at most (60)")
    tune.add_argument(
        "--try",
        action="append",
        default=[],
        dest="tries",
        metavar="KEY=VALUE",
        help="a further setting to try on top of the best way; repeatable",
    )
    tune.add_argument(
        "--output", type=Path, default=Path("tuned"), help="folder of the override file (tuned)"
    )
    tune.set_defaults(act="tune_prompt")


def _add_label(verbs: _Verbs) -> None:
    label = verbs.add_parser(
        "label", help="let the teacher label a heap of texts of any size, without a student"
    )
    label.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="a run's overrides: data (labels and shots), teacher, labelling, budget.tokens",
    )
    label.add_argument(
        "--texts",
        type=Path,
        required=True,
        metavar="HEAP",
        help="a file of texts (.txt with one per line, or any format that training reads), or a "
        "folder of such files",
    )
    label.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="folder of the labelled texts"
    )
    label.add_argument("--text-column", default="text", help="the column of texts")
    label.add_argument(
        "--words-column",
        default="tokens",
        help="for entities: a column of lists of words; its number in column files (CoNLL)",
    )
    label.add_argument("--encoding", default="utf-8", help="encoding of the files")
    label.add_argument(
        "--chunk",
        type=int,
        default=10_000,
        help="texts that are labelled and written at once (10000)",
    )
    label.add_argument(
        "--calibrate-on",
        type=int,
        default=2_000,
        help="first texts of the heap that the calibration is fitted on (2000)",
    )
    label.add_argument(
        "--engine",
        default="process",
        choices=("process", "ray"),
        help="who labels: this process, or replicas on a Ray cluster (that of RAY_ADDRESS, or this "
        "machine)",
    )
    label.add_argument("--replicas", type=int, metavar="N", help="of --engine ray: replicas (1)")
    for kind, default in (
        ("cpus", "1, or a share of this machine"),
        ("gpus", "those that its engine takes"),
    ):
        label.add_argument(
            f"--{kind}-per-replica",
            type=float,
            metavar="X",
            help=f"of --engine ray: {kind[:3].upper()}s of each replica ({default})",
        )
    label.add_argument(
        "--batch-requests",
        type=Path,
        metavar="FOLDER",
        help="write the requests that have no reply yet as batch files (OpenAI, vllm run-batch) "
        "to this folder, and ask no server",
    )
    label.add_argument(
        "--batch-replies",
        type=Path,
        metavar="PATH",
        help="label by the replies of a batch service: a file, or a folder of .jsonl files",
    )
    label.set_defaults(act="label")


def _add_predict(verbs: _Verbs) -> None:
    predict = verbs.add_parser("predict", help="labels from a finished run's student")
    predict.add_argument("run", type=Path, help="a run's folder, its student/ folder or an export")
    predict.add_argument("texts", nargs="*", help="texts to label")
    predict.add_argument(
        "--file",
        type=Path,
        help="a file of texts: .txt (one per line), or any format that training reads",
    )
    predict.add_argument("--text-column", default="text", help="the column of texts")
    predict.add_argument(
        "--words-column",
        default="tokens",
        help="for entities: a column of lists of words; its number in column files (CoNLL)",
    )
    predict.add_argument("--encoding", default="utf-8", help="encoding of the file")
    predict.add_argument(
        "--keep",
        action="append",
        metavar="COLUMN[,COLUMN]",
        help="columns of the file to copy to the output, with commas between them; repeatable",
    )
    predict.add_argument(
        "--keep-all", action="store_true", help="copy all columns of the file to the output"
    )
    predict.add_argument(
        "--output", type=Path, help="write JSON lines here instead of to the terminal"
    )
    predict.add_argument(
        "--abstain",
        action="store_true",
        help="withhold the predictions that guarantee.json does not cover, and add label sets",
    )
    predict.set_defaults(act="predict")


def _add_export(verbs: _Verbs) -> None:
    export = verbs.add_parser(
        "export", help="write a finished run's student for services, and compare it with the run's"
    )
    export.add_argument("run", type=Path, help="a run's folder")
    export.add_argument(
        "--format",
        required=True,
        choices=("hf", "onnx", "onnx-int8", "dataset"),
        help="hf: a folder of transformers; onnx: a graph for onnxruntime; onnx-int8: with weights "
        "of 8 bits; dataset: the pool, for the library datasets",
    )
    export.add_argument(
        "--to", type=Path, metavar="FOLDER", help="folder to write; RUN/export/FORMAT by default"
    )
    export.add_argument(
        "--license",
        default="other",
        metavar="ID",
        help="licence in the card, as the hub spells it (apache-2.0); other by default",
    )
    export.add_argument(
        "--language", default="", metavar="CODE", help="language of the texts in the card (de)"
    )
    export.add_argument(
        "--with-pool-texts",
        action="store_true",
        help="of dataset: include the texts of your data set, too",
    )
    export.set_defaults(act="export")


def _add_push(verbs: _Verbs) -> None:
    pushing = verbs.add_parser(
        "push", help="copy an export to a folder, or upload it to the Hugging Face hub"
    )
    pushing.add_argument("export", type=Path, help="the folder of an export")
    pushing.add_argument(
        "--to", required=True, metavar="FOLDER|hub:OWNER/NAME", help="where the export goes"
    )
    pushing.add_argument(
        "--public", action="store_true", help="of the hub: everybody may read the repository"
    )
    pushing.set_defaults(act="push")


def _add_serve_student(verbs: _Verbs) -> None:
    service = verbs.add_parser(
        "serve-student", help="a web service around a run's student, or an export of it"
    )
    service.add_argument("run", type=Path, help="a run's folder, its student/ folder or an export")
    service.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; this machine alone by default"
    )
    service.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")
    service.add_argument(
        "--max-texts", type=int, default=256, help="texts of a request at most (256)"
    )
    service.add_argument(
        "--max-bytes", type=int, default=2**20, help="bytes of a request at most (1048576)"
    )
    service.set_defaults(act="serve_student")


def _add_guarantee(verbs: _Verbs) -> None:
    guarantee = verbs.add_parser(
        "guarantee",
        help="find a confidence threshold and label sets with guarantees, from a run's dev texts",
    )
    guarantee.add_argument("run", type=Path, help="a run's folder")
    for option, default, text in (
        ("--accuracy", 0.95, "target of the accuracy of the predictions kept"),
        ("--coverage", 0.9, "target of the share of label sets that hold the right label"),
        ("--risk", 0.05, "probability with which the threshold may miss its target"),
    ):
        guarantee.add_argument(option, type=float, default=default, help=f"{text} ({default})")
    guarantee.add_argument(
        "--export",
        type=Path,
        metavar="FOLDER",
        help="an export of the run, whose own predictions count; it gets the file",
    )
    guarantee.add_argument(
        "--fetch", action="store_true", help="read the run's data set from the hub, too"
    )
    guarantee.set_defaults(act="guarantee")


def _add_audit(verbs: _Verbs) -> None:
    audit = verbs.add_parser(
        "audit", help="find labels of a finished run that are perhaps wrong, for its report"
    )
    audit.add_argument("run", type=Path, help="a run's folder")
    audit.add_argument(
        "--encoder",
        metavar="MODEL",
        help="the encoder whose features are compared: embedded, a folder or a hub id; the run's "
        "student.model by default",
    )
    audit.add_argument(
        "--min-confidence",
        type=float,
        default=0.9,
        help="of dev and test: how sure student and teacher must be of another label (0.9)",
    )
    audit.add_argument(
        "--fetch", action="store_true", help="read the run's encoder and data set from the hub, too"
    )
    audit.set_defaults(act="audit")


def _add_review(verbs: _Verbs) -> None:
    review = verbs.add_parser(
        "review", help="let people label rows of a finished run in Label Studio (export, import)"
    )
    steps = review.add_subparsers(required=True, metavar="export|import")
    out = steps.add_parser("export", help="write rows and configuration for Label Studio")
    out.add_argument("run", type=Path, help="a run's folder")
    out.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="file of the tasks, .json; review/tasks.json in the run's folder by default",
    )
    for option, kind in (
        ("--n", "of which the teacher is least sure"),
        ("--disputed", "that the student, or an audit, contradicts most"),
        ("--control", "drawn at random, which tell how good the teacher's labels are"),
    ):
        out.add_argument(option, type=int, default=50, help=f"rows {kind} (50)")
    out.set_defaults(act="review_export")
    back = steps.add_parser("import", help="read what Label Studio exported")
    back.add_argument("run", type=Path, help="the run's folder")
    back.add_argument("file", type=Path, help="Label Studio's export, format JSON")
    back.set_defaults(act="review_import")


def _add_report(verbs: _Verbs) -> None:
    report = verbs.add_parser(
        "report", help="(re)draw report.html and the figures of a run, or of a sweep"
    )
    report.add_argument(
        "run", type=Path, help="a run's folder; or a sweep's, multirun_sweeps/<name>[/<time>]"
    )
    report.add_argument(
        "--metric", default=None, help="of a sweep: the metric that compares its arms"
    )
    report.add_argument(
        "--target",
        type=float,
        default=None,
        help="of a sweep: the value on dev, in [0, 1], to which tokens are counted",
    )
    report.add_argument(
        "--by-overrides",
        action="store_true",
        help="of a sweep: group runs by their overrides even where configurations differ",
    )
    report.set_defaults(act="report")


def _add_reproduce(verbs: _Verbs) -> None:
    reproduce = verbs.add_parser(
        "reproduce", help="do the runs behind a paper's claims, and give a verdict on each"
    )
    reproduce.add_argument("paper", help="evokd, llkd or relatives")
    reproduce.add_argument(
        "--scale",
        default="cpu",
        help="cpu: small models and the shipped data; sets: the papers' sets from a folder; full: "
        "the papers' models (a GPU, the hub)",
    )
    reproduce.add_argument(
        "--data",
        metavar="FOLDER",
        help="of --scale sets: the folder that holds a folder per data set (default: data)",
    )
    reproduce.add_argument(
        "--table", help="main or ablations: check only the claims of this table of the paper"
    )
    reproduce.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="CLAIM",
        help="claims to check; all others are reported as not run",
    )
    reproduce.add_argument(
        "--dry-run", action="store_true", help="print the commands and the estimate, run nothing"
    )
    reproduce.add_argument(
        "--set",
        nargs="+",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="overrides of every run",
    )
    reproduce.set_defaults(act="reproduce")


def _add_dashboard(verbs: _Verbs) -> None:
    dashboard = verbs.add_parser(
        "wandb-dashboard", help="a report layout for the wandb runs of a run, a sweep or a group"
    )
    dashboard.add_argument(
        "where",
        help="folder of a run or of a sweep (multirun_sweeps/<name>[/<time>]), or a wandb group",
    )
    dashboard.add_argument(
        "--output",
        type=Path,
        help="write the layout here; wandb-dashboard.json in the folder by default",
    )
    dashboard.add_argument(
        "--save", action="store_true", help="save it to the wandb account that is logged in, too"
    )
    dashboard.set_defaults(act="dashboard")


def _add_assets(verbs: _Verbs) -> None:
    assets = verbs.add_parser(
        "assets", help="fetch, check and convert the embedded models, or a larger teacher"
    )
    assets.add_argument(
        "--check", action="store_true", help="check only; exit code 4 when one is missing"
    )
    assets.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"a larger teacher: {', '.join(LARGER)}; by default the embedded teacher and student",
    )
    assets.set_defaults(act="assets")


def _add_serve(verbs: _Verbs) -> None:
    serve = verbs.add_parser(
        "serve", help="keep the teacher's engine loaded for all runs on this machine, until Ctrl-C"
    )
    serve.set_defaults(act="serve")


def _add_doctor(verbs: _Verbs) -> None:
    doctor = verbs.add_parser(
        "doctor", help="check this machine and say how to mend what does not work"
    )
    doctor.add_argument("--engine", default="vllm", choices=("vllm", "local", "server"))
    doctor.add_argument(
        "--model", default=None, help="a folder or hub id; the embedded teacher by default"
    )
    doctor.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="a run's teacher in place of both options, for instance a server: "
        "teacher=server teacher.url=…",
    )
    doctor.set_defaults(act="doctor")
