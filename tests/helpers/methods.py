"""Builds methods from the flat settings of their conf/method files."""

from __future__ import annotations

from typing import Any

from tutelage.methods.evokd.curate_train_refine import CurateTrainRefine
from tutelage.methods.evokd.method import EvoKD
from tutelage.methods.evokd.reversegen import ReverseGen
from tutelage.methods.evokd.settings import (
    CurateTrainRefineSettings,
    EvoKDSettings,
    ReverseGenSettings,
)
from tutelage.methods.llm_da.method import LLMDA
from tutelage.methods.llm_da.settings import LLMDASettings
from tutelage.methods.pool.freeal import FreeAL
from tutelage.methods.pool.llmaaa import LLMaAA
from tutelage.methods.pool.method import PoolLabelling
from tutelage.methods.pool.settings import FreeALSettings, LLMaAASettings, PoolSettings


def evokd(
    prompts: Any, acceptance: Any, new_labeller: Any, acquirer: Any = None, **settings: Any
) -> EvoKD:
    return EvoKD(EvoKDSettings(**settings), prompts, acceptance, new_labeller, acquirer)


def reversegen(prompts: Any, acceptance: Any, new_labeller: Any, **settings: Any) -> ReverseGen:
    return ReverseGen(ReverseGenSettings(**settings), prompts, acceptance, new_labeller)


def curate_train_refine(
    prompts: Any, acceptance: Any, new_labeller: Any, **settings: Any
) -> CurateTrainRefine:
    return CurateTrainRefine(
        CurateTrainRefineSettings(**settings), prompts, acceptance, new_labeller
    )


def llm_da(prompts: Any, acceptance: Any, new_labeller: Any, **settings: Any) -> LLMDA:
    return LLMDA(LLMDASettings(**settings), prompts, acceptance, new_labeller)


def pool_labelling(
    prompts: Any, acquirer: Any, new_labeller: Any, **settings: Any
) -> PoolLabelling:
    return PoolLabelling(PoolSettings(**settings), prompts, acquirer, new_labeller)


def llmaaa(prompts: Any, acquirer: Any, new_labeller: Any, **settings: Any) -> LLMaAA:
    return LLMaAA(LLMaAASettings(**settings), prompts, acquirer, new_labeller)


def freeal(prompts: Any, acquirer: Any, new_labeller: Any, **settings: Any) -> FreeAL:
    return FreeAL(FreeALSettings(**{"own_shots": 0, **settings}), prompts, acquirer, new_labeller)
