"""Which worker a job may go to: what is predicted for the jobs of a device never exceeds its share of the memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nas.executors.ray.worker_pool import SHARE, Devices

GPU = ("node", "gpu 0")
TOTAL = 1_000
NEEDS = st.one_of(st.none(), st.integers(1, 2 * TOTAL))


@given(st.data())
def test_predictions_never_exceed_the_share_but_for_a_job_that_is_alone(data):
    devices, running, number = Devices(), {}, 0
    devices.add(GPU, TOTAL)
    for _ in range(data.draw(st.integers(1, 40))):
        if running and data.draw(st.booleans()):
            index = data.draw(st.sampled_from(sorted(running)))
            devices.end(GPU, index)
            del running[index]
            continue
        need, alone = data.draw(NEEDS), data.draw(st.booleans())
        if not devices.admits(GPU, need, alone):
            assert running
            continue
        devices.begin(GPU, number, need, alone)
        running[number] = need, alone
        number += 1
        if len(running) > 1:
            assert not any(lone for _, lone in running.values())
            known = [bytes_ or 0 for bytes_, _ in running.values()]
            assert need is None or sum(known) <= SHARE * TOTAL


@given(st.lists(NEEDS, min_size=1, max_size=20), st.booleans())
def test_what_fits_is_admitted(needs, alone):
    devices, used = Devices(), 0
    devices.add(GPU, TOTAL)
    for index, need in enumerate(needs):
        fits = index == 0 or (not alone and (need is None or used + need <= SHARE * TOTAL))
        assert devices.admits(GPU, need, alone) == fits
        if fits:
            devices.begin(GPU, index, need, False)
            used += need or 0


def test_a_device_of_unknown_size_takes_all():
    devices = Devices()
    devices.add(GPU, None)
    for index in range(5):
        assert devices.admits(GPU, 10**15, alone=False)
        devices.begin(GPU, index, 10**15, alone=False)


def test_an_empty_device_takes_anything_and_keeps_it_alone():
    devices = Devices()
    devices.add(GPU, TOTAL)
    assert devices.admits(GPU, 100 * TOTAL, alone=True)
    devices.begin(GPU, 0, 1, alone=True)
    assert not devices.admits(GPU, 1, alone=False)
    devices.end(GPU, 0)
    devices.begin(GPU, 1, 1, alone=False)
    assert devices.admits(GPU, 1, alone=False)
    assert not devices.admits(GPU, 1, alone=True)


def test_other_devices_do_not_count():
    devices, other = Devices(), ("node", "gpu 1")
    devices.add(GPU, TOTAL)
    devices.add(other, TOTAL)
    devices.begin(GPU, 0, TOTAL, alone=True)
    assert devices.admits(other, TOTAL, alone=True)


def test_a_job_that_fits_nowhere_waits_for_the_emptiest():
    devices, other = Devices(), ("node", "gpu 1")
    devices.add(GPU, TOTAL)
    devices.add(other, TOTAL)
    devices.begin(GPU, 0, 800, alone=False)
    devices.begin(GPU, 1, 50, alone=False)
    devices.begin(other, 2, 800, alone=False)
    assert devices.emptiest([GPU, other]) == other
    devices.end(GPU, 0)
    devices.end(GPU, 1)
    assert devices.emptiest([GPU, other]) == GPU


def test_predictions_grow_with_what_was_measured_and_never_shrink():
    devices = Devices()
    devices.add(GPU, TOTAL)
    devices.begin(GPU, 0, 400, alone=False)
    assert devices.admits(GPU, 400, alone=False)
    devices.learn(400, 300)
    assert devices.scale == 1
    devices.learn(400, 500)
    assert devices.scale == 1.25
    assert not devices.admits(GPU, 400, alone=False)
    devices.learn(400, None)
    assert devices.scale == 1.875
    for _ in range(9):
        devices.learn(None, None)
    assert devices.scale == Devices.MOST
    devices.learn(None, 10**12)
    assert devices.scale == Devices.MOST
