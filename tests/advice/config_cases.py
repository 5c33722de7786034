"""Overrides that cannot be composed, or that undo one another."""

from __future__ import annotations

from tests.advice.cases import Case

STAGES = "the stages end the run (training.start_epochs, round_epochs, final_epochs)"


def composed(
    site: str | tuple[str, ...],
    given: tuple[str, ...],
    fixes: tuple[str | tuple[str, ...], ...],
    about: tuple[str, ...] = (),
    task: str = "classification",
) -> Case:
    return Case(site, given, fixes, "compose", about, task)


CASES = [
    *(
        composed(
            STAGES,
            (f"+trainer.{key}=3",),
            ((f"-trainer.{key}", "training.start_epochs=3"),),
            about=(f"trainer.{key}",),
        )
        for key in ("max_epochs", "min_epochs", "min_steps")
    ),
    composed(
        "a stage's steps are limited by",
        ("+trainer.max_steps=3",),
        (("-trainer.max_steps", "training.start_max_steps=3"),),
        about=("trainer.max_steps",),
    ),
    composed(
        "callbacks are a group of their own",
        ("+trainer.callbacks=[]",),
        (
            ("-trainer.callbacks", "callbacks=device_stats"),
            (
                "-trainer.callbacks",
                "+callbacks.NAME._target_=pytorch_lightning.callbacks.ModelSummary",
            ),
        ),
        about=("trainer.callbacks", "callbacks.NAME"),
    ),
    composed(
        "loggers are a group of their own",
        ("+trainer.logger=true",),
        (
            ("-trainer.logger", "logger=csv"),
            ("-trainer.logger", "+logger.NAME._target_=pytorch_lightning.loggers.CSVLogger"),
        ),
        about=("trainer.logger", "logger.NAME"),
    ),
    composed(
        "the run writes checkpoints that resume=true needs",
        ("+trainer.enable_checkpointing=false",),
        ("-trainer.enable_checkpointing",),
        about=("trainer.enable_checkpointing", "resume=true"),
    ),
    composed(
        "it would end a run before its first round",
        ("+trainer.fast_dev_run=true",),
        (("-trainer.fast_dev_run", "method.rounds="),),
        about=("trainer.fast_dev_run",),
    ),
    composed(
        "trainer.strategy={} divides the student's weights",
        ("trainer.strategy=fsdp", "trainer.devices=2"),
        ("trainer.strategy=ddp",),
    ),
    composed(
        "trainer.num_nodes={} is not one",
        ("trainer.num_nodes=2",),
        (("trainer.num_nodes=1", "trainer.devices=2"),),
    ),
    composed(
        "trainer.devices={} is neither a number of devices",
        ("trainer.devices=-1",),
        ("trainer.devices=2", "trainer.devices=[0,1]"),
    ),
    composed(
        "trainer.strategy={} does not train the student on several devices",
        ("trainer.strategy=ddp_spawn", "trainer.devices=2"),
        ("trainer.strategy=ddp", "trainer.devices=1"),
    ),
    composed(
        "trainer.plugins={} would join the processes in another way",
        ("trainer.plugins=[mine]", "trainer.devices=2"),
        ("trainer.plugins=null", "trainer.devices=1"),
    ),
    composed(
        "callbacks.{} would run on the first device alone",
        ("callbacks=device_stats", "trainer.devices=2"),
        ("callbacks=none", "trainer.devices=1"),
        about=("callbacks.device_stats",),
    ),
    composed(
        "student.batch_size={} is the batch of all devices together",
        ("student.batch_size=1", "trainer.devices=2"),
        ("student.batch_size=2",),
        about=("trainer.devices",),
    ),
    composed(
        "it would replace the growing training set",
        ("+trainer.overfit_batches=2",),
        (("-trainer.overfit_batches", "+trainer.limit_train_batches=2"),),
        about=("trainer.overfit_batches",),
    ),
    composed(
        "ablation={} sets {}={}",
        ("ablation=no_review", "training.review_every=2"),
        ("-ablation", "-training.review_every"),
        about=("training.review_every=0",),
    ),
    composed(
        "The prompt refers to data.{}",
        ("data=wikigold", "task=classification", "-data.path"),
        ("data=snips", "task=ner"),
        about=("data.genre", "data.leads", "data.cue"),
    ),
    composed(
        "teacher=server reads its key from the variable",
        ("teacher=server", "teacher.model=any", "+teacher.api_key=sk-abcdefghijklmnop123456"),
        (("-teacher.api_key", "teacher.api_key_env=OPENAI_API_KEY"),),
        about=("teacher.api_key=${oc.env:NAME}", "teacher.api_key=${oc.env", "teacher.api_key"),
    ),
    composed(
        "{} must be the NAME of an environment variable",
        ("teacher=server", "teacher.model=any", "teacher.api_key_env=sk-abcdefghijklmnop123456"),
        ("teacher.api_key_env=",),
        about=("OPENAI_API_KEY",),
    ),
    composed(
        "{} is no override: write key=value, as in seed=2.",
        ("data.path=my", "data"),
        (("-data", "data.path=my data"),),
        about=("seed=2", "data.path=my data"),
    ),
    composed(
        "the group labelling (labelling=verify or labelling=extract)",
        ("teacher.ner=verify",),
        (("-teacher.ner", "labelling=verify"), ("-teacher.ner", "labelling=extract")),
        about=("teacher.ner", "tutelage train", "--cfg"),
        task="ner",
    ),
]
