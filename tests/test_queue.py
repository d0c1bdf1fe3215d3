"""Jobs run in a fair order, and wait for what another one is building."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.schedule import Job, Queue, dispatch_order


def keys(jobs):
    return [job.key for job in jobs]


def test_lanes_take_turns_and_each_goes_from_long_to_short():
    jobs = [Job(f"{lane}{seconds}", lane=lane, expected_seconds=seconds) for lane in ("maml", "scratch") for seconds in (1, 3, 2)]
    assert keys(dispatch_order(jobs)) == ["maml3", "scratch3", "maml2", "scratch2", "maml1", "scratch1"]


def test_a_short_lane_is_spread_over_a_long_one():
    jobs = [Job(f"a{n}", lane="a") for n in range(4)] + [Job("b", lane="b", expected_seconds=9)]
    assert keys(dispatch_order(jobs)) == ["a0", "a1", "b", "a2", "a3"]


def test_equal_jobs_keep_their_order():
    assert keys(dispatch_order([Job(str(n)) for n in range(5)])) == list("01234")
    assert dispatch_order([]) == []


def test_the_first_that_needs_a_key_builds_it_and_the_others_wait():
    first, second, free = Job("1", needs=("warm",)), Job("2", needs=("warm", "extractor")), Job("3")
    queue = Queue([first, second, free])
    assert (queue.take(), queue.take(), queue.take()) == (first, free, None)
    assert len(queue) == 1
    queue.ended(first, built=True)
    assert (queue.take(), len(queue)) == (second, 0)


def test_a_key_whose_builder_failed_is_built_by_the_next():
    jobs = [Job(str(n), needs=("warm",)) for n in range(3)]
    queue = Queue(jobs)
    assert (queue.take(), queue.take()) == (jobs[0], None)
    queue.ended(jobs[0], built=False)
    assert (queue.take(), queue.take()) == (jobs[1], None)


def test_a_key_that_is_there_keeps_nobody_waiting():
    there = set()
    queue = Queue([Job(str(n), needs=("warm",)) for n in range(4)], is_built=there.__contains__)
    assert queue.take().key == "0"
    assert queue.take() is None
    there.add("warm")  # by the first, which runs on
    queue.poll()
    assert [queue.take().key for _ in range(3)] == ["1", "2", "3"]


def test_what_is_put_back_comes_first_and_what_does_not_fit_keeps_its_place():
    jobs = [Job(key) for key in "abcd"]
    queue = Queue(jobs)
    assert [queue.take(), queue.take()] == jobs[:2]
    queue.put_back(jobs[0])
    queue.put_back(jobs[1])
    assert queue.take(lambda job: job.key in "ad") == jobs[0]
    assert [queue.take().key for _ in range(3)] == ["b", "c", "d"]


@given(st.lists(st.sets(st.sampled_from("wxyz"), max_size=3), max_size=12), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_every_job_is_handed_out_and_no_key_is_built_by_two_at_once(needs, random):
    queue = Queue([Job(str(number), needs=tuple(sorted(keys))) for number, keys in enumerate(needs)])
    running, built, seen = [], set(), []
    while queue or running:
        job = queue.take()
        if job is not None:
            building = [key for one in running for key in one.needs if key not in built]
            assert not set(building) & set(job.needs)
            seen.append(job.key)
            running.append(job)
        elif running:
            ended = running.pop(random.randrange(len(running)))
            success = random.random() < 0.7
            built |= set(ended.needs) if success else set()
            queue.ended(ended, built=success)
    assert sorted(seen) == sorted(str(number) for number in range(len(needs)))
