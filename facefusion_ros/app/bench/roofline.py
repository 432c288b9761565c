"""How fast networks can be at best on a device: what its arithmetic and its memory allow, and no engine undercuts.

Nothing here is measured. Arithmetic at its peak takes ``compute_ms``; weights and activations at the memory's peak take
``weights_ms`` and ``activations_ms``, where each matrix operator reads its input from memory and writes its output
there (see ``Cost.activations``; a cache or deeper fusion saves some of it). The floor is the longer of arithmetic and
memory. Real engines stay above it: TensorRT reaches, in float16, 28 and 37 % of a Jetson AGX Orin's peak with YOLOv8m
(6.5 ms at 640 x 640 and 20.1 ms at 1280 x 1280, of 79 and 316 GFLOP: justincdavis/trtutils, benchmark), and half of an
A10G's with CodeFormer (23 ms: yuvraj108c/Codeformer-Tensorrt).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facefusion_ros.app.bench.architectures import ARCHITECTURES, build
from facefusion_ros.models.cost import Cost, file_cost, network_cost
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes
from facefusion_ros.models.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

PRECISIONS = ('fp16', 'int8')
SHARE_OF_PEAK = (0.28, 0.5)
"""What others have measured in float16, see above; of INT8 there is nothing to go by."""


@dataclass(frozen=True, slots=True)
class Device:
    """Peaks of a processor for dense matrices; sparsity and DLA, which the sellers' sums contain, are left out."""

    name: str
    tera: dict[str, float]
    """10^12 operations a second at each precision, float16 summed in float32."""
    gigabytes: float
    """10^9 bytes of memory traffic a second."""
    source: str


def _orin(name: str, multiprocessors: int, gigahertz: float, gigabytes: float, source: str) -> Device:
    # A multiprocessor of Orin has four Tensor cores of 256 multiplications and additions in float16 at each clock.
    fp16 = multiprocessors * 4 * 256 * 2 * gigahertz / 1e3
    return Device(name, {'fp16': fp16, 'int8': 2 * fp16}, gigabytes, source)


_BRIEF = 'NVIDIA Jetson AGX Orin Series Technical Brief v1.2'
DEVICES = (
    _orin('Jetson AGX Orin 64GB', 16, 1.3, 204.8, f'{_BRIEF}: 170 sparse INT8 TOPS of the GPU, half of it dense'),
    _orin('Jetson AGX Orin 32GB', 14, 0.93, 204.8, f'{_BRIEF}: 14 multiprocessors, 930 MHz'),
    _orin('Jetson Orin NX 16GB', 8, 0.918, 102.4, 'NVIDIA Jetson Orin NX Series Data Sheet: 1024 cores, 918 MHz'),
    Device('H100 SXM', {'fp16': 989.4, 'int8': 1978.9}, 3350.0, 'NVIDIA H100 Data Sheet, without sparsity'),
)  # fmt: skip
"""The first is the one that this project's description speaks of."""

CHAINS = {
    'swap alone': ('yolov4_tiny_416', 'inswapper_128'),
    'swap, restore 256 by GPEN': ('yolov4_tiny_416', 'inswapper_128', 'gpen_bfr_256'),
    'swap, restore 256 by CodeFormer': ('yolov4_tiny_416', 'inswapper_128', 'codeformer_256'),
    'swap, restore 512 by GFPGAN': ('yolov4_tiny_416', 'inswapper_128', 'gfpgan_512'),
    'swap, restore 512 by CodeFormer': ('yolov4_tiny_416', 'inswapper_128', 'codeformer_512'),
}
"""Networks that run one after the other for each frame with one face."""

REPORTED = {'fp16_ms': [33.0, 43.0], 'int8_ms': 28.0, 'memory_gb_at_most': 4.0}
"""What the description of this project reports of a Jetson AGX Orin, from capture to display. Not measured here."""


def floor(cost: Cost, device: Device, precision: str) -> dict[str, float]:
    """Least time of one run, milliseconds, and what it is made of."""
    compute_ms = cost.matrix_flop / device.tera[precision] / 1e9
    weights_ms = cost.weight_bytes(precision) / device.gigabytes / 1e6
    activations_ms = cost.activation_bytes(precision) / device.gigabytes / 1e6
    return {
        'floor_ms': round(max(compute_ms, weights_ms + activations_ms), 3),
        'compute_ms': round(compute_ms, 3),
        'weights_ms': round(weights_ms, 3),
        'activations_ms': round(activations_ms, 3),
    }


def roofline() -> dict[str, Any]:
    """Compute the floors of all architectures known here and of the networks in the user's store.

    Raises ModelError where the store is damaged, OSError where a file of it cannot be read.
    """
    costs = {name: network_cost(build(name, values=False)) for name in ARCHITECTURES}
    first = DEVICES[0]
    result: dict[str, Any] = {
        'computed': "from the graphs and the sellers' peaks; nothing is measured",
        'devices': {
            each.name: {
                'fp16_tflops': round(each.tera['fp16'], 1),
                'int8_tops': round(each.tera['int8'], 1),
                'gigabytes_per_s': each.gigabytes,
                'source': each.source,
            }
            for each in DEVICES
        },
        'networks': {name: _row(cost) for name, cost in (*costs.items(), *_stored())},
        'chains': {},
        'reported': REPORTED,
        'fp16_share_of_peak_measured_elsewhere': SHARE_OF_PEAK,
    }  # fmt: skip
    for chain, names in CHAINS.items():
        floors = {each: sum(floor(costs[name], first, each)['floor_ms'] for name in names) for each in PRECISIONS}
        result['chains'][chain] = {
            'weights_fp16_mb': round(sum(costs[name].weight_bytes('fp16') for name in names) / 1e6),
            **{f'{precision}_floor_ms': round(ms, 1) for precision, ms in floors.items()},
            'fp16_at_measured_share_ms': [round(floors['fp16'] / share, 1) for share in reversed(SHARE_OF_PEAK)],
        }
    return result


def _row(cost: Cost) -> dict[str, Any]:
    row: dict[str, Any] = {
        'gflop': round(cost.matrix_flop / 1e9, 2),
        'other_gflop': round(cost.other_flop / 1e9, 2),
        'parameters_m': round(cost.parameters / 1e6, 2),
    }
    for precision in PRECISIONS:
        row[f'weights_{precision}_mb'] = round(cost.weight_bytes(precision) / 1e6, 1)
        row[f'activations_{precision}_mb'] = round(cost.activation_bytes(precision) / 1e6, 1)
    if cost.untold:
        row['not_counted'] = list(cost.untold)
    row['devices'] = {
        device.name: {precision: floor(cost, device, precision) for precision in PRECISIONS} for device in DEVICES
    }
    return row


def _stored() -> Iterator[tuple[str, Cost]]:
    store = open_store()
    for name, entry in store.entries().items():
        path = store.path(entry)
        where = 'shipped' if entry.shipped else 'store'
        yield f'{where}: {name}', file_cost(path, input_shapes(entry, read_graph(path).inputs))
