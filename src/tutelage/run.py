"""One run, top to bottom: data, teacher, student, growth, the arms beside it, and the numbers that are quoted."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tutelage.config.build import build, build_dataset, build_method, build_mirror, build_stack
from tutelage.data.dataset import Dataset
from tutelage.errors import TutelageError
from tutelage.interruption import Interrupted, Interruption
from tutelage.methods.base import Method
from tutelage.progress import ProgressReporter
from tutelage.records import as_dicts
from tutelage.references import supervised_ceiling, teacher_alone
from tutelage.runs.folder import RunFolder, Status
from tutelage.runs.manifest import config_hash, environment, plain_config
from tutelage.tasks.protocol import Task
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.transcript import spent_tokens
from tutelage.training import Fitted, fit, keeps_best, shots_of


def run(
    config: DictConfig, path: Path, reporter: ProgressReporter, resume_command: str, *, resume: bool
) -> dict[str, Any]:
    """Do one run in the folder ``path`` and return its result (result.json).

    Raises:
        TutelageError: what went wrong; status.json says it too, with the command that goes on.
    """
    folder = RunFolder(path)
    if resume and (finished := folder.read_json("result.json")):
        return dict(finished)
    with folder.lock():
        return _run(config, path, folder, reporter, resume_command, resume=resume)


def _run(
    config: DictConfig,
    path: Path,
    folder: RunFolder,
    reporter: ProgressReporter,
    resume_command: str,
    *,
    resume: bool,
) -> dict[str, Any]:
    began = time.perf_counter()
    status = Status(folder, resume_command)
    stack: Stack | None = None
    with build_mirror(config, path, resume=resume), Interruption() as interruption:
        try:
            folder.write_text("config.yaml", OmegaConf.to_yaml(plain_config(config)))
            dataset = build_dataset(config)
            task: Task = build(config.task, "task", labels=dataset.labels)
            method = build_method(config)
            if method.asks_teacher or config.evaluate.teacher:
                stack = build_stack(config, path)
            _write_manifest(folder, config, dataset, task, stack)
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
            if config.evaluate.teacher and stack is not None:
                beside = time.perf_counter()
                status.phase("teacher alone", fitted.rounds)
                result["teacher"] = teacher_alone(
                    config, folder, dataset, task, stack.inner, reporter, interruption
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
            result["wall_seconds"] = round(time.perf_counter() - began, 2)
            _write_manifest(folder, config, dataset, task, stack, fitted)
            folder.write_json("result.json", result)
            if not config.trainer.keep_checkpoint:
                for checkpoints in (path / "checkpoints", path / "supervised" / "checkpoints"):
                    shutil.rmtree(checkpoints, ignore_errors=True)
            status.end("done")
            return result
        except (Interrupted, KeyboardInterrupt, SystemExit) as error:
            status.end("interrupted", "stopped by the user")
            raise Interrupted(
                f"Stopped as asked. Everything that was answered is kept. Go on with:\n  {resume_command}"
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


def _write_manifest(
    folder: RunFolder,
    config: DictConfig,
    dataset: Dataset,
    task: Task,
    stack: Stack | None,
    fitted: Fitted | None = None,
) -> None:
    folder.write_json(
        "manifest.json",
        {
            **environment(),
            "seed": config.seed,
            "config_hash": config_hash(config),
            "name": config.name,
            "method": config.method.name,
            "selector": _choice("selector"),
            "ablation": _choice("ablation"),
            "task": task.name,
            "metrics": as_dicts(list(task.headline_metrics)),
            "labels": as_dicts(list(task.labels)),
            "teacher": {
                "engine": str(config.teacher._target_).rsplit(".", 1)[-1],
                "model": config.teacher.get("model") or str(config.teacher.get("recording", "")),
                "fingerprint": stack.teacher.fingerprint if stack else "",
                "calibration": str(config.calibration._target_).rsplit(".", 1)[-1],
            },
            "student": {"model": config.student.model},
            "data": {
                "name": dataset.name,
                "pool": len(dataset.pool),
                "dev": len(dataset.dev),
                "test": len(dataset.test),
                "dropped": dataset.dropped,
                "notes": list(dataset.notes),
                "digest": dataset.digest,
            },
            "gold_labels": _gold(config, dataset, fitted),
            "truncated": fitted.truncated if fitted else {},
        },
    )


def _choice(group: str) -> str:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return ""
    return str(HydraConfig.get().runtime.choices.get(group) or "")


def _gold(config: DictConfig, dataset: Dataset, fitted: Fitted | None) -> dict[str, int]:
    """How many gold labels were used for what; dev labels that only draw a curve are not used by the run."""
    steered = (
        keeps_best(config)
        or config.method.training.patience
        or config.method.get("scores_from") == "dev"
    )
    return {
        "shots": len(shots_of(config, dataset)),
        "dev": len(dataset.dev) if steered else 0,
        "calibration": fitted.calibration_labels if fitted else 0,
    }


def _result(
    config: DictConfig,
    path: Path,
    dataset: Dataset,
    task: Task,
    method: Method,
    fitted: Fitted,
    stack: Stack | None,
) -> dict[str, Any]:
    rows = fitted.pool.rows
    usage = stack.budget.usage if stack and method.asks_teacher else None
    return {
        "metrics": as_dicts(list(task.headline_metrics)),
        "before": fitted.round_logger.before,
        "after": fitted.round_logger.after,
        "supervised": None,
        "teacher": None,
        "tokens": {
            "billed": usage.billed if usage else 0,
            "spent": spent_tokens(path / "teacher" / "transcript.jsonl") if usage else 0,
            "billed_prompt": usage.billed_prompt if usage else 0,
            "billed_completion": usage.billed_completion if usage else 0,
        },
        "requests": {"all": usage.requests, "cached": usage.cached, "failed": usage.failed}
        if usage
        else None,
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
        "gold_labels": _gold(config, dataset, fitted),
        "seed": config.seed,
    }
