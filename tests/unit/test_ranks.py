"""Messages between the processes that train one student."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.ranks import on_ranks

from tutelage.ranks import Ranks, free_port


def test_one_process_keeps_everything_as_it_is() -> None:
    ranks, values = Ranks(), torch.arange(6.0).view(3, 2)
    ranks.connect()
    assert ranks.leads
    assert not ranks.several
    assert ranks.share(3) == [0, 1, 2]
    assert ranks.own(values) is values
    assert ranks.told("rows") == "rows"
    assert ranks.whole(values, 3) is values
    assert ranks.total(values) is values
    ranks.copy([values])
    ranks.close()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("size", [2, 3])
def test_the_shares_are_the_batch_and_every_rank_has_a_row(count: int, size: int) -> None:
    shares = [Ranks(rank, size).share(count) for rank in range(size)]
    weights = torch.ones(count)
    assert all(shares)
    own = [Ranks(rank, size).own(weights) for rank in range(size)]
    assert [len(part) for part in own] == [len(share) for share in shares]
    # A row that stands in for none has no weight.
    counted = [
        row
        for share, part in zip(shares, own, strict=True)
        for row, weight in zip(share, part.tolist(), strict=True)
        if weight
    ]
    assert sorted(counted) == list(range(count))


@pytest.mark.parametrize(("count", "lengths"), [(5, (3, 4)), (2, (4, 2)), (1, (3, 3))])
def test_rank_0_sees_the_whole_batch_in_its_order(
    tmp_path: Path, count: int, lengths: tuple[int, int]
) -> None:
    # Units of words: the ranks' rows have other lengths.
    def work(ranks: Ranks) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        rows = torch.tensor(ranks.share(count))
        words = rows.view(-1, 1, 1).expand(-1, lengths[ranks.rank], 2).double()
        return ranks.whole(rows.view(-1, 1).float(), count), ranks.whole(words + 1, count)

    (texts, words), (nothing, none) = on_ranks(tmp_path, work)
    assert nothing is None
    assert none is None
    assert texts.flatten().tolist() == list(range(count))
    assert words.shape == (count, max(lengths if count > 1 else lengths[:1]), 2)
    assert words[:, 0, 0].tolist() == [row + 1 for row in range(count)]


def test_rank_0_tells_and_the_sum_is_the_same_everywhere(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> tuple[str, list[float], list[float]]:
        own = torch.tensor([ranks.rank + 1.0, 0.5])
        told = ranks.told(f"rank {ranks.rank}")
        total = ranks.total(own)
        ranks.copy([own])
        return told, total.tolist(), own.tolist()

    assert on_ranks(tmp_path, work, 3) == [("rank 0", [6.0, 1.5], [1.0, 0.5])] * 3


def test_a_free_port_is_one() -> None:
    assert 0 < free_port() < 65536
