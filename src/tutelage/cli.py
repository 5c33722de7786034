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

from tutelage.arguments import parser
from tutelage.errors import ConfigError, RunError, TutelageError

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
    options = parser().parse_args(arguments)
    sys.exit(_guarded(lambda: _ACTS[options.act](options)))


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


_ACTS: dict[str, Callable[[argparse.Namespace], int]] = {
    "advise": _advise,
    "tune_prompt": _tune_prompt,
    "label": _label,
    "predict": _predict,
    "export": _export,
    "push": _push,
    "serve_student": _serve_student,
    "guarantee": _guarantee,
    "audit": _audit,
    "review_export": _review_export,
    "review_import": _review_import,
    "report": _report,
    "reproduce": _reproduce,
    "dashboard": _dashboard,
    "assets": _assets,
    "serve": _serve,
    "doctor": _doctor,
}


if __name__ == "__main__":
    main()
