"""Slots: a batch that somebody still has is never overwritten, one that nobody has is used again."""

import gc

import pytest
import torch

from pipeline.pairs import Pair
from pipeline.slots import Slots

PAIR = Pair(torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 5, dtype=torch.float64))


def numbered(value: int, rows: int = 6) -> Pair:
    return Pair(*(torch.full((rows, *part.shape[1:]), value, dtype=part.dtype) for part in PAIR))


def test_a_slot_returns_once_no_part_nor_view_of_it_is_left() -> None:
    slots = Slots(PAIR, 6, 2)
    slot = slots.free.popleft()
    slots.fill(slot, slice(None), numbered(7))
    batch = slots.lend(slot)
    assert isinstance(batch, Pair)
    assert torch.equal(batch.source, numbered(7).source)
    row = batch.target[2, 0].flatten()[3:]
    del batch
    gc.collect()
    assert list(slots.free) == [1], "a view of a row is still there"
    del row
    gc.collect()
    assert list(slots.free) == [1, slot]


def test_what_autograd_keeps_is_not_overwritten() -> None:
    slots = Slots(PAIR, 6, 1)
    slots.fill(0, slice(None), numbered(2))
    slots.free.clear()
    weight = torch.ones(1, requires_grad=True)
    loss = (slots.lend(0).source * weight).sum()
    gc.collect()
    assert not slots.free
    loss.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert float(weight.grad) == 2 * 6 * 60
    del loss
    gc.collect()
    assert list(slots.free) == [0]


def test_rows_are_filled_apart_and_a_copy_outlives_its_slot() -> None:
    slots = Slots(PAIR, 6, 1)
    slots.free.clear()
    slots.fill(0, [0, 2, 4], numbered(1, 3))
    slots.fill(0, [1, 3, 5], numbered(2, 3))
    batch = slots.copy(0, pin=False)
    assert list(slots.free) == [0]
    slots.fill(0, slice(None), numbered(9))
    assert batch.source[:, 0, 0, 0].tolist() == [1, 2, 1, 2, 1, 2]


def test_a_batch_of_another_kind_is_a_mistake() -> None:
    slots = Slots(PAIR, 6, 1)
    with pytest.raises(ValueError, match="float32"):
        slots.fill(0, slice(None), Pair(PAIR.source, PAIR.source))
