"""The command line.

Verbs import what they need when they run, so that ``tutelage --help`` answers at once.

tutelage train [overrides]      one run; -m for a multirun
tutelage advise [overrides]     which method suits data, teacher and budget, by what was measured
tutelage plan [overrides]       prompts, requests and cost of a run, before it runs
tutelage tune-prompt [overrides]  which way of asking suits the teacher, measured
tutelage label --texts HEAP --to FOLDER  the teacher labels a heap of texts, without a student
tutelage predict RUN TEXT…      labels from a finished run's student
tutelage export RUN             a finished run's student for services, or its pool as a data set
tutelage push EXPORT            an export to a folder, or to a repository of the hub
tutelage serve-student RUN      a web service around a run's student, or an export of it
tutelage guarantee RUN          a confidence threshold and label sets with guarantees, from dev
tutelage audit RUN              labels of a finished run that are perhaps wrong
tutelage review export RUN      rows of a finished run for people to label (import reads them back)
tutelage report RUN             (re)draw report.html and the figures of a run, or of a sweep
tutelage reproduce PAPER        the runs behind a paper's claims, and a verdict on each
tutelage wandb-dashboard WHERE  a report layout for the wandb runs of a run, a sweep or a group
tutelage assets [NAME]          fetch and check the embedded models, or a larger teacher
tutelage serve                  keep the teacher's engine loaded for all runs on this machine
tutelage doctor                 checks this machine and says how to mend what does not work
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.assets import LARGER
from tutelage.errors import ConfigError, RunError, TutelageError
from tutelage.version import __version__

if TYPE_CHECKING:
    from tutelage.label.command import Job
    from tutelage.report.card_facts import CardOptions

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why standard output cannot be written to although it is open."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a verb.

    Errors that a user can mend are printed without a traceback; each kind has its own exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in ("train", "plan"):
        # Hydra reads the rest itself: its grammar of overrides is not argparse's.
        sys.exit(_guarded(lambda: _hydra_verb(arguments[0], arguments[1:])))
    options = _parser().parse_args(arguments)
    sys.exit(_guarded(lambda: int(options.act(options))))


def _guarded(action: Callable[[], int]) -> int:
    """Does a verb and returns the exit code; also where a stream can no longer be written to."""
    from tutelage.terminal import discard_output, say

    try:
        _check_working_folder()
        code = action()
        if sys.stdout:
            sys.stdout.flush()
        return code
    except TutelageError as error:
        say(f"tutelage: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("tutelage: stopped.")
        return 130
    except BrokenPipeError:  # its reader has seen enough: | head
        discard_output(sys.stdout)
        return 0
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        discard_output(sys.stdout)
        say(f"tutelage: The output could not be written: {error.strerror}.")
        return 1


def _check_working_folder() -> None:
    """Refuses a working folder that was deleted, where no relative path means anything.

    Raises:
        RunError: There is none.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise RunError(
            f"The working folder is gone ({error.strerror}). Change to one that exists (cd …)."
        ) from None


def _parser() -> argparse.ArgumentParser:
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
    advice.set_defaults(act=_advise)
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
    tune.set_defaults(act=_tune_prompt)
    _add_label(verbs)
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
    predict.set_defaults(act=_predict)
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
    export.set_defaults(act=_export)
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
    pushing.set_defaults(act=_push)
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
    service.set_defaults(act=_serve_student)
    _add_guarantee(verbs)
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
    audit.set_defaults(act=_audit)
    _add_review(verbs)
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
    report.set_defaults(act=_report)
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
    reproduce.set_defaults(act=_reproduce)
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
    dashboard.set_defaults(act=_dashboard)
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
    assets.set_defaults(act=_assets)
    serve = verbs.add_parser(
        "serve", help="keep the teacher's engine loaded for all runs on this machine, until Ctrl-C"
    )
    serve.set_defaults(act=_serve)
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
    doctor.set_defaults(act=_doctor)
    return parser


def _add_label(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    label.set_defaults(act=_label)


def _add_guarantee(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    guarantee.set_defaults(act=_guarantee)


def _add_review(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    out.set_defaults(act=_review_export)
    back = steps.add_parser("import", help="read what Label Studio exported")
    back.add_argument("run", type=Path, help="the run's folder")
    back.add_argument("file", type=Path, help="Label Studio's export, format JSON")
    back.set_defaults(act=_review_import)


def _hydra_verb(verb: str, overrides: list[str]) -> int:
    from tutelage.interruption import FOLLOWED, follow
    from tutelage.launch import launch, shows_only, take_config_dir

    overrides = take_config_dir(overrides)
    many = not shows_only(overrides) and any(
        word in ("-m", "--multirun") or word.startswith("sweep=") for word in overrides
    )
    if verb == "plan" and many:
        raise ConfigError(
            "tutelage plan shows one run: leave -m and sweep= out, and give one value of each list."
        )
    if many:
        from tutelage.sweep.multirun import multirun

        return multirun(overrides)
    if parent := os.environ.pop(FOLLOWED, ""):
        follow(int(parent))
    return launch(verb, overrides)


def _advise(options: argparse.Namespace) -> int:
    from tutelage.advise.command import advise
    from tutelage.launch import take_config_dir

    return advise(take_config_dir(options.overrides))


def _tune_prompt(options: argparse.Namespace) -> int:
    from tutelage.launch import take_config_dir
    from tutelage.tune_prompt import tune_prompt

    return tune_prompt(
        take_config_dir(options.overrides),
        on=options.on,
        texts=options.texts,
        tries=options.tries,
        output=options.output,
    )


def _label(options: argparse.Namespace) -> int:
    from tutelage.data.unlabelled import Source
    from tutelage.label.command import Job, Sizes, label
    from tutelage.launch import take_config_dir

    job = Job(
        tuple(take_config_dir(options.overrides)),
        Source(options.texts, options.text_column, options.words_column, options.encoding),
        options.to,
        Sizes(options.chunk, options.calibrate_on),
    )
    if options.batch_requests is not None or options.batch_replies is not None:
        return _label_by_files(options, job)
    if options.engine == "process":
        for name in ("replicas", "cpus_per_replica", "gpus_per_replica"):
            if getattr(options, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} is for --engine ray. Give both.")
        return label(job.overrides, job.source, job.to, job.sizes)
    from tutelage.label.on_ray import Replicas, label_on_ray

    count = 1 if options.replicas is None else options.replicas
    return label_on_ray(job, Replicas(count, options.cpus_per_replica, options.gpus_per_replica))


def _label_by_files(options: argparse.Namespace, job: Job) -> int:
    from tutelage.label.batch import BatchFiles, label_by_files

    for name in ("replicas", "cpus_per_replica", "gpus_per_replica"):
        if options.engine != "process" or getattr(options, name) is not None:
            raise ConfigError(
                "--batch-requests and --batch-replies need no engine, so --engine ray and its "
                "options are not for them. Leave them out."
            )
    return label_by_files(job, BatchFiles(options.batch_requests, options.batch_replies))


def _predict(options: argparse.Namespace) -> int:
    from tutelage.data.unlabelled import Source
    from tutelage.predict import predict

    keep = () if options.keep_all else options.keep
    if options.file is None and keep is not None:
        raise ConfigError("--keep copies columns of a file. Name the file with --file, too.")
    source = options.file and Source(
        options.file, options.text_column, options.words_column, options.encoding, keep
    )
    return predict(options.run, options.texts, source, options.output, abstain=options.abstain)


def _export(options: argparse.Namespace) -> int:
    from tutelage.export import export, print_export
    from tutelage.report.card_facts import CardOptions
    from tutelage.terminal import new_console

    card = CardOptions(options.license, options.language)
    if options.format == "dataset":
        return _export_dataset(options, card)
    if options.with_pool_texts:
        raise ConfigError("--with-pool-texts is for --format dataset; other exports have no texts.")
    found, folder = export(options.run, options.format, options.to, card)
    print_export(new_console(), found)
    print(f"\n{folder}")
    return 0


def _export_dataset(options: argparse.Namespace, card: CardOptions) -> int:
    from tutelage.export_dataset import export_dataset, print_dataset

    found, folder = export_dataset(
        options.run, options.to, with_pool_texts=options.with_pool_texts, options=card
    )
    print_dataset(found)
    print(f"\n{folder}")
    return 0


def _push(options: argparse.Namespace) -> int:
    from tutelage.push import push

    print(push(options.export, options.to, public=options.public))
    return 0


def _serve_student(options: argparse.Namespace) -> int:
    from tutelage.serving import serve_student

    return serve_student(
        options.run,
        host=options.host,
        port=options.port,
        max_texts=options.max_texts,
        max_bytes=options.max_bytes,
    )


def _guarantee(options: argparse.Namespace) -> int:
    from tutelage.guarantee.command import guarantee
    from tutelage.report.html import write_report
    from tutelage.terminal import new_console, print_guarantee

    found, file = guarantee(
        options.run,
        accuracy=options.accuracy,
        coverage=options.coverage,
        risk=options.risk,
        export=options.export,
        fetch=options.fetch,
    )
    print_guarantee(new_console(), found)
    print(f"\n{file}")
    if options.export is None:
        print(write_report(options.run))
    return 0


def _audit(options: argparse.Namespace) -> int:
    from tutelage.audit.command import audit
    from tutelage.report.html import write_report
    from tutelage.terminal import new_console, print_audit

    found = audit(
        options.run,
        encoder=options.encoder,
        min_confidence=options.min_confidence,
        fetch=options.fetch,
    )
    print_audit(new_console(), found)
    print(f"\n{options.run / 'audit.jsonl'}\n{write_report(options.run)}")
    return 0


def _review_export(options: argparse.Namespace) -> int:
    from tutelage.review.command import export
    from tutelage.review.sample import Sizes

    sizes = Sizes(options.control, options.n, options.disputed)
    tasks, configuration, counts = export(options.run, options.to, sizes)
    drawn = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    print(f"{sum(counts.values()):,} rows: {drawn}\n{tasks}\n{configuration}")
    return 0


def _review_import(options: argparse.Namespace) -> int:
    from tutelage.report.html import write_report
    from tutelage.review.command import GOLD, import_labels
    from tutelage.terminal import new_console, print_review

    print_review(new_console(), import_labels(options.run, options.file))
    print(f"\n{options.run / GOLD}\n{write_report(options.run)}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from tutelage.report.html import write_report

    if any((folder / "jobs").is_dir() for folder in (options.run, *options.run.glob("*"))):
        from tutelage.sweep.page import write_sweep_report

        print(write_sweep_report(options.run, options.metric, options.target, options.by_overrides))
    else:
        print(write_report(options.run))
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from tutelage.reproduce.check import reproduce

    return reproduce(
        options.paper,
        options.scale,
        options.only,
        options.overrides,
        table=options.table,
        folder=options.data,
        dry_run=options.dry_run,
    )


def _dashboard(options: argparse.Namespace) -> int:
    from tutelage.tracking.dashboard import reviewed, save_dashboard, write_dashboard

    shown = reviewed(options.where)
    folder = Path(options.where) if Path(options.where).is_dir() else Path()
    print(write_dashboard(shown, options.output or folder / "wandb-dashboard.json"))
    if options.save:
        print(save_dashboard(shown))
    return 0


def _assets(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from tutelage.assets import EMBEDDED, asset_path, asset_ready, ensure_asset, find_asset
    from tutelage.errors import AssetError

    console = Console()
    for name in options.names or EMBEDDED:
        asset = find_asset(name)
        if options.check and not asset_ready(name):
            command = " ".join(["tutelage assets", *options.names])
            raise AssetError(
                f"The model {asset.name} ({name}) is not whole in {asset_path(name)}. "
                f"Run `{command}`."
            )
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(asset.name, total=1.0)

            def show(
                message: str, share: float, progress: Progress = progress, task: TaskID = task
            ) -> None:
                progress.update(task, description=message, completed=share)

            path = ensure_asset(name, show)
        console.print(
            f"{name}: {asset.name} ({asset.licence}) in {path}", highlight=False, soft_wrap=True
        )
    return 0


def _serve(_: argparse.Namespace) -> int:
    import signal

    from tutelage.interruption import stop_signals
    from tutelage.teacher.engines.shared import ADDRESS, EngineHost

    for number in stop_signals():
        signal.signal(number, signal.default_int_handler)
    with EngineHost() as host:
        advice = (
            "Run the next line in the shell that starts the runs; the first run that needs an "
            "engine loads it. Ctrl-C ends it."
        )
        print(advice, file=sys.stderr, flush=True)
        print(f"export {ADDRESS}={host.address}", flush=True)
        signal.pause()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from tutelage.doctor import diagnose, diagnose_teacher, print_report

    if options.overrides:
        checks = diagnose_teacher(options.overrides)
    else:
        checks = diagnose(options.model, options.engine)
    print_report(checks)
    return 0 if all(check.ok is not False for check in checks) else 1


if __name__ == "__main__":
    main()
