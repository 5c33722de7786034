"""Question: what does a label cost where there are many classes, and is it on the shortlist?

    python benchmarks/many_classes.py [--texts 100] [--folder outputs/bench-many] --
        data=files data.path=FOLDER teacher.model=qwen2.5-coder-0.5b shots=1

The teacher alone labels texts of test, under the run's own settings and several calibrations. All
calibrations read the same replies, which are cached in ``--folder``. Prints the billed tokens per
label, the accuracy under each calibration, and for how many texts the shortlist has their label
before there is a student.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path

from tutelage.config.build import build_dataset
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_stack
from tutelage.config.compose import compose_config
from tutelage.config.schema import BudgetConfig
from tutelage.labelling.showing import Shortlist
from tutelage.tune_prompt import Judged, ask

_CALIBRATIONS = ("none", "matched", "batch")


def main() -> None:
    """Measures one data set and prints a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-many"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    given = [f"teacher.cache={options.folder}/replies.sqlite", *options.overrides]
    config = compose_config(given)
    dataset = build_dataset(config)
    texts = random.Random(config.seed).sample(dataset.test, min(options.texts, len(dataset.test)))
    shots = tuple(dataset.shots(config.shots, config.seed))
    judged = Judged(tuple(texts), shots, "dev")
    stack = build_stack(replace(config, budget=BudgetConfig(None)), options.folder)
    try:
        stack.begin(print)
        embed = build_encoder(config)
        found = {
            name: ask(
                compose_config([*given, f"calibration={name}"]), dataset, judged, stack, embed
            )
            for name in _CALIBRATIONS
        }
    finally:
        stack.close()
    scores = ", ".join(f"{name} {100 * one.score:.1f} %" for name, one in found.items())
    print(f"{len(dataset.labels)} classes, {len(texts)} texts, {found['none'].tokens:.0f} tokens")
    print(f"accuracy: {scores}; {found['none'].failed} failed")
    size = config.labelling.get("shortlist")
    if size is not None and len(dataset.labels) > 2 * size:
        listed = Shortlist(dataset.labels, shots, embed, size)
        lists = listed([text.text for text in texts], [()] * len(texts))
        names = [label.name for label in dataset.labels]
        inside = sum(
            text.label in {names[at] for at in own} for text, own in zip(texts, lists, strict=True)
        )
        print(f"{inside} of {len(texts)} texts have their label on the shortlist")


if __name__ == "__main__":
    main()
