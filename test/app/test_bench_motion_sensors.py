"""The goals for motion sensors, in simulated time; and that the measure itself would see what it measures."""

from dataclasses import replace

import numpy as np
import pytest

from facefusion_ros.app.bench.motion_sensors import (
    FAULTS,
    Lateness,
    MotionBench,
    endurance_figures,
    fault_figures,
    faults_of,
    sensor_figures,
    stamp_figures,
)
from facefusion_ros.sensors.motion import MotionSettings
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS
from facefusion_ros.sim import faults

DIFFERENT_CHIPS = [chip for chip in MOTION_CHIPS if chip != 'mpu9250']  # it is an MPU-6500 but for its identity


@pytest.mark.parametrize('chip', MOTION_CHIPS)
def test_stamps_at_200_hz_are_true_to_100_us_and_none_is_lost(chip):
    figures = stamp_figures(chip, seconds=20.0, seed=1)
    assert figures.stamp_error_us_rms < 100.0
    assert figures.lost == 0
    assert figures.wrong_values == 0
    assert figures.rate_hz == pytest.approx(MOTION_CHIPS[chip].planned(MotionSettings()).rate_hz * 1.02, rel=1e-3)
    assert figures.samples > 0.9 * 20.0 * figures.rate_hz
    assert figures.locked_s < 0.8


def test_a_slow_bus_and_a_chip_that_warms_up_do_no_harm():
    figures = stamp_figures('mpu6050', seconds=20.0, bus_hz=100_000.0, clock_error=-0.03, drift_per_s=5e-5)
    assert figures.stamp_error_us_rms < 100.0
    assert figures.lost == 0


@pytest.mark.parametrize('chip', DIFFERENT_CHIPS)
def test_every_chip_gets_over_every_fault_within_a_second_and_says_nothing_wrong(chip):
    found = [fault_figures(chip, fault, seed=2) for fault in faults_of(chip)]
    assert [figures for figures in found if not figures.recovered or figures.recovery_s > 1.0] == []
    assert [figures for figures in found if figures.wrong_values] == []
    assert np.quantile([figures.recovery_s for figures in found], 0.95) < 1.0
    unseen = {figures.fault for figures in found if not figures.errors}
    # What a single event leaves no trace of: it was tried again, or the samples it spoiled were set aside.
    assert unseen <= {name for name in FAULTS if name.startswith('one_')} | {'fifo_misaligned', 'bank_lost'}


def endured(chip, transactions):
    figures = endurance_figures(chip, transactions=transactions, rate=0.01, seed=3)
    assert figures.transactions >= transactions
    assert sum(figures.faults.values()) > 0.006 * transactions
    assert figures.wrong_values == 0
    assert figures.recovered
    assert figures.samples > 0.5 * figures.seconds * 200.0
    return figures


@pytest.mark.parametrize('chip', DIFFERENT_CHIPS)
def test_one_fault_in_a_hundred_transactions(chip):
    endured(chip, 4000)


@pytest.mark.slow
@pytest.mark.parametrize('chip', DIFFERENT_CHIPS)
def test_a_hundred_thousand_transactions_at_one_per_cent_faults(chip):
    figures = endured(chip, 100_000)
    assert set(figures.faults) == {kind.__name__ for kind in faults.ANY}


def test_the_measure_sees_wrong_values_and_wrong_stamps():
    with MotionBench('mpu6050') as bench:
        bench.run(1.0)
        assert bench.wrong() == 0
        bench.given = [(at, replace(sample, stamp_ns=sample.stamp_ns + 5_000_000)) for at, sample in bench.given]
        assert bench.wrong() > 0.2 * len(bench.given)


def test_stamps_made_on_waking_up_would_miss_the_goal_by_far():
    """The lateness of the bench is real: what a driver without a clock of its own would do."""
    with MotionBench('mpu6050', lateness=Lateness()) as bench:
        bench.run(5.0)
        naive_us = [(at_ns - sample.stamp_ns) * 1e-3 for at_ns, sample in bench.given]
    assert np.std(naive_us) > 1000.0


def test_the_figures_of_the_benchmark():
    figures = sensor_figures('bmi160', seconds=5.0, transactions=2000)
    assert figures['faults_recovered'] == figures['faults_injected'] == len(faults_of('bmi160'))
    assert figures['wrong_values'] == figures['lost'] == 0
    assert figures['recovery_s_p95'] < 1.0
    assert figures['transactions'] >= 2000
    assert figures['random_faults'] > 5
    assert figures['rate_hz'] == pytest.approx(204.0, rel=1e-3)
