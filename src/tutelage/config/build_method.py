"""From the configuration to the method, with its selectors and its labeller."""

from __future__ import annotations

from functools import partial
from typing import Any

from tutelage.config.build import build
from tutelage.config.build_labeller import build_labeller
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_prompts
from tutelage.config.check import locate
from tutelage.config.schema import Component, RunConfig
from tutelage.errors import ConfigError
from tutelage.methods.base import Method

_STAGES = {
    "acquire": ("acquirer", "chooses texts of the unlabelled pool"),
    "accept": ("accept_selector", "decides about generated texts"),
}
"""Optional selectors of a method: the argument that takes each, and its purpose for messages."""


def build_method(config: RunConfig) -> Method:
    """Builds the method of conf/method, with prompts, selectors and labeller where it takes them.

    Raises:
        ConfigError: a selector is set for a stage that the method does not have, or one is missing.
    """
    import inspect

    takes = inspect.signature(locate(config.method.target, "method")).parameters
    given: dict[str, Any] = {}
    for stage, (argument, does) in _STAGES.items():
        component: Component | None = getattr(config, stage)
        if argument not in takes:
            if component is not None:
                raise ConfigError(
                    f"{stage}={config.hydra.choices.get(stage) or component.kind} {does}, and "
                    f"method={config.method_name} has no such stage. Leave it out, or give "
                    f"{stage}=none."
                )
            continue
        if component is None and takes[argument].default is not inspect.Parameter.empty:
            continue  # the method itself knows whether it needs one
        if component is None:
            raise ConfigError(
                f"method={config.method_name} needs a selector that {does}: give {stage}=…, one of "
                f"the options in conf/{stage}."
            )
        given[argument] = build(component, stage)
    _check_acquire(config)
    if "prompts" in takes:
        given["prompts"] = build_prompts(config)
        # One encoder for all labellers of the run.
        given["new_labeller"] = partial(
            build_labeller, config, given["prompts"], embed=build_encoder(config)
        )
    method: Method = build(config.method, "method", **given)
    return method


def _check_acquire(config: RunConfig) -> None:
    """Refuses an acquire selector that would never be asked."""
    chosen = config.hydra.choices.get("acquire", "")
    idle = config.acquire is not None and not config.method.get("rounds")
    if idle and "acquire" in config.hydra.named and chosen not in ("random", "none", ""):
        raise ConfigError(
            f"method={config.method_name} has 0 rounds, so it labels its texts before there is a "
            f"student, and acquire={chosen} would never be asked. Give method.rounds=4 "
            "method.n_texts=50 (and method.first=50), or method=llkd_on_demand."
        )
