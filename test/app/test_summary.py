import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.app.summary import Shown, Tally, percentiles, table
from facefusion_ros.frames.frame import StageTime

MS = 1_000_000


def shown(sequence, shown_ms, *stages):
    """A frame whose stages are (name, begin ms, end ms, dropped), counted from capture."""
    journal = tuple(StageTime(name, begin * MS, end * MS, dropped) for name, begin, end, dropped in stages)
    return Shown(sequence, shown_ms * MS, journal)


def test_nothing_shown():
    summary = Tally().summary()
    assert summary['frames_in'] == summary['frames_out'] == summary['frames_dropped'] == 0
    assert 'frames 0 in, 0 out, 0 dropped' in table(summary)


def test_a_run_worked_out_by_hand():
    tally = Tally()
    for sequence in range(10, 16):
        tally.captured(sequence)
    # 10 was passed over by the swapper, 13 by the detector, 15 came after the end.
    tally.shown.append(shown(11, 120, ('camera', 0, 2, 0), ('swapper', 5, 9, 1), ('renderer', 12, 20, 0)))
    tally.shown.append(shown(12, 140, ('camera', 0, 4, 0), ('swapper', 5, 9, 0), ('renderer', 9, 30, 0)))
    tally.shown.append(shown(14, 220, ('camera', 0, 3, 0), ('swapper', 5, 9, 0), ('renderer', 12, 40, 1)))
    tally.faces = {10: 5, 11: 1, 14: 2}  # what was told of a frame that was not shown does not count
    summary = tally.summary()
    assert (summary['frames_in'], summary['frames_out'], summary['frames_dropped']) == (5, 3, 2)
    assert summary['faces_swapped'] == 3
    assert summary['fps'] == 20.0
    assert summary['latency_ms'] == {'p50': 30.0, 'p95': 39.0, 'p99': 39.8}
    assert list(summary['stages_ms']) == ['camera', 'swapper', 'renderer', 'between stages']
    assert summary['stages_ms']['camera']['p50'] == 3.0
    assert summary['stages_ms']['swapper'] == {'p50': 4.0, 'p95': 4.0, 'p99': 4.0}
    assert summary['stages_ms']['between stages']['p50'] == 5.0
    assert summary['drops_by_stage'] == {'camera': 0, 'swapper': 1, 'renderer': 1}


def test_a_frame_shown_before_its_announcement_was_heard_is_counted():
    tally = Tally()
    tally.captured(8)
    tally.shown.append(shown(7, 100, ('camera', 0, 2, 0)))
    tally.shown.append(shown(8, 133, ('camera', 0, 2, 0)))
    assert tally.summary()['frames_in'] == tally.summary()['frames_out'] == 2


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60), st.integers(0, 100))
def test_every_frame_is_either_out_or_dropped(sequences, before):
    ordered = sorted(sequences)
    tally = Tally()
    tally.captured(max(0, ordered[0] - before))
    tally.shown = [shown(number, number * 33, ('camera', 0, 1, 0)) for number in ordered]
    summary = tally.summary()
    assert summary['frames_out'] == len(ordered)
    assert summary['frames_in'] == summary['frames_out'] + summary['frames_dropped']
    assert summary['frames_dropped'] >= 0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_ordered_and_inside(values):
    result = percentiles(values)
    assert list(result) == ['p50', 'p95', 'p99']
    assert min(values) - 1e-3 <= result['p50'] <= result['p95'] <= result['p99'] <= max(values) + 1e-3


def test_percentiles_of_a_known_row():
    assert percentiles(list(np.arange(101.0))) == {'p50': 50.0, 'p95': 95.0, 'p99': 99.0}


def test_the_table_is_aligned_and_complete():
    tally = Tally()
    stages = ('camera', 0, 2, 0), ('a stage with a long name', 3, 1234, 0)
    tally.shown = [shown(number, number * 33, *stages) for number in range(3)]
    summary = {**tally.summary(), 'rss_mb_start': 100.4, 'rss_mb_end': 101.2, 'cpu_percent': 55.0}
    heading, *rows, empty, counts, machine = table(summary).splitlines()
    assert empty == ''
    assert [row.split('  ')[0] for row in rows] == [
        'camera',
        'a stage with a long name',
        'between stages',
        'capture to display',
    ]
    assert {len(row) for row in rows} == {heading.index('   (')}
    assert '1231.00' in rows[1]
    assert counts == 'frames 3 in, 3 out, 0 dropped; faces swapped 0; 30.3 frames/s'
    assert machine == 'CPU 55 % of one core; memory 100 MB at the start, 101 MB at the end'


def test_percentiles_of_nothing_are_an_error():
    with pytest.raises(IndexError):
        percentiles([])
