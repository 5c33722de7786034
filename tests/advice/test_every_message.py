"""Every message that advises something has its advice followed by a test, or says why not."""

from __future__ import annotations

from collections.abc import Iterator

from tests.advice import test_commands, test_objects
from tests.advice.cases import site_of
from tests.advice.sites import sites
from tests.advice.test_advice import CASES

NOT_FOLLOWED = {
    # A GPU, an engine of vLLM or a model too large for this machine.
    "teacher/engines/link.py": "an engine of vLLM that fails to start",
    "teacher/engines/hardware.py": "a machine without vLLM",
    "teacher/engines/vllm.py": "an engine of vLLM",
    "teacher/engines/engine_settings.py": "an engine of vLLM",
    "teacher/engines/shared.py": "an engine of vLLM that runs share",
    "config/build_teacher.py 'training.prefetch=true asks": "an engine of vLLM; tests/unit/config",
    "config/build_teacher.py 'training.prefetch=true needs": "another engine; tests/unit/config",
    "config/build_student.py 'loss={} compares or remembers": "processes; tests/unit/config",
    "followers.py": "several processes, which tests/unit/test_followers.py starts",
    # Accounts, package indices and disks.
    "tracking/": "an account of wandb",
    "assets.py": "a package index that cannot be reached",
    "callbacks/checkpoint.py": "a full disk",
    "runs/folder.py '{} could not be written": "a full disk",
    # Not yet.
    "run_warnings/": "suggestions without a promise, of settings that the run has",
    "doctor.py": "not yet",
    "sweep/": "not yet",
    "teacher/engines/server": "not yet, where no case names it",
    "teacher/wrappers/cache": "not yet, where no case names it",
    "labelling/ner_extract.py": "not yet: replies of a teacher that is too small",
    "reproduce/": "not yet: needs the runs behind a claim",
    "student/freezing.py": "a network without a part of its own, in tests/unit/student",
    "student/observing.py": "an encoder without hidden states, which transformers does not load",
    "student/epoch_view.py 'select.form=adam": "other heads, as of student/head_fitting.py",
    "student/losses/semi_supervised.py 'loss=semi_supervised mixes": "other heads, as above",
    "student/losses/masked_words.py 'loss=masked_words masks": "a tokenizer without a mask token",
    "student/head_fitting.py": "other heads, which tests/unit/student/test_head_fitting.py has",
    "labelling/ner_verify.py 'Fewer than 60": "not yet",
    "teacher/chat.py": "not yet",
    "tune_prompt.py": "not yet",
    "advise/": "suggestions without a promise, which tests/unit/advise reads",
    "export.py": "options of one verb, which tests/unit/test_export.py gives",
    "export_dataset.py": "an option, which tests/unit/test_export_dataset.py gives",
    "cli.py '--with-pool-texts": "an option, which tests/unit/test_export_dataset.py gives",
    "cli.py '--{} is for --engine ray": "options, which tests/unit/label/test_on_ray.py gives",
    "cli.py '--batch-requests": "options, which tests/unit/label/test_batch.py gives",
    "teacher/engines/server_offline.py": "settings that tests/unit/label/test_batch.py gives",
    "push.py": "options of one verb, which tests/unit/test_push.py gives",
    "report/card_facts.py": "options of one verb, which tests/unit/report/test_cards.py gives",
    "serving.py": "options of one verb, which tests/unit/test_serving.py gives",
    "audit/": "options of one verb, which the tests of tests/unit/audit give",
    "label/": "options of one verb, which the tests of tests/unit/label give",
    "guarantee/": "options of one verb, which tests/integration/test_guarantee.py gives",
    "report/guarantee.py": "an option of that verb",
    "student/abstention.py": "a command, which tests/integration/test_guarantee.py runs",
    "runs/files.py 'Run `tutelage guarantee` again": "a part of a message about a damaged file",
    "review/": "commands and options of one verb, which tests/integration/test_review.py gives",
    "data/sources.py 'There is no file {}. Set data.gold=": "a file, given in tests/unit/data",
    "data/readers.py 'Add rows to it, or leave data.gold": "a file, given in tests/unit/data",
    # Statements, parts of other messages, and guards that no configuration reaches.
    "report/panels.py": "explains a table",
    "tasks/entity_rows.py 'data.tags_column= or": "part of messages with cases of their own",
    "config/build_fit.py": "parts of a message with cases of its own; tests/unit/test_training.py",
    "training.py": "parts of a message with cases of its own",
    "teacher/sampling.py": "a difference between engines",
    "methods/gold.py 'method={} does not grow": "a guard",
    "methods/evokd/method.py 'method={} needs a teacher": "a guard: a run has a teacher",
    "methods/evokd/method.py 'method.feedback={} labels no": "a part of a message with a case",
    "methods/evokd/method.py 'method.split=bandit decides": "a part of that message",
    "methods/pool/method.py 'method={} with method.rounds=0": "a part of that message",
    "methods/pool/method.py 'method={} needs a teacher": "a guard: a run has a teacher",
    "methods/pool/method.py 'method={} labels a pool": "a guard: every reader refuses it first",
    "methods/pool/pseudo_labels.py 'method={} lets the student": "a guard, as above",
    "methods/llm_da/method.py 'method=llm_da needs a teacher": "a guard: a run has a teacher",
    "methods/generation/augmentation.py": "parts of messages with cases of their own",
    "predict.py '--output {} is being written": "two processes: tests/unit/test_predict.py",
    "cli.py 'tutelage assets'": "a part of a message",
    "labelling/text_labeller.py 'Each prompt lists": "a statement",
    "methods/base.py '; calibration={}'": "a statement",
    "labelling/text_labeller.py 'The demonstrations are chosen by {} requests": "a statement",
    "labelling/boosted.py 'Each text is labelled by the votes": "a statement",
    "labelling/boosted.py 'None of {} rules": "replies of a teacher that is too small",
    "labelling/boosted.py 'None of {} requests": "a teacher without a reply: tests/unit/labelling",
    "labelling/boosted.py 'labelling=boosted has neither": "a guard: a data set has dev texts",
    "labelling/ensemble.py 'Each text is labelled by {} prompts": "a statement",
    "plan.py 'method={} asks no teacher": "nothing to mend",
}
"""Messages that no test follows, by the beginning of module and text, each with the reason."""


def followed() -> Iterator[str]:
    """The texts of the messages whose advice is followed."""
    for case in CASES:
        yield from case.fragments
    for module in (test_commands, test_objects):
        for value in vars(module).values():
            yield from getattr(value, "fragments", ())


def test_every_message_has_its_advice_followed():
    texts = {site_of(fragment).text for fragment in followed()}
    left = [site for site in sites() if site.text not in texts]
    named = [f"{site.module} {site.text!r}".replace('"', "'") for site in left]
    unknown = [
        str(site)
        for site, name in zip(left, named, strict=True)
        if not name.startswith(tuple(NOT_FOLLOWED))
    ]
    assert not unknown, "a message without a case (docs in tests/advice/cases.py)"
    for reason in NOT_FOLLOWED:
        assert any(name.startswith(reason) for name in named), f"{reason} is followed now"
