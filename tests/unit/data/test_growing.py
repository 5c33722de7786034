"""The growing loaders alone: their batches, their counts, and refused settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.data.loaders import (
    LABELS,
    AllAccepted,
    OneLabelTask,
    examples,
    make_tokenizer,
    module,
    rows,
)

from tutelage.data.growing import GrowingDataModule
from tutelage.data.items import ItemEncoder
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, DataError, RunError
from tutelage.records import Example, LabelDistribution, Row


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool.open(tmp_path / "rows.jsonl")


def test_a_batch_holds_what_the_student_needs(pool: Pool) -> None:
    soft = LabelDistribution(LABELS, (0.7, 0.2, 0.1), 0.25)
    pool.append([*rows(9, weight=0.5), replace(rows(1, round=1)[0], distribution=soft)])
    data = module(pool)
    seen = []
    for batch in data.train_dataloader():
        size, length = batch["input_ids"].shape
        assert batch["attention_mask"].shape == (size, length)
        assert batch["targets"].shape == (size, 3)
        assert [batch[key].dtype for key in ("input_ids", "attention_mask", "index")] == [
            torch.long
        ] * 3
        assert [batch[key].dtype for key in ("targets", "weights")] == [torch.float32] * 2
        items = data.items("train", batch["index"])
        for index, item in enumerate(items):
            ids = batch["input_ids"][index][batch["attention_mask"][index].bool()].tolist()
            assert ids == make_tokenizer()(item.text)["input_ids"]
            assert batch["input_ids"][index][len(ids) :].tolist() == [0] * (length - len(ids))
            assert batch["weights"][index] == item.weights[0]
            assert batch["targets"][index].tolist() == pytest.approx(item.vectors[0])
            assert batch["teacher"][index].tolist() == pytest.approx(item.teacher[0])
            assert batch["off_label"][index] == item.off_label
        assert length == max(len(item.token_ids) for item in items)
        seen += items
    assert sorted(item.id for item in seen) == sorted(row.id for row in pool.rows)
    fresh = next(item for item in seen if item.round == 1)
    assert (fresh.source, fresh.target, fresh.vectors) == ("hard", "A", ((1.0, 0.0, 0.0),))
    assert (fresh.teacher, fresh.confidence, fresh.off_label, fresh.group, fresh.gold) == (
        ((0.7, 0.2, 0.1),),
        0.7,
        0.25,
        0,
        False,
    )
    gold = next(item for item in seen if item.target == "C")
    assert (gold.teacher, gold.confidence, gold.off_label, gold.group, gold.gold) == (
        gold.vectors,
        1.0,
        0.0,
        2,
        True,
    )


def test_dev_fresh_and_test(pool: Pool) -> None:
    pool.append(
        [
            *rows(6),
            *rows(4, round=1),
            *rows(2, round=2),
            replace(rows(3, round=2)[2], accepted=False, reason="near"),
        ]
    )
    data = module(pool)
    dev, fresh = data.val_dataloader()
    assert [item.id for item in fresh.dataset.items] == ["2-0", "2-1"]
    assert {item.source for item in dev.dataset.items} == {"dev"}
    order = [index for batch in dev for index in batch["index"].tolist()]
    assert order == sorted(
        range(7), key=lambda index: (len(data.items("dev", [index])[0].token_ids), index)
    )
    tested = [
        item for batch in data.test_dataloader() for item in data.items("test", batch["index"])
    ]
    assert {(item.source, item.round) for item in tested} == {("test", 0)}
    assert sorted(item.id for item in tested) == sorted(
        example.id for example in examples("test", 5)
    )


def test_rejected_rows_are_never_fresh(pool: Pool) -> None:
    pool.append([*rows(3), *rows(2, round=1, accepted=False, reason="label")])
    data = module(pool)
    assert list(data.val_dataloader()[1]) == []
    assert data.items("fresh", []) == []


def test_each_row_is_tokenised_once_and_cuts_are_counted_once(pool: Pool) -> None:
    tokenizer = make_tokenizer()
    calls: list[str] = []

    class Counting:
        pad_token_id = 0

        def num_special_tokens_to_add(self) -> int:
            return 2

        def __call__(self, texts: list[str] | str, **settings: Any) -> Any:
            calls.extend([texts] if isinstance(texts, str) else texts)
            return tokenizer(texts, **settings)

    encoder = ItemEncoder(OneLabelTask(), Counting(), 6)
    short, long = (
        Row("s", "w1 w2", "A", "gold", 0, True),
        Row("l", "w1 w2 w3 w4 w5", "A", "gold", 0, True),
    )
    for _ in range(3):
        items = encoder.encode([short, long, short])
    assert calls == ["w1 w2", "w1 w2 w3 w4 w5", "w1 w2 w3 w4 w5"]
    assert items[0].token_ids == (2, 5, 6, 3)
    assert items[1].token_ids == (2, 5, 6, 7, 8, 3)
    assert encoder.truncated == 1


def test_cuts_are_counted_over_every_split(pool: Pool) -> None:
    pool.append(rows(6))
    data = module(pool, max_length=4)
    data.train_dataloader()
    assert (
        data.truncated
        == sum(
            len(one.text.split()) > 2
            for one in (*pool.rows, *examples("dev", 7), *examples("test", 5))
        )
        > 0
    )


def shots_of(counts: dict[str, int]) -> list[Example]:
    """Examples class after class, in the order of shots."""
    return [
        Example(f"{name}-{n}", f"w{n} w{n + 1}", name)
        for name, count in counts.items()
        for n in range(count)
    ]


def test_the_guide_holds_every_class_though_it_is_cut(pool: Pool) -> None:
    guided = module(pool, trusted=shots_of({"C": 30, "A": 30, "B": 2}), eval_batch_size=7)
    guide = guided.guide()
    items = guided.items("guide", guide["index"])
    # One of each class, a second of each, then a third where there is one.
    assert [item.id for item in items] == ["C-0", "A-0", "B-0", "C-1", "A-1", "B-1", "C-2"]
    assert guided.guide()["index"].tolist() == guide["index"].tolist()


def test_a_guide_that_is_whole_is_in_the_order_of_the_shots(pool: Pool) -> None:
    shots = shots_of({"B": 2, "A": 1})
    guided = module(pool, trusted=shots, eval_batch_size=3)
    assert [item.id for item in guided.items("guide", guided.guide()["index"])] == [
        shot.id for shot in shots
    ]


def test_other_rows_are_drawn_by_seed_and_step_and_never_from_the_batch(pool: Pool) -> None:
    pool.append(rows(9))
    data = module(pool, batch_size=4)
    drawn = set()
    for batch in data.train_dataloader():
        own = set(batch["index"].tolist())
        for step in range(20):
            others = data.other_rows(batch, step)
            indices = others["index"].tolist()
            assert len(indices) == len(set(indices)) == min(len(own), 9 - len(own))
            assert not own & set(indices)
            assert data.other_rows(batch, step)["index"].tolist() == indices
            assert torch.equal(others["targets"][0], data.collate("train", indices)["targets"][0])
            drawn.add((min(own), *indices))
    assert len(drawn) > 20
    whole = data.collate("train", range(9))
    assert sorted(data.other_rows(whole, 0)["index"].tolist()) == list(range(9))


def test_unlabelled_texts_are_drawn_by_seed_and_step(pool: Pool) -> None:
    assert module(pool).unlabelled(4, 0) is None
    # Told apart by their lengths.
    texts = [" ".join(["one"] * count) for count in range(1, 14)]
    data = module(pool, unlabelled=texts)
    tokenizer = make_tokenizer()
    known = {tuple(tokenizer(text)["input_ids"]): text for text in texts}
    drawn = []
    for step in (0, 0, 1):
        batch = data.unlabelled(6, step)
        assert batch is not None
        drawn.append(
            [
                known[tuple(ids[mask.bool()].tolist())]
                for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
            ]
        )
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 6
    assert module(pool, unlabelled=texts, seed=1).unlabelled(13, 0) is not None
    few = module(pool, unlabelled=["one " * 40, "two"]).unlabelled(6, 0)
    assert few is not None
    assert few["input_ids"].shape == (2, 16)
    assert data.truncated == 0


def test_a_guide_of_nothing_says_which_settings_give_one(pool: Pool) -> None:
    with pytest.raises(
        ConfigError,
        match=r"this run has none: set shots=1 or more and training\.gold=shots",
    ):
        module(pool).guide()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"no accepted rows to train on: shots=0 gave none\. Set"),
        (
            rows(2, accepted=False, reason="near"),
            r"shots=0 gave none \(2 were rejected; pool/rows\.jsonl says why\)",
        ),
    ],
)
def test_an_empty_first_pool_names_its_seed_source(
    pool: Pool, content: list[Row], message: str
) -> None:
    pool.append(content)
    with pytest.raises(DataError, match=message):
        module(pool).train_dataloader()


def test_a_view_that_gives_nothing_is_named(pool: Pool) -> None:
    class Nothing(AllAccepted):
        def rows(self, pool: Pool, epoch: int) -> list[Row]:
            return []

    pool.append(rows(3))
    with pytest.raises(
        DataError, match=r"view Nothing chose no rows for epoch 0, although the pool has 3"
    ):
        module(pool, view=Nothing()).train_dataloader()


def test_a_dev_example_without_label_is_refused(pool: Pool) -> None:
    with pytest.raises(DataError, match=r"dev example 'x' .* has no label"):
        GrowingDataModule(
            pool,
            OneLabelTask(),
            make_tokenizer(),
            [Example("x", "w1")],
            [],
            batch_size=1,
            seed=0,
            view=AllAccepted(),
        )


def test_settings_that_cannot_work_are_refused(pool: Pool) -> None:
    with pytest.raises(
        ConfigError, match="max_length=2 leaves no room for text besides 2 special tokens"
    ):
        module(pool, max_length=2)
    with pytest.raises(ConfigError, match="no padding token"):
        ItemEncoder(OneLabelTask(), make_tokenizer(pad_token=None), 16)
    pool.append(rows(2))
    with pytest.raises(ConfigError, match="batch size is 0"):
        module(pool, batch_size=0).train_dataloader()
    with pytest.raises(ConfigError, match=r"Unknown loader 'tset'. Did you mean 'test'"):
        module(pool).items("tset", [0])


def test_state_goes_back_to_the_checkpoint(pool: Pool) -> None:
    pool.append(rows(4))
    data = module(pool)
    state = data.state_dict()
    assert state == {"length": 4, "digest": pool.digest()}
    pool.append(rows(3, round=1))
    data.load_state_dict(state)
    assert len(pool) == 4
    with pytest.raises(RunError, match="hash"):
        data.load_state_dict({"length": 3, "digest": state["digest"]})
    with pytest.raises(RunError, match="not from a tutelage run"):
        data.load_state_dict({})


def test_many_texts_are_tokenised_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    some = rows(7)
    whole = list(ItemEncoder(OneLabelTask(), make_tokenizer(), 6).encode(some))
    monkeypatch.setattr("tutelage.data.items._AT_ONCE", 2)
    parts = ItemEncoder(OneLabelTask(), make_tokenizer(), 6).encode(some, source="dev")
    assert [replace(item, source="gold") for item in parts] == whole
    assert list(parts.lengths) == [len(item.token_ids) for item in whole]
    assert parts[1:3] == [parts[1], parts[2]]


def test_a_fit_takes_every_given_row_and_some_of_many_labelled_ones(pool: Pool) -> None:
    pool.append([*rows(3), *rows(10, round=1)])

    class EveryRow(AllAccepted):
        def all_rows(self, pool: Pool) -> list[Row]:
            return list(pool.accepted())

    data = module(pool, view=EveryRow())

    def ids(**limits: Any) -> list[str]:
        loader = data.all_rows_dataloader(**limits)
        return sorted(item.id for batch in loader for item in data.items("asked", batch["index"]))

    given = ["0-0", "0-1", "0-2"]
    assert ids(most=4) == [*given, "1-0", "1-2", "1-5", "1-7"]
    assert ids(most=10) == ids() == sorted(row.id for row in pool.rows)
    assert ids(leaves_out=lambda id: id != "1-3", most=4) == [*given, "1-3"]
