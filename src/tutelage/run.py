"""One run, top to bottom: data, teacher, student, growth, the references, and the results."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import yaml

from tutelage.config.build import build_dataset, build_mirrors, build_task
from tutelage.config.build_fit import gold_for, keeps_best
from tutelage.config.build_method import build_method
from tutelage.config.build_teacher import begin_teacher, build_stack
from tutelage.config.devices import device_count
from tutelage.config.schema import RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import TutelageError
from tutelage.interruption import Interrupted, Interruption
from tutelage.methods.base import Method, TeacherMethod
from tutelage.progress import ProgressReporter
from tutelage.records import as_dicts
from tutelage.references import supervised_ceiling, teacher_alone, written_or_real
from tutelage.report.majority_class import majority_metrics
from tutelage.report.model_card import write_student_card
from tutelage.run_warnings.checks import warnings_of
from tutelage.run_warnings.facts import facts_of
from tutelage.runs.folder import (
    DONE,
    REPORT,
    RunFolder,
    Status,
    finish,
    is_closed,
    refuse_taken,
)
from tutelage.runs.manifest import environment, identity, plain_config
from tutelage.tasks.protocol import Task
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.transcript import spent_tokens
from tutelage.training import Fitted, fit


def run(
    config: RunConfig,
    path: Path,
    reporter: ProgressReporter,
    resume_command: str,
    *,
    resume: bool,
    draws_report: bool = False,
) -> dict[str, Any]:
    """Does one run in the folder ``path``.

    Args:
        resume_command: what a user types to continue the run, shown when it ends early.
        resume: continue what is in the folder; a finished run is returned as it is.
        draws_report: the caller draws the report next and calls
            :func:`~tutelage.runs.folder.finish`.

    Returns:
        The result, as result.json holds it.

    Raises:
        TutelageError: what went wrong; status.json says it too, with the command that continues.
    """
    folder = RunFolder(path)
    last = REPORT if draws_report else DONE
    if not resume:
        # Looked at twice: without a wait, and when nobody else works in the folder.
        refuse_taken(path)
    elif (finished := folder.read_json("result.json")) and is_closed(folder, REPORT):
        return dict(finished)
    with folder.lock():
        folder.remove_scratch()
        if not resume:
            refuse_taken(path)
        elif finished := folder.read_json("result.json"):
            # Killed after its result, or done by another process in the meantime.
            if not is_closed(folder):
                with build_mirrors(config, path, resume=True):
                    _close(config, folder, last, reporter)
            return dict(finished)
        return _run(config, path, folder, reporter, resume_command, last, resume=resume)


def _close(config: RunConfig, folder: RunFolder, phase: str, reporter: ProgressReporter) -> None:
    """Ends a run that has its result: its student gets a card."""
    from jinja2 import TemplateError

    try:
        write_student_card(folder.path)
    except (TemplateError, TutelageError) as error:
        # The run is done, and its student works without a card.
        reporter.warn(f"The student has no card ({error}).")
    if not config.keep_checkpoint:
        for checkpoints in (folder / "checkpoints", folder / "supervised" / "checkpoints"):
            shutil.rmtree(checkpoints, ignore_errors=True)
    finish(folder, phase)


def _run(
    config: RunConfig,
    path: Path,
    folder: RunFolder,
    reporter: ProgressReporter,
    resume_command: str,
    last_phase: str,
    *,
    resume: bool,
) -> dict[str, Any]:
    began = time.perf_counter()
    status = Status(folder, resume_command, identity(config.source))
    stack: Stack | None = None
    with build_mirrors(config, path, resume=resume), Interruption() as interruption:
        try:
            # What the run is made of.
            plain = plain_config(config.source)
            folder.write_text(
                "config.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
            )
            dataset = build_dataset(config)
            for split in dataset.splits:
                reporter.notice(split.line())
            for warning in dataset.warnings:
                reporter.warn(warning)
            task = build_task(config, dataset)
            method = build_method(config)
            if method.asks_teacher or config.evaluate.teacher:
                stack = build_stack(config, path)
                begin_teacher(method, stack, reporter.warn)
                _compare_teachers(folder, stack, reporter)
            _write_manifest(folder, config, dataset, task, method, stack, resume_command)

            # The student grows its training set.
            fitted = fit(
                config,
                folder,
                status,
                dataset,
                task,
                method,
                stack if method.asks_teacher else None,
                reporter,
                interruption,
                resume=resume,
            )
            fitted.save(path / "student")
            result = _result(config, path, dataset, task, method, fitted, stack)

            if config.evaluate.written_or_real:
                beside = time.perf_counter()
                result["written_or_real"] = written_or_real(config, dataset, fitted.pool)
                if result["written_or_real"] is not None:
                    spent = round(time.perf_counter() - beside, 2)
                    result["seconds"]["written or real"] = spent

            # References, which are never fed back.
            if config.evaluate.teacher and stack is not None:
                beside = time.perf_counter()
                status.phase("teacher alone", fitted.rounds)
                result["teacher"] = teacher_alone(
                    config, folder, dataset, task, stack, reporter, interruption
                )
                result["seconds"]["teacher alone"] = round(time.perf_counter() - beside, 2)
            if stack is not None:
                stack.close()
            if config.evaluate.supervised:
                beside = time.perf_counter()
                result["supervised"] = supervised_ceiling(
                    config, folder, status, dataset, task, reporter, interruption
                )
                result["seconds"]["supervised ceiling"] = round(time.perf_counter() - beside, 2)

            # The result is written last: its file says that the run is done.
            facts = facts_of(folder, config.source, task, fitted.pool.rows, result)
            result["warnings"] = warnings_of(facts)
            # After a resume, the phases count the processes before this one too.
            phases = sum(result["seconds"].values())
            result["wall_seconds"] = round(max(time.perf_counter() - began, phases), 2)
            _write_manifest(folder, config, dataset, task, method, stack, resume_command, fitted)
            folder.write_json("result.json", result)
            _close(config, folder, last_phase, reporter)
            return result
        except (Interrupted, KeyboardInterrupt, SystemExit) as error:
            status.end("interrupted", "stopped by the user")
            raise Interrupted(
                "Stopped as asked. Everything that was answered is kept. Go on with:\n"
                f"  {resume_command}"
            ) from error
        except TutelageError as error:
            status.end("failed", str(error))
            raise
        except BaseException as error:
            status.end("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            if stack is not None:
                stack.close()


def _compare_teachers(folder: RunFolder, stack: Stack, reporter: ProgressReporter) -> None:
    """Warns where a continued run's teacher is another one than at its beginning."""
    noted = (folder.read_json("manifest.json") or {}).get("teacher", {})
    pairs = [(noted, stack.teacher)]
    pairs += [
        (noted.get("others", {}).get(name, {}), layers.teacher)
        for name, layers in stack.others.items()
    ]
    for known, teacher in pairs:
        before = known.get("fingerprint")
        if before and before != teacher.fingerprint:
            reporter.warn(
                f"This run began with the teacher {before} and continues with "
                f"{teacher.fingerprint}, so its rows come from both."
            )


def _other_teachers(config: RunConfig, stack: Stack) -> dict[str, dict[str, str]]:
    """The further teachers of ``labelling.teachers``, by name."""
    return {
        name: {
            "engine": one.kind,
            "model": str(one.get("model") or one.get("recording", "")),
            "fingerprint": stack.others[name].teacher.fingerprint,
        }
        for name, one in config.other_teachers.items()
    }


def _write_manifest(
    folder: RunFolder,
    config: RunConfig,
    dataset: Dataset,
    task: Task,
    method: Method,
    stack: Stack | None,
    resume_command: str,
    fitted: Fitted | None = None,
) -> None:
    choices = config.hydra.choices
    here = environment()
    here["hardware"]["student_devices"] = device_count(config.trainer)
    folder.write_json(
        "manifest.json",
        {
            **here,
            "seed": config.seed,
            **identity(config.source),
            "name": config.name,
            # As typed, without the folder that a resume continues in.
            "command": re.split(r" '?resume=", resume_command)[0],
            "method": config.method_name,
            "selectors": {
                stage: choices.get(stage, "") for stage in ("acquire", "accept", "select")
            },
            "ablation": choices.get("ablation", ""),
            "task": task.name,
            "metrics": as_dicts(list(task.headline_metrics)),
            "labels": as_dicts(list(task.labels)),
            "teacher": {
                "engine": config.teacher.kind,
                "model": config.teacher.get("model") or str(config.teacher.get("recording", "")),
                "fingerprint": stack.teacher.fingerprint if stack else "",
                "prompt": _prompt_way(method, stack),
                "calibration": getattr(method, "calibration", "") or config.calibration.kind,
                "notes": list(stack.notes) if stack else [],
                "others": _other_teachers(config, stack) if stack else {},
            },
            "student": {"model": config.student.model},
            "data": {
                "name": dataset.name,
                "pool": len(dataset.pool),
                "dev": len(dataset.dev),
                "test": len(dataset.test),
                "dropped": dataset.dropped,
                "notes": list(dataset.notes),
                "warnings": list(dataset.warnings),
                "splits": as_dicts(list(dataset.splits)),
                "digest": dataset.digest,
            },
            "gold_labels": _gold(config, dataset, method, fitted),
            "truncated": fitted.truncated if fitted else {},
        },
    )


def _prompt_way(method: Method, stack: Stack | None) -> str:
    if stack is None or not isinstance(method, TeacherMethod):
        return ""
    return method.way_of_asking


def _gold(
    config: RunConfig, dataset: Dataset, method: Method, fitted: Fitted | None
) -> dict[str, int]:
    """Counts the gold labels by use; dev labels that only draw a curve are not used by the run."""
    steered = (
        keeps_best(config, method)
        or config.training.patience
        or config.method.get("scores_from") == "dev"
        or config.method.get("feedback") == "dev"
    )
    return {
        "shots": len(gold_for(config, dataset)),
        "dev": len(dataset.dev) if steered else 0,
        "calibration": fitted.calibration_labels if fitted else 0,
        **({"prompt": tuned} if (tuned := int(config.prompt.get("tuned_on") or 0)) else {}),
    }


def _result(
    config: RunConfig,
    path: Path,
    dataset: Dataset,
    task: Task,
    method: Method,
    fitted: Fitted,
    stack: Stack | None,
) -> dict[str, Any]:
    rows = fitted.pool.rows
    usage = stack.budget.usage if stack and method.asks_teacher else None
    transcript = path / "teacher" / "transcript.jsonl"
    requests = (
        {"all": usage.requests, "cached": usage.cached, "failed": usage.failed} if usage else None
    )
    return {
        "metrics": as_dicts(list(task.headline_metrics)),
        "before": fitted.round_logger.before,
        "after": fitted.round_logger.after,
        "supervised": None,
        "teacher": None,
        "written_or_real": None,
        "majority": majority_metrics(task, [example.label or "" for example in dataset.test]),
        "tokens": {
            "billed": usage.billed if usage else 0,
            "spent": spent_tokens(transcript) if usage else 0,
            "billed_prompt": usage.billed_prompt if usage else 0,
            "billed_completion": usage.billed_completion if usage else 0,
        },
        "requests": requests,
        "seconds": {name: round(value, 2) for name, value in fitted.round_logger.seconds.items()},
        "rows": {
            "accepted": sum(row.accepted for row in rows),
            "rejected": sum(not row.accepted for row in rows),
        },
        "share_of_data": fitted.shares,
        "rounds": fitted.rounds,
        "stopped_by": fitted.stopped_by,
        "kept": fitted.kept,
        "pool_hash": fitted.pool.digest(),
        "gold_labels": _gold(config, dataset, method, fitted),
        "seed": config.seed,
    }
