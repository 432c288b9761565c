"""The pictures of the documentation show what the benchmarks measured."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def figures():
    pytest.importorskip('matplotlib', reason='pip install --requirement requirements/test.txt')
    spec = importlib.util.spec_from_file_location('figures', ROOT / 'docs' / 'figures.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measured(figures):
    time_s = [index / 30.0 for index in range(60)]
    px = {name: [0.1 * (place + 1.0) + 0.01 * index for index in range(60)] for place, name in enumerate(figures.MODES)}
    histogram = {'least_us': 1.0, 'per_decade': 10, 'counts': [0] * 17 + [30, 70] + [0] * 31}
    series = {'stamp_error_us': histogram, 'on_arrival_us': {**histogram, 'counts': histogram['counts'][::-1]}}
    return {
        'alignment': {
            **{name: {'px_p95': 0.19} for name in figures.MODES},
            'series': {name: {'time_s': time_s, 'px': values} for name, values in px.items()},
        },
        'light': {
            'series': {
                'time_s': time_s,
                'lux': [100.0] * 30 + [20_000.0] * 30,
                'delta_e_worst': {name: [None, *[0.5] * 58, 3.0] for name in figures.WAYS},
            }
        },
        'sensors': {
            'mpu6050': {'rate_hz': 204.0, 'series': series},
            'bh1750': {'rate_hz': 8.0, 'series': {name: {**histogram, 'counts': [1] * 50} for name in series}},
        },
    }


def test_lines_are_the_errors_of_the_frames(figures, measured):
    drawn = figures.registration(measured['alignment'])
    lines = [line for line in drawn.axes[0].lines if len(line.get_xdata()) > 2]
    for line, series in zip(lines, measured['alignment']['series'].values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), series['px'])
        np.testing.assert_allclose(line.get_xdata(), series['time_s'])


def test_frames_without_skin_leave_a_gap_and_the_worst_is_named(figures, measured):
    drawn = figures.tunnel(measured['light'])
    above, axes = drawn.axes
    np.testing.assert_allclose(above.lines[0].get_ydata(), measured['light']['series']['lux'])
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(lines) == len(figures.WAYS)
    for line in lines:
        assert np.isnan(line.get_ydata()[0])
        assert 'worst 3.0' in line.get_label()


def test_only_gyroscopes_are_in_the_histogram_and_all_of_their_samples(figures, measured):
    drawn = figures.stamps(measured['sensors'])
    for patch in drawn.axes[0].patches:
        values, edges, _ = patch.get_data()
        assert np.sum(values) == pytest.approx(100.0)
        assert np.max(values) == pytest.approx(70.0)
    assert edges[0] == pytest.approx(1.0)
    assert edges[-1] == pytest.approx(1e5)


def test_the_same_figures_give_the_same_files(figures, measured, tmp_path):
    for name, each in measured.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(each))
    for folder in ('one', 'two'):
        figures.main([str(tmp_path), str(tmp_path / folder)])
    for name in figures.FIGURES:
        one, two = ((tmp_path / folder / f'{name}.svg').read_bytes() for folder in ('one', 'two'))
        assert one == two
        assert 5_000 < len(one) < 150_000


def test_the_page_shows_every_picture_there_is():
    shown = re.findall(r'\]\(figures/([a-z]+\.svg)\)', (ROOT / 'docs' / 'sensors.md').read_text())
    assert sorted(shown) == sorted(file.name for file in (ROOT / 'docs' / 'figures').iterdir())
