"""Order: a permutation a epoch, a pure function, blind to ranks and workers."""

import pickle
import time

import numpy as np
import pytest

from pipeline.crops import Crops
from pipeline.errors import BadInput
from pipeline.order import Order

COUNTS = [5, 7, 1, 4, 9, 3]
TOTAL = sum(COUNTS)


@pytest.mark.parametrize("window", [0, 1, 2, 4, 6, 10])
def test_every_epoch_visits_every_sample_once(window: int) -> None:
    order = Order(3, COUNTS, window)
    for epoch in range(3):
        visited = order.samples(range(epoch * TOTAL, (epoch + 1) * TOTAL))
        assert sorted(visited.tolist()) == list(range(TOTAL))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    order, other = Order(3, COUNTS), Order(4, COUNTS)
    epochs = [tuple(order.samples(range(e * TOTAL, (e + 1) * TOTAL))) for e in range(4)]
    assert len({*epochs, tuple(other.samples(range(TOTAL)))}) == 5


def test_order_does_not_know_how_draws_are_dealt_out() -> None:
    """Any split into ranks, workers and batches, across an epoch's end, gives the same samples."""
    draws = np.arange(TOTAL - 12, TOTAL + 12)
    whole = Order(1, COUNTS, 2).samples(draws)
    for ranks in (2, 3, 4, 8):
        dealt = np.empty_like(whole)
        for rank in range(ranks):
            dealt[rank::ranks] = Order(1, COUNTS, 2).samples(draws[rank::ranks])
        assert (dealt == whole).all()


def test_a_window_keeps_its_shards_together() -> None:
    order = Order(0, [10] * 8, window=2)
    shards = order.samples(range(80)) // 10
    for start in range(0, 80, 20):
        assert len(set(shards[start : start + 20].tolist())) == 2


def test_a_full_window_mixes_all_shards() -> None:
    shards = Order(0, [100] * 10).samples(range(100)) // 100
    assert len(set(shards.tolist())) == 10


def test_order_survives_being_sent_to_a_worker() -> None:
    order = Order(1, COUNTS, 2)
    order.samples(range(3))
    copy = pickle.loads(pickle.dumps(order))
    assert (copy.samples(range(50)) == order.samples(range(50))).all()


def test_a_draw_far_into_a_run_is_reached_at_once() -> None:
    order = Order(0, [1280] * 1000)
    assert 0 <= int(order.samples([10**12])[0]) < order.total


def test_golden_order() -> None:
    assert Order(0, COUNTS, 2).samples(range(8)).tolist() == [10, 9, 8, 5, 12, 7, 6, 11]


def test_an_empty_set_has_no_order() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Order(0, [])


@pytest.mark.parametrize("lanes", [1, 3])
def test_samples_found_in_chunks_are_those_found_one_by_one(lanes: int) -> None:
    order = Order(4, [70, 50, 90], 2, lanes=lanes)
    whole = order._samples(np.arange(5000))
    assert np.array_equal(whole, np.concatenate([order.samples([draw]) for draw in range(5000)]))
    assert np.array_equal(whole[100:400:3], order.samples(range(100, 400, 3)))
    assert np.array_equal(whole[[100, 102, 103]], order.samples([100, 102, 103]))
    assert len(order.samples([])) == 0
    for start in (0, 1015, 1024, 3000):
        assert np.array_equal(order.samples(range(start, start + 16)), whole[start : start + 16])
    assert np.array_equal(order.samples([4999, 3, 2048]), whole[[4999, 3, 2048]])


@pytest.mark.parametrize("lanes", [1, 64, 1024])
def test_a_jump_into_400_million_samples_takes_well_under_a_second(lanes: int) -> None:
    """In 200,000 shards of 2,000, to the middle of epoch 7; a table of every sample would take 3.2 GB."""
    counts = np.full(200_000, 2000)
    began = time.process_time()
    order = Order(0, counts, window=50, lanes=lanes)
    samples = order.samples(range(3_000_000_000, 3_000_000_256))
    assert time.process_time() - began < 2, "0.2 s on an idle core"
    assert len(set(samples // 2000)) <= 100 * lanes
    began = time.process_time()
    for start in range(3_000_000_256, 3_000_010_256, 256):
        order.samples(range(start, start + 256))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("window", [0, 1, 2, 4])
@pytest.mark.parametrize("crops", [Crops(), Crops(2, 128)])
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_the_shards_of_a_draw_are_in_its_window(window: int, crops: Crops, lanes: int) -> None:
    """So that they can be fetched ahead; windows follow each other to the end of the next epoch."""
    order = Order(3, COUNTS, window, crops, lanes)
    for draw in range(0, 4 * TOTAL, 7):
        shard = int(np.searchsorted(order.first, order.samples([draw])[0], side="right")) - 1
        begins, others, shards = next(order.windows_from(draw % lanes, order.row(draw)))
        assert (begins <= order.row(draw), others) == (True, draw % lanes)
        assert shard in shards
    for lane in range(lanes):
        windows = list(order.windows_from(lane, order.length + 1))
        begins = [begin for begin, _, _ in windows]
        assert begins[0] <= order.length + 1
        assert begins == sorted(set(begins))
        assert max(len(shards) for _, _, shards in windows) <= order.window
    ahead = [shard for lane in range(lanes) for _, _, shards in order.windows_from(lane, 0) for shard in shards]
    assert set(ahead) | {2} == set(range(len(COUNTS))), "the shard of one sample may rest"
    assert lanes > 1 or 2 in ahead


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("lanes", [2, 3, 4, 6])
def test_of_lanes_an_epoch_rests_fewer_samples_than_lanes_and_others_each_time(window: int, lanes: int) -> None:
    order = Order(3, COUNTS, window, lanes=lanes)
    size = TOTAL // lanes * lanes
    rested = []
    for epoch in range(40):
        visited = order.samples(range(epoch * size, (epoch + 1) * size)).tolist()
        assert len(set(visited)) == size
        rested.append(tuple(sorted(set(range(TOTAL)).difference(visited))))
    assert {len(samples) for samples in rested} == {TOTAL - size}
    if size < TOTAL:
        assert len(set(rested)) > 10
        assert not set(rested[0]).intersection(*rested[1:])


def test_a_lane_opens_its_part_of_the_shards_alone() -> None:
    """A fourth of them and the two that it may share with its neighbours, in windows of its own."""
    order = Order(1, [10] * 41, window=2, lanes=4)
    draws = np.arange(4 * order.length)
    shards = order.samples(draws) // 10
    for lane in range(4):
        mine = shards[draws % 4 == lane]
        assert len(set(mine.tolist())) <= 12
        assert max(len(set(mine[at : at + 5].tolist())) for at in range(0, len(mine), 5)) <= 4
    assert len(set(shards[:100].tolist())) > 8, "a batch mixes the windows of all lanes"


def test_several_crops_keep_to_the_lane() -> None:
    crops = Crops(3, 128)
    order, once = Order(1, [50] * 40, 2, crops, 16), Order(1, [50] * 40, 2, lanes=16)
    draws = np.arange(3 * 128 * 4)
    visits = crops.visits(1, draws)
    assert (order.samples(draws) == once.samples(visits)).all()
    assert (visits % 16 == draws % 16).all()


def test_golden_order_of_lanes() -> None:
    assert Order(0, COUNTS, 2, lanes=2).samples(range(8)).tolist() == [10, 24, 9, 4, 8, 25, 5, 0]


def test_fewer_shards_than_lanes_are_refused() -> None:
    Order(0, [4, 0, 4, 4], lanes=3)
    with pytest.raises(BadInput, match="4 lanes over 3 shards"):
        Order(0, [4, 0, 4, 4], lanes=4)


def test_an_empty_shard_changes_nothing_but_its_window() -> None:
    for lanes in (1, 2):
        order = Order(5, [0, 6, 0, 0, 9, 4, 0], 2, lanes=lanes)
        size = 19 // lanes * lanes
        for epoch in range(6):
            assert len(set(order.samples(range(epoch * size, (epoch + 1) * size)).tolist())) == size
