"""How far sensors can be trusted: true stamps, true values, and every fault overcome.

Real drivers read emulated chips over smbus2, in simulated time; see ``sensor_bench``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.app.bench.sensor_bench import CLOUDS, EPOCH_NS, STEPS, bench_of, surroundings_of
from facefusion_ros.app.bench.sensor_faults import endurance_figures, fault_figures, faults_of, impossible, unseen
from facefusion_ros.errors import SettingError
from facefusion_ros.sensors.light_chips import LIGHT_CHIPS
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.app.bench.sensor_bench import Surroundings

CHIPS = (*LIGHT_CHIPS, *MOTION_CHIPS)
_LEAST_S = 5
_LEAST_US, _PER_DECADE, _SLOTS = 1.0, 10, 50
"""Histograms of stamp errors: from where on, slots per factor of 10, and how many of them."""


@dataclass(frozen=True, slots=True)
class StampFigures:
    """How true stamps are."""

    readings: int
    rate_hz: float
    """Readings per second between the first and the last."""
    errors_us: NDArray[np.float64]
    """Of each reading's stamp, microseconds."""
    on_arrival_us: NDArray[np.float64]
    """What the errors would be, had the newest reading of each batch been stamped when it was read, less their mean,
    which a calibration takes off."""
    lost: int
    """Samples of a motion chip, or measurements of a light chip, between the first and the last that were given which
    were not given."""
    first_s: float
    """From the start to the first reading."""
    delay_ms_p99: float
    """From the middle of a reading's measurement to when it was given."""
    bus_load: float
    """Part of the time that the wires were in use."""
    wrong_values: int

    @property
    def rms_us(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt(np.mean(self.errors_us**2)))


def stamp_figures(
    chip: str,
    around: Surroundings = CLOUDS,
    *,
    seconds: float = 60.0,
    **options: Any,  # noqa: ANN401 - as the bench takes
) -> StampFigures:
    """Read a chip for some simulated seconds and compare its stamps with when the emulation measured.

    :param chip: name of the chip, of ``CHIPS``.
    :param options: of the bench.
    """
    with bench_of(chip, around, **options) as bench:
        bench.run(seconds)
    given_ns = np.array([at_ns for at_ns, _ in bench.given])
    stamps_ns = np.array([reading.stamp_ns for _, reading in bench.given])
    true_ns = bench.true_ns()
    after = np.clip(np.searchsorted(true_ns, stamps_ns), 1, len(true_ns) - 1)
    nearest = after - (stamps_ns - true_ns[after - 1] < true_ns[after] - stamps_ns)
    newest = np.append(np.diff(given_ns) > 0, True)
    on_arrival_us = (given_ns - true_ns[nearest])[newest] * 1e-3
    return StampFigures(
        readings=len(stamps_ns),
        rate_hz=1e9 * (len(stamps_ns) - 1) / float(true_ns[nearest[-1]] - true_ns[nearest[0]]),
        errors_us=(stamps_ns - true_ns[nearest]) * 1e-3,
        on_arrival_us=on_arrival_us - on_arrival_us.mean(),
        lost=int(np.abs(np.diff(nearest) - 1).sum()),
        first_s=float(given_ns[0] - EPOCH_NS) * 1e-9,
        delay_ms_p99=float(np.quantile(given_ns - stamps_ns, 0.99)) * 1e-6,
        bus_load=bench.wire.bits / bench.wire.bus_hz / bench.time.seconds,
        wrong_values=bench.wrong(),
    )


def chip_figures(
    chip: str, *, world: str = '', seconds: float = 60.0, transactions: int = 10_000, repeat: int = 1
) -> dict[str, Any]:
    """Return the figures of one chip as the benchmark's JSON has them.

    :param world: name or file of the world in which it measures; the bench's own where empty.
    :param transactions: transactions to do with one random fault in a hundred.
    :param repeat: how often each fault is tried, each time at another moment.
    """
    calm, changing = (surroundings_of(world),) * 2 if world else (CLOUDS, STEPS)
    stamps = stamp_figures(chip, calm, seconds=seconds)
    found = [fault_figures(chip, fault, changing, seed=seed) for fault in faults_of(chip) for seed in range(repeat)]
    recovery_s = [each.recovery_s for each in found if each.recovered]
    endured = endurance_figures(chip, changing, transactions=transactions)
    not_seen = unseen(chip)
    wrong = sum(each.wrong_values for each in found if each.fault not in not_seen)
    return {
        'rate_hz': stamps.rate_hz,
        'stamp_error_us_rms': stamps.rms_us,
        'stamp_error_us_p99': float(np.quantile(np.abs(stamps.errors_us), 0.99)),
        'samples': stamps.readings,
        'lost': stamps.lost,
        'delay_ms_p99': stamps.delay_ms_p99,
        'bus_load': stamps.bus_load,
        'faults_injected': len(found),
        'faults_recovered': len(recovery_s),
        'wrong_values': stamps.wrong_values + wrong + endured.wrong_values,
        'recovery_s_p95': float(np.quantile(recovery_s, 0.95)),
        'recovery_s_max': max(recovery_s),
        'random': {
            'transactions': endured.transactions,
            'faults_injected': sum(endured.faults.values()),
            'faults_recovered': endured.recovered,
            'wrong_values': endured.wrong_values,
            'recovery_s_p95': endured.recovery_s_p95,
            'recovery_s_max': endured.recovery_s_max,
        },
        'impossible': impossible(chip),
        'unseen': {
            fault: {'why': why, 'wrong_values': sum(each.wrong_values for each in found if each.fault == fault)}
            for fault, why in not_seen.items()
        },
        'series': {'stamp_error_us': _histogram(stamps.errors_us), 'on_arrival_us': _histogram(stamps.on_arrival_us)},
    }


def sensors(
    chips: Sequence[str] | None = None,
    *,
    world: str = '',
    seconds: float = 60.0,
    transactions: int = 10_000,
    repeat: int = 1,
) -> dict[str, dict[str, Any]]:
    """Return the figures of each chip by its name; options as ``chip_figures`` has them; raises SettingError."""
    chips = chips or CHIPS
    for chip in chips:
        if chip not in CHIPS:
            raise SettingError(f'chip must be one of {", ".join(CHIPS)}, not {chip}')
    if seconds < _LEAST_S:
        raise SettingError(f'seconds must be at least {_LEAST_S}, not {seconds:g}')
    figures = {}
    for chip in chips:
        print(chip, end=' ', file=sys.stderr, flush=True)
        figures[chip] = chip_figures(chip, world=world, seconds=seconds, transactions=transactions, repeat=repeat)
    print(file=sys.stderr)
    return figures


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a table for a person."""
    heads = ('chip', 'rate', 'stamp error', 'lost', 'bus', 'faults', 'p95', 'wrong', 'random faults', 'p95', 'wrong')
    units = ('', 'Hz', 'us RMS', '', '%', 'recovered', 's', '', 'recovered', 's', '')
    rows: list[Sequence[str]] = [heads, units]
    for chip, row in figures.items():
        cells = [
            chip,
            f'{row["rate_hz"]:.1f}',
            f'{row["stamp_error_us_rms"]:.0f}',
            str(row['lost']),
            f'{100.0 * row["bus_load"]:.1f}',
            *_overcome(row),
            *_overcome(row['random']),
        ]
        rows.append(cells)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return '\n'.join('  '.join(line) for line in lines)


def _overcome(row: dict[str, Any]) -> tuple[str, str, str]:
    return (
        f'{row["faults_recovered"]} of {row["faults_injected"]}',
        f'{row["recovery_s_p95"]:.2f}',
        str(row['wrong_values']),
    )


def _histogram(errors_us: NDArray[np.float64]) -> dict[str, Any]:
    """Count errors by their size, in slots that are even on a logarithmic scale; what is beyond is in the end slots."""
    slots = np.log10(np.maximum(np.abs(errors_us), _LEAST_US) / _LEAST_US) * _PER_DECADE
    counts = np.bincount(np.minimum(slots.astype(np.int64), _SLOTS - 1), minlength=_SLOTS)
    return {'least_us': _LEAST_US, 'per_decade': _PER_DECADE, 'counts': counts.tolist()}
