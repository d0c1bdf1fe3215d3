"""Cards are filled by measured bytes, never beyond; what failed beside others is tried alone; all of it without a card."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.schedule import Job
from bench.schedule.placement import CONTEXT_BYTES, SEATS, SPARE, Card, Packing

GB = 1 << 30


def packing(*sizes, **peaks):
    made = Packing([Card(size, size) for size in sizes])
    for lane, peak in peaks.items():
        made.learn(lane, peak)
    return made


def test_a_lane_of_which_nothing_is_known_has_a_card_to_itself():
    cards = packing(16 * GB)
    assert cards.fits(Job("a", lane="new"), 0)
    assert cards.begin(Job("a", lane="new"), 0) == 1.0
    assert not cards.fits(Job("b", lane="new"), 0)
    assert not cards.end(Job("a"))
    assert cards.fits(Job("b", lane="new"), 0)


def test_as_many_share_a_card_as_its_measured_bytes_allow():
    peak = GB
    each = peak * SPARE + CONTEXT_BYTES
    cards = packing(int(3.5 * each), small=peak)
    started = 0
    while cards.fits(job := Job(str(started), lane="small"), 0):
        assert cards.begin(job, 0) == peak * SPARE / int(3.5 * each)
        started += 1
    assert started == cards.seats(0) == 3


def test_unequal_cards_take_unequal_numbers():
    cards = packing(16 * GB, 32 * GB, small=4 * GB)
    assert (cards.seats(0), cards.seats(1)) == (2, 5)
    assert packing(1000 * GB, small=1).seats(0) == SEATS


def test_what_is_too_large_for_the_small_card_waits_for_the_large_one():
    cards = packing(8 * GB, 32 * GB, big=20 * GB)
    assert [cards.fits(Job("a", lane="big"), card) for card in (0, 1)] == [False, True]


def test_what_is_too_large_for_every_card_is_tried_on_the_largest():
    cards = packing(8 * GB, 32 * GB, huge=40 * GB)
    assert [cards.fits(Job("a", lane="huge"), card) for card in (0, 1)] == [False, True]
    assert cards.begin(Job("a", lane="huge"), 1) == 1.0


def test_all_that_shared_a_card_are_marked_also_the_first():
    cards = packing(16 * GB, small=GB)
    first, second, third = (Job(key, lane="small") for key in "abc")
    cards.begin(first, 0)
    cards.begin(second, 0)
    assert cards.end(first)
    assert cards.end(second)
    cards.begin(third, 0)
    assert not cards.end(third)


def test_a_job_set_apart_gets_the_largest_card_before_small_ones_fill_it_again():
    cards = packing(8 * GB, 16 * GB, small=GB)
    unlucky, other, more = (Job(key, lane="small") for key in "abc")
    cards.begin(unlucky, 1)
    cards.begin(other, 1)
    cards.end(unlucky)
    cards.set_apart(unlucky)
    assert not cards.fits(unlucky, 1)  # it is not empty yet
    assert not cards.fits(unlucky, 0)
    assert not cards.fits(more, 1)
    assert cards.fits(more, 0)
    cards.end(other)
    assert cards.fits(unlucky, 1)
    assert cards.begin(unlucky, 1) == 1.0
    assert not cards.fits(more, 1)
    assert not cards.end(unlucky)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40),
)
@settings(deadline=None, max_examples=50)
def test_bytes_given_never_exceed_a_card_unless_one_job_has_it_alone(sizes, peaks, choices):
    cards = packing(*(size * GB for size in sizes), **{str(lane): peak * GB for lane, peak in enumerate(peaks)})
    given_out = [[] for _ in sizes]
    for number, (lane, card) in enumerate(choices):
        card %= len(sizes)
        job = Job(str(number), lane=str(lane))
        if cards.fits(job, card):
            need = cards.need(job)
            share = cards.begin(job, card)
            assert 0 <= share <= 1
            given_out[card].append(need)
            assert len(given_out[card]) == 1 or sum(given_out[card]) <= sizes[card] * GB
    assert all(math.isfinite(sum(needs)) or len(needs) == 1 for needs in given_out)
