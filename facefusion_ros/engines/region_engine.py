"""Two engines as one: the face by the first, eyes and lips by the second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.regions import crop_shape, keep_regions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from facefusion_ros.engines.engine import Engine, TensorSpec
    from facefusion_ros.engines.regions import Floats, Window


class RegionEngine:
    """An ``Engine`` for aligned crops, whose landmarks are always in the same places, so that the windows are too.

    What the whole gives away for the crops (``statistics``) passes between the two in memory of their own; every other
    input goes to both that have it. Nothing is allocated after the first run.
    """

    def __init__(
        self, whole: Engine, detail: Engine, windows: Sequence[Window], *, picture_in: str, picture_out: str
    ) -> None:
        """Take both engines over: they are closed with this one, and at once where an error is raised.

        ``whole`` and ``detail`` are networks of ``crops.crops_of``. Raises EngineError where they do not fit.
        """
        self._whole, self._detail, self._windows = whole, detail, tuple(windows)
        self._in, self._out = picture_in, picture_out
        try:
            self._fit()
        except BaseException:
            self.close()
            raise

    def _fit(self) -> None:
        shape = crop_shape(self._windows)
        wanted = {spec.name: spec for spec in self._detail.inputs}
        if wanted.get(self._in) is None or wanted[self._in].shape != shape:
            raise EngineError(f'the network for eyes and lips takes no crops {shape}: build int8_keep_regions again')
        self._shared: dict[str, NDArray[np.generic]] = {
            spec.name: np.empty([size or 1 for size in spec.shape], spec.dtype)
            for spec in self._whole.outputs
            if spec.name != self._out and spec.name in wanted
        }
        self._others = [spec.name for spec in self._whole.inputs if spec.name in wanted and spec.name != self._in]
        if lost := wanted.keys() - {self._in, *self._shared, *self._others}:
            raise EngineError(
                f'nothing gives {min(lost)} to the network for eyes and lips: build int8_keep_regions again'
            )
        self._outputs = tuple(spec for spec in self._whole.outputs if spec.name not in self._shared)
        picture = next((spec for spec in self._outputs if spec.name == self._out), None)
        if picture is None or len(picture.shape) != 4 or None in picture.shape[1:]:
            raise EngineError(
                f'the network makes no picture {self._out} of a fixed size: build int8_keep_regions again'
            )
        self._picture = np.empty([size or 1 for size in picture.shape], np.float32)
        self._crops, self._details = np.empty(shape, np.float32), np.empty(shape, np.float32)
        # Of one identity each, since engines keep what belongs to arrays that come again.
        self._given: Mapping[str, NDArray[Any]] = {}
        self._wanted: Mapping[str, NDArray[Any]] = {}

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in the file's order."""
        return self._whole.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in the file's order, without what passes between the two."""
        return self._outputs

    @property
    def provider(self) -> str:
        """What runs them now."""
        first, second = self._whole.provider, self._detail.provider
        return first if first == second else f'{first} and {second}'

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Run both once; see ``Engine``. Raises EngineError."""
        picture: Any = inputs.get(self._in)
        out: Any = outputs.get(self._out, self._picture)
        if picture is None:
            raise EngineError(f'the network wants an input {self._in}: give it')
        for name, array in ((self._in, picture), (self._out, out)):
            if array.dtype != np.float32 or array.shape[1:] != self._picture.shape[1:]:
                raise EngineError(f'{name} is {array.shape} of {array.dtype}: give {self._picture.shape} of float32')
        self._given, self._wanted = inputs, outputs
        keep_regions(
            picture,
            out,
            self._windows,
            whole=self._run_whole,
            detail=self._run_detail,
            crops=self._crops,
            details=self._details,
        )

    def _run_whole(self, picture: Floats, out: Floats) -> None:
        self._whole.run({**self._given, self._in: picture}, {**self._wanted, self._out: out, **self._shared})

    def _run_detail(self, crops: Floats, details: Floats) -> None:
        others = {name: self._given[name] for name in self._others}
        self._detail.run({self._in: crops, **self._shared, **others}, {self._out: details})

    def warm_up(self) -> None:
        """Run both once on zeros. Raises EngineError."""
        self._whole.warm_up()
        self._detail.warm_up()

    def close(self) -> None:
        """Release both; may be called twice."""
        self._whole.close()
        self._detail.close()
