"""Names of numbered classes as stored by `datasets`, and numbers without a class."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tutelage.data.feature_names import class_names, names_in_parquet

CLASSES = {"names": ["PER", "LOC"], "_type": "ClassLabel"}
NUMBER = {"dtype": "int32", "_type": "Value"}


@pytest.mark.parametrize(
    "feature",
    [
        CLASSES,
        {"feature": CLASSES, "_type": "List"},
        {"feature": CLASSES, "length": -1, "_type": "Sequence"},
        {"feature": {"start": NUMBER, "end": NUMBER, "label": CLASSES}, "_type": "List"},
        {"feature": {"start": NUMBER, "type": CLASSES}, "_type": "LargeList"},
        [{"start": NUMBER, "end": NUMBER, "label": CLASSES}],
        {
            "start": {"feature": NUMBER, "_type": "List"},
            "label": {"feature": CLASSES, "_type": "List"},
        },
        {"label": {"dtype": "string", "_type": "Value"}, "type": CLASSES},
    ],
)
def test_names_are_found_in_every_form(feature: Any) -> None:
    features = {"text": {"dtype": "string", "_type": "Value"}, "spans": feature}
    assert class_names(features) == {"spans": ("PER", "LOC")}
    assert names_in_parquet(
        {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    ) == {"spans": ("PER", "LOC")}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {b"pandas": b"{}"},
        *(
            {b"huggingface": text}
            for text in (b"{", b"\xff", b"[]", b"null", b'{"info": {"features": 3}}')
        ),
    ],
)
def test_metadata_without_names(metadata: Any) -> None:
    assert names_in_parquet(metadata) == {}


@pytest.mark.parametrize(
    "feature",
    [
        None,
        3,
        [],
        {},
        {"_type": "Value"},
        {"_type": "ClassLabel", "names": None},
        {"start": NUMBER},
    ],
)
def test_features_without_names(feature: Any) -> None:
    assert class_names({"label": feature}) == {}
