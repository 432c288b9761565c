"""The goals for sensors, in simulated time; and that the measure itself would see what it measures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from facefusion_ros.app.bench.sensor_bench import STEPS, Lateness, MotionBench, bench_of, surroundings_of
from facefusion_ros.app.bench.sensor_faults import (
    FAULTS,
    endurance_figures,
    fault_figures,
    faults_of,
    impossible,
    unseen,
)
from facefusion_ros.app.bench.sensors import CHIPS, sensors, stamp_figures, table
from facefusion_ros.errors import SettingError
from facefusion_ros.sensors.light_chips import LIGHT_CHIPS
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS
from facefusion_ros.sensors.motion_plan import MotionSettings
from facefusion_ros.sim import faults

DIFFERENT_CHIPS = [chip for chip in CHIPS if chip != 'mpu9250']  # it is an MPU-6500 but for its identity


@pytest.mark.parametrize('chip', MOTION_CHIPS)
def test_stamps_at_200_hz_are_true_to_100_us_and_none_is_lost(chip):
    figures = stamp_figures(chip, seconds=20.0, seed=1)
    assert figures.rms_us < 100.0
    assert figures.lost == 0
    assert figures.wrong_values == 0
    assert figures.rate_hz == pytest.approx(MOTION_CHIPS[chip].planned(MotionSettings()).rate_hz * 1.02, rel=1e-3)
    assert figures.readings > 0.9 * 20.0 * figures.rate_hz
    assert figures.first_s < 0.8


def test_a_slow_bus_and_a_chip_that_warms_up_do_no_harm():
    figures = stamp_figures('mpu6050', seconds=20.0, bus_hz=100_000.0, clock_error=-0.03, drift_per_s=5e-5)
    assert figures.rms_us < 100.0
    assert figures.lost == 0
    assert 0.2 < figures.bus_load < 0.7


@pytest.mark.parametrize('chip', LIGHT_CHIPS)
def test_light_is_read_at_least_six_times_a_second_and_dated_within_a_few_milliseconds(chip):
    figures = stamp_figures(chip, seconds=20.0)
    assert figures.rate_hz > 6.0
    assert figures.rms_us < 3000.0
    assert figures.wrong_values == 0
    assert figures.lost < 0.05 * figures.readings
    assert figures.bus_load < 0.06


@pytest.mark.slow
@pytest.mark.parametrize('chip', DIFFERENT_CHIPS)
def test_every_chip_gets_over_every_fault_within_a_second_and_says_nothing_wrong(chip):
    tried = [fault for fault in faults_of(chip) if not fault.startswith('some_')]
    found = [fault_figures(chip, fault, seed=2) for fault in tried]
    assert [figures for figures in found if not figures.recovered] == []
    seen = [figures for figures in found if figures.fault not in unseen(chip)]
    assert [figures for figures in seen if figures.wrong_values or figures.recovery_s > 1.0] == []
    unnoticed = {figures.fault for figures in found if not figures.errors}
    # What a single event leaves no trace of: it was tried again, or the samples it spoiled were set aside, or it came
    # before the measurement that begins by setting everything; the BH1750 has nothing that could be asked for.
    assert {fault for fault in unnoticed if not fault.startswith('one_')} <= {
        'fifo_misaligned',
        'bank_lost',
        'not_read',
        *({'silent_reset'} if chip in LIGHT_CHIPS else ()),
        *({'power_glitch', 'written_bit_flipped', 'stopped'} if chip == 'bh1750' else ()),
    }


@pytest.mark.slow
@pytest.mark.parametrize('chip', DIFFERENT_CHIPS)
def test_every_chip_gets_over_every_fault_whenever_it_comes(chip):
    found = [fault_figures(chip, fault, seed=seed) for fault in faults_of(chip) for seed in range(4)]
    assert [figures for figures in found if not figures.recovered] == []
    assert [figures for figures in found if figures.wrong_values and figures.fault not in unseen(chip)] == []
    assert np.quantile([figures.recovery_s for figures in found], 0.95) < 1.0


def endured(chip, transactions):
    figures = endurance_figures(chip, transactions=transactions, rate=0.01, seed=3)
    assert figures.transactions >= transactions
    assert sum(figures.faults.values()) == figures.recovered > 0.005 * transactions
    assert figures.wrong_values == 0
    assert figures.readings > 0.4 * figures.seconds * (1.0 if chip in LIGHT_CHIPS else 200.0)
    return figures


@pytest.mark.parametrize('chip', DIFFERENT_CHIPS)
def test_one_fault_in_a_hundred_transactions(chip):
    endured(chip, 3000)


@pytest.mark.slow
@pytest.mark.parametrize('chip', DIFFERENT_CHIPS)
def test_a_hundred_thousand_transactions_at_one_per_cent_faults(chip):
    figures = endured(chip, 100_000)
    assert set(figures.faults) == {kind.__name__ for kind in faults.ANY}


def test_what_a_chip_cannot_have_has_a_reason():
    for chip in CHIPS:
        assert set(faults_of(chip)) | set(impossible(chip)) == set(FAULTS)
        assert set(unseen(chip)) <= set(faults_of(chip))
        assert all({**impossible(chip), **unseen(chip)}.values())
    assert 'bank_lost' in faults_of('icm20948')
    assert {'fifo_misaligned', 'bank_lost'} == set(impossible('tcs34725'))


def test_the_measure_sees_wrong_values_and_wrong_stamps():
    with bench_of('mpu6050') as bench:
        bench.run(1.0)
        assert bench.wrong() == 0
        bench.given = [(at, replace(sample, stamp_ns=sample.stamp_ns + 5_000_000)) for at, sample in bench.given]
        assert bench.wrong() > 0.2 * len(bench.given)
    with bench_of('opt3001') as bench:
        bench.run(6.0)
        assert bench.wrong() == 0
        given = bench.given
        bench.given = [(at, replace(reading, lux=1.1 * reading.lux)) for at, reading in given]
        assert bench.wrong() > 0.7 * len(given)
        bench.given = [(at, replace(reading, stamp_ns=reading.stamp_ns + 300_000_000)) for at, reading in given]
        assert bench.wrong() > 0.2 * len(given)
    with bench_of('tcs34725') as bench:
        bench.run(3.0)
        assert bench.wrong() == 0
        bench.given = [(at, replace(reading, cct_k=3000.0)) for at, reading in bench.given]
        assert bench.wrong() == len(bench.given)


def test_the_measure_sees_lost_samples(monkeypatch):
    take = MotionBench._take

    def forget_now_and_then(bench, samples):
        take(bench, samples[:-1] if bench.rng.random() < 0.02 else samples)

    monkeypatch.setattr(MotionBench, '_take', forget_now_and_then)
    assert stamp_figures('mpu6050', seconds=5.0).lost > 2


def test_stamps_made_on_waking_up_would_miss_the_goal_by_far():
    """The lateness of the bench is real: what a driver without a clock of its own would do."""
    figures = stamp_figures('mpu6050', seconds=5.0, lateness=Lateness())
    assert np.std(figures.on_arrival_us) > 1000.0


def test_sensors_of_another_world():
    around = surroundings_of('head')
    figures = stamp_figures('bmi160', around, seconds=5.0)
    assert figures.wrong_values == 0
    lux = [around.lux(time_s) for time_s in np.arange(0.0, 40.0, 0.1)]
    assert min(lux) < 16.0
    assert max(lux) > 400.0
    assert around.cct_k(13.5) < STEPS.cct_k(0.0) + 3000.0


def test_the_command(tmp_path, facefusion_process):
    file = tmp_path / 'sensors.json'
    options = ('--seconds', '5', '--transactions', '1000', '--world', 'head', '--json', file)
    done = facefusion_process('bench', 'sensors', '--chip', 'veml7700', '--chip', 'opt3001', *options)
    assert done.code == 0, done
    figures = json.loads(file.read_text())
    assert list(figures) == ['veml7700', 'opt3001']
    for chip, row in figures.items():
        assert row['faults_recovered'] == row['faults_injected'] == len(faults_of(chip))
        assert row['wrong_values'] == 0
        assert row['recovery_s_p95'] < 1.0
        assert row['random']['transactions'] >= 1000
        assert row['random']['faults_injected'] > 5
        assert sum(row['series']['stamp_error_us']['counts']) == row['samples']
    assert done.out == table(figures) + '\n'


def test_a_chip_that_there_is_no_driver_for_is_refused():
    with pytest.raises(SettingError, match=r'chip must be one of bh1750, .* not bno055'):
        sensors(['bno055'])
    with pytest.raises(SettingError, match='seconds must be at least 5, not 1'):
        sensors(['bmi160'], seconds=1.0)
