"""What a recorded run amounts to: frames, drops, latencies."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facefusion_ros.frames.frame import StageTime

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame that reached the display."""

    sequence: int
    shown_ns: int
    """When it was shown, nanoseconds of the ROS clock."""
    journal: tuple[StageTime, ...]

    @property
    def latency_ms(self) -> float:
        """Capture to display."""
        return self.journal[-1].end_ns / 1e6


@dataclass
class Tally:
    """Collects a run; ``summary`` may be asked for at any time."""

    shown: list[Shown] = field(default_factory=list)
    first_sequence: int | None = None
    faces: dict[int, int] = field(default_factory=dict)
    """Faces replaced, by the frame's sequence."""

    def captured(self, sequence: int) -> None:
        """Take note of a frame the camera announced."""
        if self.first_sequence is None:
            self.first_sequence = sequence

    @property
    def faces_swapped(self) -> int:
        """Faces replaced in the frames that were shown."""
        return sum(self.faces.get(frame.sequence, 0) for frame in self.shown)

    def summary(self) -> dict[str, Any]:
        """Return the numbers; frames captured after the last one shown are not counted."""
        if not self.shown:
            return {'frames_in': 0, 'frames_out': 0, 'frames_dropped': 0, 'faces_swapped': 0, 'fps': 0.0}
        first = self.shown[0].sequence if self.first_sequence is None else self.first_sequence
        frames_in = self.shown[-1].sequence - min(first, self.shown[0].sequence) + 1
        span_s = (self.shown[-1].shown_ns - self.shown[0].shown_ns) / 1e9
        return {
            'frames_in': frames_in,
            'frames_out': len(self.shown),
            'frames_dropped': frames_in - len(self.shown),
            'faces_swapped': self.faces_swapped,
            'fps': round((len(self.shown) - 1) / span_s, 2) if span_s > 0 else 0.0,
            'latency_ms': percentiles([frame.latency_ms for frame in self.shown]),
            'stages_ms': self._stages(),
            'drops_by_stage': self._drops(),
        }

    def _stages(self) -> dict[str, dict[str, float]]:
        durations: dict[str, list[float]] = defaultdict(list)
        for frame in self.shown:
            worked_ns = 0
            for entry in frame.journal:
                durations[entry.stage].append((entry.end_ns - entry.begin_ns) / 1e6)
                worked_ns += entry.end_ns - entry.begin_ns
            durations['between stages'].append((frame.journal[-1].end_ns - worked_ns) / 1e6)
        return {stage: percentiles(values) for stage, values in durations.items()}

    def _drops(self) -> dict[str, int]:
        drops: dict[str, int] = defaultdict(int)
        for frame in self.shown:
            for entry in frame.journal:
                drops[entry.stage] += entry.dropped
        return dict(drops)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99, rounded to a microsecond where the values are milliseconds."""
    return {f'p{p}': round(float(v), 3) for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)}


def table(summary: Mapping[str, Any]) -> str:
    """Lay the numbers out for a person."""
    lines = [f'{"stage":<16}{"p50":>9}{"p95":>9}{"p99":>9}  ms']
    rows = {**summary.get('stages_ms', {}), 'capture to display': summary.get('latency_ms', {})}
    width = max(16, *(len(name) + 2 for name in rows))
    lines = [f'{"stage":<{width}}{"p50":>9}{"p95":>9}{"p99":>9}   (milliseconds)']
    lines += [
        f'{name:<{width}}' + ''.join(f'{row[f"p{p}"]:>9.2f}' for p in PERCENTILES) for name, row in rows.items() if row
    ]
    lines.append('')
    counts = f'frames {summary["frames_in"]} in, {summary["frames_out"]} out, {summary["frames_dropped"]} dropped'
    lines.append(f'{counts}; faces swapped {summary["faces_swapped"]}; {summary["fps"]:.1f} frames/s')
    if 'cpu_percent' in summary:
        memory = f'{summary["rss_mb_start"]:.0f} MB at the start, {summary["rss_mb_end"]:.0f} MB at the end'
        lines.append(f'CPU {summary["cpu_percent"]:.0f} % of one core; memory {memory}')
    return '\n'.join(lines)
