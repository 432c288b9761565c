"""A network for a whole face, made one for crops around eyes and lips.

Only where that gives the same picture: a network that looks at all of the face at once, by attention, by a layer over
all pixels or by codes for the whole, is refused with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from facefusion_ros.engines import graph as onnx_graph
from facefusion_ros.engines.colour import ciede2000, lab
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.parity import drawn_faces
from facefusion_ros.engines.regions import crop_shape, keep_regions, plan
from facefusion_ros.engines.statistics import give_statistics, take_statistics
from facefusion_ros.engines.yardsticks import picture_code
from facefusion_ros.models.families import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facefusion_ros.engines.parity import Floats
    from facefusion_ros.engines.regions import Window
    from facefusion_ros.models.entry import ModelEntry

HALOS_PX = (32, 64)
"""Tried in this order: a network that sees further needs more around what is used of a crop."""
MOST_P95_DE2000 = 0.3
"""By which crops may differ from the whole at float32, on eyes and lips: int8 costs several times that there."""
_LEAST_CELLS = 4
"""A map with fewer cells to a side is no picture any more."""


@dataclass(frozen=True, slots=True)
class Crops:
    """A network for crops, and where they lie."""

    model: onnx.ModelProto
    """Float32; takes all crops in one batch, and the statistics that the whole gives away."""
    halo_px: int
    multiple_px: int


def template_landmarks(entry: ModelEntry, size: tuple[int, int]) -> NDArray[np.float64]:
    """(5, 2) landmarks in the crops of a family, pixels of a crop of this width and height.

    Raises EngineError where the family takes no aligned crops.
    """
    if entry.family.template is None:
        raise EngineError(f'{entry.name} of family {entry.family.name} takes no aligned crops of faces')
    template = catalogue().templates[entry.family.template]
    # Centres of pixels are at whole numbers: hence the halves.
    return (np.array(template.points) + 0.5) * (np.array(size) / template.size) - 0.5


def windows_of(entry: ModelEntry, size: tuple[int, int], halo_px: int, multiple_px: int) -> tuple[Window, ...]:
    """Return where eyes and lips lie in the crops of a family; always the same for the same arguments."""
    try:
        return plan(template_landmarks(entry, size), size[0], size[1], halo_px=halo_px, multiple_px=multiple_px)
    except ValueError as error:
        raise EngineError(f'{entry.name}: {error}: use fp16 instead of int8_keep_regions') from None


def crops_of(model: onnx.ModelProto, entry: ModelEntry, size: tuple[int, int]) -> Crops:
    """Make a float32 network with inputs of fixed sizes one for crops of its picture of this width and height.

    Checked on drawn faces: laid over what the network itself returns, the crops must not show. Raises EngineError with
    one line that says why it cannot be.
    """
    take_statistics(model)  # refuses with the plainest reason what no crop could do
    multiple_px = _coarsest(model, size)
    apart = 0.0
    for halo_px in HALOS_PX:
        windows = windows_of(entry, size, halo_px, multiple_px)
        shape = crop_shape(windows)
        if shape[2:] == size[::-1]:
            break
        made = take_statistics(for_crops(model, entry.inputs['picture'], shape))
        apart = _apart(give_statistics(model), made, entry, windows)
        if apart <= MOST_P95_DE2000:
            return Crops(made, halo_px, multiple_px)
    raise EngineError(
        f'{entry.name} looks further than a crop of eyes or lips shows (they would differ by {apart:.1f} dE2000): '
        'use fp16 instead of int8_keep_regions'
    )


def for_crops(model: onnx.ModelProto, picture: str, shape: tuple[int, int, int, int]) -> onnx.ModelProto:
    """Change the size of the picture that a network takes to (crops, channels, height, width).

    Sizes that the file has as constants (exporters write them down) are changed with it. Raises EngineError where the
    network then makes no sense, as one that turns the whole picture into a vector.
    """
    made = onnx_graph.prepared(model)
    graph = made.graph
    value = next(value for value in graph.input if value.name == picture)
    before = [size.dim_value for size in value.type.tensor_type.shape.dim]
    _resize_constants(graph, (before[2], before[3]), shape)
    for size, wanted in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        size.dim_value = wanted
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField('shape')
    try:
        return onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise EngineError(_whole_face(_node(error))) from None


def _node(error: Exception) -> str:
    """Name the node that an error of onnx or of ONNX Runtime is about."""
    text = ' '.join(str(error).split())
    found = re.search(r'op_type: *(\w+), *node name: *([^)]*)\)', text) or re.search(
        r"running (\w+) node. Name: ?'([^']*)'", text
    )
    return ' '.join(found.groups()).strip() if found else f'something in it ({text[:100]})'


def _whole_face(reason: str) -> str:
    return (
        f'{reason} looks at the whole face, so the network cannot be run on crops: '
        'use fp16 instead of int8_keep_regions'
    )


def _resize_constants(graph: onnx.GraphProto, before: tuple[int, int], shape: tuple[int, int, int, int]) -> None:
    """Change the shapes that Reshape, Expand and Resize take as constants, where they are of maps of the picture."""
    constants, fresh = onnx_graph.initializers(graph), onnx_graph.FreshNames(graph)
    for node in graph.node:
        place = {'Reshape': 1, 'Expand': 1, 'Resize': 3}.get(node.op_type)
        if place is None or len(node.input) <= place or node.input[place] not in constants:
            continue
        wanted = _resized([int(size) for size in constants[node.input[place]].ravel()], before, shape)
        if wanted is not None:
            name = fresh(f'{node.input[place]}_of_crops')
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(wanted, np.int64), name))
            node.input[place] = name


def _resized(sizes: list[int], before: tuple[int, int], shape: tuple[int, int, int, int]) -> list[int] | None:
    """Return (1, ..., height / k, width / k, ...) for crops; None where the sizes are not of that kind."""
    if len(sizes) != 4 or sizes[0] not in {0, 1}:
        return None
    for y, x in ((2, 3), (1, 2)):
        if min(sizes[y], sizes[x]) < 1:
            continue
        k, rest = divmod(before[0], sizes[y])
        if not rest and before[1] == k * sizes[x] and not (shape[2] % k or shape[3] % k):
            made = [shape[0] if sizes[0] else 0, *sizes[1:]]
            made[y], made[x] = shape[2] // k, shape[3] // k
            return made
    return None


def _coarsest(model: onnx.ModelProto, size: tuple[int, int]) -> int:
    """Side of the network's coarsest pixel, in pixels of the picture."""
    largest = 1
    for value in onnx_graph.prepared(model).graph.value_info:
        dims = [each.dim_value for each in value.type.tensor_type.shape.dim]
        if len(dims) == 4 and min(dims[2:]) >= _LEAST_CELLS:
            k = size[1] // dims[2]
            if (dims[2] * k, dims[3] * k) == size[::-1]:
                largest = max(largest, k)
    return largest


def _apart(whole: onnx.ModelProto, detail: onnx.ModelProto, entry: ModelEntry, windows: tuple[Window, ...]) -> float:
    """95th percentile of CIEDE2000 under the windows' masks, between the network and the crops laid over it."""
    code = picture_code(entry)
    first, second = (_session(model) for model in (whole, detail))
    names = [spec.name for spec in first.get_outputs()]
    others: dict[str, NDArray[np.generic]] = {
        spec.name: np.full([size if isinstance(size, int) else 1 for size in spec.shape], 0.5, _DTYPES[spec.type])
        for spec in first.get_inputs()
        if spec.name != code.input
    }
    given: dict[str, NDArray[np.generic]] = {}

    def run_whole(picture: Floats, out: Floats) -> None:
        given.update(zip(names, first.run(names, {**others, code.input: picture}), strict=True))
        out[...] = given.pop(code.output)

    def run_detail(crops: Floats, details: Floats) -> None:
        wanted = {spec.name for spec in second.get_inputs()}
        inputs = {name: array for name, array in {**others, **given}.items() if name in wanted}
        details[...] = second.run([code.output], {**inputs, code.input: crops})[0]

    width, height = _picture_size(whole, code.input)
    shape = crop_shape(windows)
    crops, details = np.empty(shape, np.float32), np.empty(shape, np.float32)
    found = []
    for face in drawn_faces(width, height, 2):
        picture = code.encode(face.rgb)
        plain, out = np.empty_like(picture), np.empty_like(picture)
        try:
            run_whole(picture, plain)
            keep_regions(picture, out, windows, whole=run_whole, detail=run_detail, crops=crops, details=details)
        except Exception as error:  # noqa: BLE001 - the errors of ONNX Runtime have no base of their own
            raise EngineError(_whole_face(_node(error))) from None
        one, other = (lab(code.decode(each)[0].transpose(1, 2, 0)) for each in (plain, out))
        for window in windows:
            rows, columns = window.part[1:]
            found.append(ciede2000(one[rows, columns], other[rows, columns])[window.mask > 0.5])
    return float(np.percentile(np.concatenate(found), 95))


_DTYPES: Mapping[str, type] = {
    'tensor(float)': np.float32,
    'tensor(double)': np.float64,
    'tensor(float16)': np.float16,
    'tensor(int64)': np.int64,
}


def _session(model: onnx.ModelProto):  # type: ignore[no-untyped-def]  # noqa: ANN202 - onnxruntime is imported here only
    import onnxruntime  # noqa: PLC0415 - a network is converted where it is seldom run

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ['CPUExecutionProvider'])
    except Exception as error:  # noqa: BLE001 - as above
        raise EngineError(_whole_face(_node(error))) from None


def _picture_size(model: onnx.ModelProto, picture: str) -> tuple[int, int]:
    value = next(value for value in model.graph.input if value.name == picture)
    dims = [each.dim_value for each in value.type.tensor_type.shape.dim]
    return dims[3], dims[2]
