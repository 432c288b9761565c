"""A swapper that is a network."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.faces.aligned import image_from_crop
from facefusion_ros.faces.crop import crop
from facefusion_ros.faces.feed import Feed
from facefusion_ros.faces.tensors import PictureTensor, allocate, fits
from facefusion_ros.models.entry import ModelError, PictureRange
from facefusion_ros.personas.persona import PersonaError
from facefusion_ros.personas.swapper import BORDER_PX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine, TensorSpec
    from facefusion_ros.faces.face import Face
    from facefusion_ros.models.entry import ModelEntry
    from facefusion_ros.personas.persona import Shown

_EDGE, _BOX = 0.04, 0.15
"""Width of the fade towards a patch's edge, as a fraction of the patch: with the network's own mask, and in its stead.

Without a mask the network has changed the whole crop, and the fade hides where it ends (FaceFusion's box mask of blur
0.3, face_masker.py)."""

_MORPH = 0.75
"""How far an AMP model goes from the face before the camera to the persona, 0 to 1: where DeepFaceLive's slider stands
until it is moved (iperov/DeepFaceLive, apps/DeepFaceLive/backend/FaceSwapDFM.py, on_tick)."""

MOST_BOOST = 4
"""A boost costs its square in pictures to redraw."""
_LARGEST_BOOSTED_PX = 256
"""Larger networks are detailed as they are, and slow."""

_AS_IT_IS = np.eye(2, 3)

_MASKS = ('mask', 'target_mask')


class NetworkSwapper:
    """Swapper that lets a network redraw the face; see Swapper. The engine stays the caller's.

    Makes its buffers once; ``swap`` allocates nothing of the patch's or the frame's size, but for what ``faces.crop``
    needs to shrink a face that is larger than the patch.

    With a boost of k the same part of the frame is cropped with k times the network's pixels to a side. Every k-th
    pixel of every k-th row makes a picture for the network: the whole face, k * k times, shifted by 1/k of a pixel
    from one to the next; what the network makes of them is woven together again in the same way. FaceFusion 3 calls it
    pixel boost (facefusion/processors/pixel_boost.py); its pictures all lie to one side of the unboosted one, these
    around it. Where the file leaves the number of pictures open, or it is k * k, they go through in one run.
    """

    def __init__(
        self,
        engine: Engine,
        entry: ModelEntry,
        persona: Shown,
        source: NDArray[np.generic] | None = None,
        boost: int = 1,
    ) -> None:
        """Fit the buffers to the network and tell it who is shown.

        ``entry``: of the store, with the file's names of inputs and outputs. ``source``: of ``source_vector`` or
        ``source_picture`` for this family, or how much of each of the entry's personas is shown; None where the
        identity is in the weights. ``boost``: 1 to MOST_BOOST, and 1
        for networks of more than 256 pixels. Raises ModelError where the entry is of no swapper or ``source`` or
        ``boost`` does not suit it, EngineError where the network is not as the entry says, PersonaError where nobody
        agreed.
        """
        if not 1 <= boost <= MOST_BOOST:
            raise ModelError(f'a boost of {boost} cannot be: give 1 (none) to {MOST_BOOST}')
        if not persona.consent.strip():
            raise PersonaError(f'{persona.name} has no consent: write who agreed to be shown, to what and when')
        family = entry.family
        if family.template is None or 'picture' not in entry.inputs or 'picture' not in entry.outputs:
            raise ModelError(f'{entry.name} of family {family.name} is no swapper whose inputs are known: add it again')
        self._persona, self._engine, self._template = persona, engine, family.template
        inputs, outputs = _by_role(engine.inputs, entry.inputs), _by_role(engine.outputs, entry.outputs)

        # Pictures in one run: all of a boost, or one after the other.
        count = boost * boost
        told = [inputs[role] for role in ('source', 'persona') if role in inputs]
        if any(spec.shape[:1] not in ((None,), (count,)) for spec in (inputs['picture'], *told, *outputs.values())):
            count = 1
        open_size = entry.size or family.size or (256, 256)
        self._tensor = PictureTensor(inputs['picture'], family.preprocessing, open_size, count=count)
        side = self._tensor.size[0]
        if self._tensor.size != (side, side):
            raise EngineError(f'{entry.name} takes pictures of {self._tensor.size}: a swapper needs square ones')
        if boost > 1 and side > _LARGEST_BOOSTED_PX:
            raise ModelError(f'{entry.name} has {side} pixels, which need no boost: set it to 1')
        self._boost, self._size = boost, boost * side
        self._inputs: dict[str, NDArray[np.generic]] = {self._tensor.name: self._tensor.array}
        self._inputs |= _source_input(entry, told[0] if told else None, source, count)
        if 'morph' in inputs:
            self._inputs[inputs['morph'].name] = np.full(1, _MORPH, inputs['morph'].dtype)
        if missing := [spec.name for spec in engine.inputs if spec.name not in self._inputs]:
            raise EngineError(
                f'{entry.name} has an input {missing[0]} that its family does not know: set another family'
            )

        planar = family.preprocessing.layout == 'nchw'
        self._outputs: dict[str, NDArray[np.generic]] = {}

        def planes(role: str, channels: int) -> NDArray[np.generic]:
            spec = outputs[role]
            shape = (channels, side, side) if planar else (side, side, channels)
            if not fits(spec, shape, count):
                raise EngineError(
                    f'output {spec.name} of {entry.name} is {spec.shape}, not {shape}: set another family'
                )
            self._outputs[spec.name] = allocate(spec, shape, count)
            made = self._outputs[spec.name].reshape((count, *shape))
            return made if planar else np.moveaxis(made, 3, 1)

        self._pictures = planes('picture', 3)
        self._masks = [planes(role, 1)[:, 0] for role in _MASKS if role in outputs]
        self._channels = (2, 1, 0) if family.preprocessing.colour == 'rgb' else (0, 1, 2)
        meaning = family.range or PictureRange((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        # Half a step more, because numbers are cut off on their way to integers.
        self._gain = [np.float32(255 * std) for std in meaning.std]
        self._offset = [np.float32(255 * mean + 0.5) for mean in meaning.mean]
        others = {name: array for name, array in self._inputs.items() if name != self._tensor.name}
        self._feed = Feed(engine, self._tensor, others)
        self._crop = np.zeros((self._size, self._size, 3), np.uint8)
        self._plane = np.zeros((side, side), np.float32)
        every = [slice(start, None, boost) for start in range(boost)]
        shifts = list(product(every, every))
        self._runs = [shifts[start : start + count] for start in range(0, len(shifts), count)]
        self._fade = _fade(self._size, _EDGE if self._masks else _BOX)

    @property
    def persona(self) -> Shown:
        """Who is shown."""
        return self._persona

    @property
    def size(self) -> int:
        """Width and height of the patches, pixels: those of the network's picture, times the boost."""
        return self._size

    def swap(self, frame_pixels: NDArray[np.uint8], face: Face, out: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Write the redrawn face to ``out`` and return image_from_patch; see Swapper.

        Raises EngineError where the network fails, or gives what is no number.
        """
        if out.shape != (self._size, self._size, 4) or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f'out must be C-contiguous uint8 ({self._size}, {self._size}, 4), not {out.shape}')
        image_from_patch = image_from_crop(self._template, self._size // self._boost, face.landmarks)
        # The same area in more pixels; edge stays on edge, half a pixel before the first one's centre.
        image_from_patch[:, :2] /= self._boost
        image_from_patch[:, 2] -= image_from_patch[:, :2].sum(axis=1) * ((self._boost - 1) / 2)
        if self._boost > 1:
            crop(frame_pixels, image_from_patch, self._crop)
        out[..., 3] = self._fade
        for shifts in self._runs:
            for place, shift in enumerate(shifts):
                if self._boost > 1:
                    self._feed.fill(self._crop[shift], _AS_IT_IS, place)
                else:
                    self._feed.fill(frame_pixels, image_from_patch)
            self._feed.run(self._outputs)
            for place, shift in enumerate(shifts):
                self._read(place, out[shift])
        return image_from_patch

    def _read(self, place: int, out: NDArray[np.uint8]) -> None:
        """Write colours and mask of the run's picture at this place."""
        colours = zip(self._pictures[place], self._channels, self._gain, self._offset, strict=True)
        for values, channel, gain, offset in colours:
            np.copyto(out[..., channel], self._bytes(values, gain, offset), casting='unsafe')
        alpha = out[..., 3]
        for masks in self._masks:
            mask = self._bytes(masks[place], np.float32(255), np.float32(0.5))
            np.minimum(mask, alpha, out=alpha, dtype=np.float32, casting='unsafe')

    def _bytes(self, values: NDArray[np.generic], gain: np.float32, offset: np.float32) -> NDArray[np.float32]:
        np.multiply(values, gain, out=self._plane, dtype=np.float32, casting='same_kind')
        np.add(self._plane, offset, out=self._plane)
        np.clip(self._plane, 0, 255, out=self._plane)
        if np.isnan(self._plane.sum()):
            raise EngineError('the swapper gives values that are no numbers: run this network with higher precision')
        return self._plane


def _by_role(specs: tuple[TensorSpec, ...], names: Mapping[str, str]) -> dict[str, TensorSpec]:
    there = {spec.name: spec for spec in specs}
    if missing := [name for name in names.values() if name not in there]:
        raise EngineError(f'the network has no {missing[0]}, only {", ".join(there)}: add the file to the store again')
    return {role: there[name] for role, name in names.items()}


def _source_input(
    entry: ModelEntry, spec: TensorSpec | None, source: NDArray[np.generic] | None, count: int
) -> dict[str, NDArray[np.generic]]:
    """Return the array that says ``count`` times who is shown, by its input's name; empty where the weights say it."""
    told = entry.family.source
    if spec is None or (told is None and not entry.personas):
        if source is not None:
            raise ModelError(f'{entry.name} shows whom it was trained for: leave the source out')
        return {}
    kind = told.kind if told else 'weight of each persona'
    wanted: tuple[int, ...] = (512,) if told else (len(entry.personas),)
    if told and told.kind == 'picture':
        wanted = (told.size, told.size, 3)
    if source is None or source.shape != wanted:
        given = 'nothing' if source is None else f'an array {source.shape}'
        raise ModelError(f'{entry.name} needs a source {kind} {wanted} of who is shown, and was given {given}')
    if told and told.kind == 'picture':
        tensor = PictureTensor(spec, told.preprocessing, (told.size, told.size), count=count)
        if tensor.size != (told.size, told.size):
            raise EngineError(
                f'input {spec.name} of {entry.name} is no picture of {told.size} pixels: set another family'
            )
        for place in range(count):
            tensor.fill(source.astype(np.uint8), place)
        return {tensor.name: tensor.array}
    if not fits(spec, wanted, count):
        raise EngineError(
            f'input {spec.name} of {entry.name} is {spec.shape}, not {wanted[0]} numbers: set another family'
        )
    vector = allocate(spec, wanted, count)
    vector[...] = source
    return {spec.name: vector}


def _fade(size: int, width: float) -> NDArray[np.uint8]:
    """(size, size) opaque in the middle, smoothly down to 0 on the outermost BORDER_PX rows of pixels."""
    place = np.arange(size)
    t = np.clip((np.minimum(place, place[::-1]) - (BORDER_PX - 1)) / (width * size), 0, 1)
    ramp = t * t * (3 - 2 * t)
    return np.asarray(np.round(255 * ramp[:, None] * ramp), np.uint8)
