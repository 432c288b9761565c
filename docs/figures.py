"""Draw what the benchmarks have measured: ``make figures``.

Needs matplotlib, and alignment.json, light.json and sensors.json as ``facefusion-ros bench`` writes them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use('svg')  # no display is needed

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that people with any kind of colour vision tell apart: M. Okabe and K. Ito, "Color Universal Design", 2002.
# The lines are of different lightness as well, and each has its name beside it.
BLACK, GREY, SKY, BLUE, ORANGE, VERMILION = '#000000', '#7f7f7f', '#56b4e9', '#0072b2', '#e69f00', '#d55e00'

MODES = {
    'none': ('left where it was', GREY),
    'flow': ('pictures alone', ORANGE),
    'gyro': ('gyro as mounted', SKY),
    'gyro_flow': ('gyro and pictures', BLUE),
}
WAYS = {
    'seamless_clone': ('Poisson blending', GREY),
    'reinhard': ('mean and deviation', ORANGE),
    'no_lux': ('without lux', VERMILION),
    'lux': ('with lux', BLUE),
}
GOAL_PX, GOAL_STEP, GOAL_US = 0.5, 4.0, 100.0
SHOWN_S = 4.0
"""Of the registration; more would be a thicket."""
LEAST_DELTA_E = 0.05
GYRO_HZ = 100.0
"""A sensor that is faster is a gyroscope."""

STYLE = {
    'font.size': 9.0,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#e6e6e6',
    'grid.linewidth': 0.6,
    'lines.linewidth': 1.3,
    'legend.frameon': False,
    'svg.hashsalt': 'facefusion_ros',  # the same figures give the same file
    'figure.constrained_layout.use': True,
}


def registration(figures: dict[str, Any]) -> Figure:
    """Draw how far the patch is from the face in each frame, for each way to keep it there."""
    figure: Figure
    figure, axes = plt.subplots(figsize=(7.2, 3.8))
    for name, (label, colour) in MODES.items():
        series = figures['series'][name]
        time_s = np.array(series['time_s']) - series['time_s'][0]
        shown = time_s <= SHOWN_S
        p95 = f'p95 {figures[name]["px_p95"]:.2g} px'
        axes.semilogy(time_s[shown], np.array(series['px'])[shown], color=colour, label=f'{label}\n{p95}')
    _goal(axes, GOAL_PX, 'goal for the p95')
    axes.set(xlabel='time, s', ylabel='registration error, px', xlim=(0.0, SHOWN_S), ylim=(0.02, 100.0))
    figure.legend(loc='outside upper center', ncols=len(MODES))
    _plain_numbers(axes)
    return figure


def tunnel(figures: dict[str, Any]) -> Figure:
    """Draw the light of a drive, and how far the persona's colour is from its surroundings in each frame."""
    series = figures['series']
    figure: Figure
    figure, (above, axes) = plt.subplots(2, 1, figsize=(7.2, 4.6), sharex=True, height_ratios=(1, 3))
    above.semilogy(series['time_s'], series['lux'], color=BLACK)
    above.set(ylabel='light, lx')
    _plain_numbers(above)
    for name, (label, colour) in WAYS.items():
        worst = np.array(series['delta_e_worst'][name], np.float64)
        label_of = f'{label}\nworst {np.nanmax(worst):.1f}'
        axes.semilogy(series['time_s'], np.maximum(worst, LEAST_DELTA_E), color=colour, label=label_of)
    _goal(axes, GOAL_STEP, 'goal for every frame')
    axes.set(xlabel='time, s', ylabel='colour difference at the seam,\nworst sector, CIEDE2000')
    axes.set(xlim=(0.0, series['time_s'][-1]), ylim=(LEAST_DELTA_E, 20.0))
    figure.legend(loc='outside upper center', ncols=len(WAYS))
    _plain_numbers(axes)
    return figure


def stamps(figures: dict[str, Any]) -> Figure:
    """Draw how the sizes of the stamp errors of all gyroscopes are distributed, beside those of stamps on arrival."""
    gyros = [row['series'] for row in figures.values() if row['rate_hz'] > GYRO_HZ]
    figure: Figure
    figure, axes = plt.subplots(figsize=(7.2, 3.2))
    for name, label, colour in (
        ('on_arrival_us', 'stamped when read', ORANGE),
        ('stamp_error_us', "by the chip's own beat", BLUE),
    ):
        histograms = [series[name] for series in gyros]
        counts = np.array([histogram['counts'] for histogram in histograms], np.float64)
        share = 100.0 * np.mean(counts / counts.sum(axis=1, keepdims=True), axis=0)
        slots = np.arange(len(share) + 1) / histograms[0]['per_decade']
        edges = histograms[0]['least_us'] * 10.0**slots
        axes.stairs(share, edges, color=colour, fill=True, alpha=0.7)
        middle = edges[0] * 10.0 ** (float(share @ slots[:-1]) / 100.0)
        axes.text(middle, share.max() * 1.04, label, color=colour, ha='center', va='bottom', fontweight='bold')
    axes.margins(y=0.2)
    axes.axvline(GOAL_US, color=BLACK, linewidth=0.8, linestyle='--')
    axes.text(GOAL_US * 1.05, 0.99, 'goal for the RMS', va='top', fontsize=8.0, transform=axes.get_xaxis_transform())
    axes.set(xscale='log', xlim=(1.0, 1e4), xlabel='error of the stamp', ylabel='share of samples, %')
    axes.xaxis.set_major_formatter(FuncFormatter(lambda us, _: f'{us:g} µs' if us < 1e3 else f'{us / 1e3:g} ms'))
    axes.grid(visible=False, axis='x')
    return figure


FIGURES = {'registration': ('alignment', registration), 'tunnel': ('light', tunnel), 'stamps': ('sensors', stamps)}
"""Name of the picture -> the benchmark it is of, and what draws it."""


def _goal(axes: Axes, height: float, text: str) -> None:
    axes.axhline(height, color=BLACK, linewidth=0.8, linestyle='--')
    axes.annotate(text, (0.005, height), xycoords=('axes fraction', 'data'), xytext=(0.0, 2.0),
                  textcoords='offset points', fontsize=8.0,
                  bbox={'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.8, 'pad': 0.5})  # fmt: skip


def _plain_numbers(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axes.yaxis.set_minor_formatter(NullFormatter())


def main(words: Sequence[str] | None = None) -> None:
    """Draw the pictures whose JSON is there."""
    parser = argparse.ArgumentParser(description='Draw what the benchmarks have measured.')
    parser.add_argument('json', type=Path, help='folder with alignment.json, light.json and sensors.json')
    parser.add_argument('out', type=Path, help='folder for the pictures')
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, (bench, draw) in FIGURES.items():
            figure = draw(json.loads((options.json / f'{bench}.json').read_text()))
            figure.savefig(options.out / f'{name}.svg', metadata={'Date': None})
            plt.close(figure)


if __name__ == '__main__':
    main()
