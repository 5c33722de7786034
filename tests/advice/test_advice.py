"""The advice of every message is followed in the very case in which the message gives it."""

from __future__ import annotations

import pytest
from tests.advice import config_cases, data_cases, settings_cases, teacher_cases
from tests.advice.cases import Case, check

CASES = [
    *settings_cases.CASES,
    *data_cases.CASES,
    *config_cases.CASES,
    *teacher_cases.CASES,
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_advice_helps(case: Case, attempts, placed):
    check(placed(case), attempts(case))
