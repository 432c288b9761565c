"""What a network is calibrated on: pictures of a folder or of a bag, given to it as they are in use."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facefusion_ros.app.bag.pictures import camera_topic, picture_of
from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.engines.artefact import Calibration
from facefusion_ros.engines.engine import TensorSpec
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.aligned import image_from_crop
from facefusion_ros.faces.alignment import whole_face
from facefusion_ros.faces.crop import crop
from facefusion_ros.faces.landmarks import LandmarkNetwork
from facefusion_ros.faces.network import NetworkDetector
from facefusion_ros.faces.picture import read_picture
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.faces.tensors import PictureTensor
from facefusion_ros.models.entry import Role
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes
from facefusion_ros.personas.source import source_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from facefusion_ros.engines.calibration import Sample
    from facefusion_ros.faces.face import Face
    from facefusion_ros.models.entry import ModelEntry

    Picture = NDArray[np.uint8]
    """(H, W, 3) BGR."""

MOST_SAMPLES = 200
"""Extremes hardly grow after this many, and a large network takes a second for each."""
PICTURES = frozenset(('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'))
_SEED = 0


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures that are there, none of them read yet."""

    count: int
    digest: str
    """SHA-256 of all of them."""
    where: str
    """In words."""
    read: Callable[[Collection[int]], Iterator[Picture]]
    """Read those of these numbers, without those that cannot be read."""


def open_pictures(path: Path, topic: str | None = None) -> Pictures:
    """Look for pictures in a folder of picture files, or in a bag: an .mcap file or a rosbag2 folder.

    ``topic``: that of the bag; the camera's where it is None. Raises FacefusionError where there are none.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if files:
            return _folder(path, files)
        if not any(path.glob('*.mcap')) and not any(path.glob('*.db3*')):
            message = f'{path} holds no pictures and no bag: name a folder of JPEG or PNG files, or a bag'
            raise FacefusionError(message)
    return _bag(path, topic)


def _folder(folder: Path, files: list[Path]) -> Pictures:
    total = hashlib.sha256()
    for file in files:
        total.update(f'{file.name}\0'.encode())
        _digest_into(total, file)

    def read(numbers: Collection[int]) -> Iterator[Picture]:
        for number in numbers:
            with suppress(FacefusionError):
                yield read_picture(files[number])

    return Pictures(len(files), total.hexdigest(), f'pictures in {folder}', read)


def _bag(bag: Path, topic: str | None) -> Pictures:
    reader = BagReader(bag)
    camera = camera_topic(reader, topic)
    total = hashlib.sha256(camera.encode())
    for file in sorted(bag.glob('*.mcap')) if bag.is_dir() else [bag]:
        _digest_into(total, file)
    count = sum(message.topic == camera for message in reader)
    if not count:
        message = f'{bag} has no readable picture on {camera}'
        raise FacefusionError(message)

    def read(numbers: Collection[int]) -> Iterator[Picture]:
        wanted, number = set(numbers), -1
        for message in reader:
            number += message.topic == camera
            if message.topic != camera or number not in wanted:
                continue
            with suppress(FacefusionError):
                yield picture_of(message)[0]

    return Pictures(count, total.hexdigest(), f'pictures on {camera} of {bag}', read)


def _digest_into(total: Any, file: Path) -> None:  # noqa: ANN401 - hashlib's objects have no public type
    with file.open('rb', buffering=0) as data:
        while block := data.read(1 << 20):
            total.update(block)


def calibration(
    path: Path,
    entry: ModelEntry,
    pictures: Pictures,
    tell: Callable[[int, int], object] = lambda done, total: None,  # noqa: ARG005 - nobody is told
) -> Calibration:
    """Return samples for a model of the store (``path`` is its file): at most ``MOST_SAMPLES``, spread over all.

    A detector gets whole pictures fitted as in use, a network that restores frames a tile from the middle, and all
    others the largest face of each picture, aligned as in use. ``tell`` is called with the pictures done and their
    number. Going through the samples raises FacefusionError where no picture serves.
    """
    told: list[str] = []
    return Calibration(_samples(_Feed(path, entry), pictures, told, tell), pictures.digest, told)


def _samples(feed: _Feed, pictures: Pictures, told: list[str], tell: Callable[[int, int], object]) -> Iterator[Sample]:
    chosen = np.unique(np.linspace(0, pictures.count - 1, min(MOST_SAMPLES, pictures.count)).round().astype(int))
    done = used = 0
    for done, picture in enumerate(pictures.read(chosen.tolist()), 1):
        sample = feed.sample(picture)
        tell(done, len(chosen))
        if sample is not None:
            used += 1
            yield sample
    what = 'a face' if feed.needs_face else 'something'
    if not used:
        message = f'none of {len(chosen)} {pictures.where} could be read and shows {what}: give pictures of faces'
        raise FacefusionError(message)
    told.append(f'{used} of {pictures.count} {pictures.where}' + (', the largest face of each' * feed.needs_face))
    told.extend(feed.notes)


class _Recorder:
    """An ``Engine`` that keeps what it is given, and answers with zeros."""

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.provider = 'nothing'
        self.given: dict[str, NDArray[np.generic]] = {}

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, NDArray[np.generic]]) -> None:
        self.given = {name: array.copy() for name, array in inputs.items()}
        for array in outputs.values():
            array.view().fill(0)

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Feed:
    """Makes a network's inputs of pictures."""

    def __init__(self, path: Path, entry: ModelEntry) -> None:
        graph = read_graph(path)
        shapes = input_shapes(entry, graph.inputs)
        inputs, outputs = (
            tuple(
                TensorSpec(each.name, shapes.get(each.name, each.shape), each.dtype or np.dtype(np.float32))
                for each in tensors
            )
            for tensors in (graph.inputs, graph.outputs)
        )
        self._entry, self._family, self._specs = entry, entry.family, {spec.name: spec for spec in inputs}
        self._recorder = _Recorder(inputs, outputs)
        self._rng = np.random.default_rng(_SEED)
        self._faces = load_detector()
        role = entry.family.role
        self.needs_face = role not in {Role.DETECTOR, Role.BACKGROUND, Role.IDENTITY}
        self.notes: list[str] = []
        if entry.family.source is not None and entry.family.source.kind == 'vector':
            self.notes.append('the source is not one of a person: unit vectors drawn from a seed')
        elif entry.family.source is not None:
            self.notes.append('the source is the face itself')
        self._detector: NetworkDetector | None = None
        self._landmarks: LandmarkNetwork | None = None
        self._tensor: PictureTensor | None = None
        if role is Role.DETECTOR:
            self._detector = NetworkDetector(self._recorder, entry.family, size=entry.size)
        elif role is Role.LANDMARKS:
            self._landmarks = LandmarkNetwork(self._recorder, entry.family)
        elif 'picture' in entry.inputs:
            spec = self._specs[entry.inputs['picture']]
            self._tensor = PictureTensor(
                spec, entry.family.preprocessing, entry.size or entry.family.size or (256, 256)
            )
            width, height = self._tensor.size
            self._crop = np.zeros((height, width, 3), np.uint8)

    def sample(self, picture: Picture) -> dict[str, NDArray[np.generic]] | None:
        """Return what goes into the network for a picture; None where it shows no face."""
        face = None
        if self.needs_face:
            face = next(iter(self._faces.detect(picture)), None)
            if face is None:
                return None
        try:
            made = self._picture(picture, face)
        except ValueError:  # landmarks that nothing can be aligned to
            return None
        for role, name in self._entry.inputs.items():
            if name not in made:
                made[name] = self._other(role, self._specs[name], picture, face)
        return made

    def _picture(self, picture: Picture, face: Face | None) -> dict[str, NDArray[np.generic]]:
        if self._detector is not None:
            self._detector.detect(picture)
            return dict(self._recorder.given)
        if self._landmarks is not None and face is not None:
            self._landmarks.points(picture, face)
            return dict(self._recorder.given)
        if self._tensor is None:
            return {}
        crop(picture, self._place(picture, face), self._crop)
        self._tensor.fill(self._crop)
        return {self._tensor.name: self._tensor.array.copy()}

    def _place(self, picture: Picture, face: Face | None) -> NDArray[np.float64]:
        """(2, 3) map from the network's picture to this one."""
        height, width = self._crop.shape[:2]
        if face is None:
            x, y = (picture.shape[1] - width) // 2, (picture.shape[0] - height) // 2
            return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
        if self._family.template is not None:
            return image_from_crop(self._family.template, width, face.landmarks)
        return whole_face(width).image_from_patch(face.landmarks)

    def _other(self, role: str, spec: TensorSpec, picture: Picture, face: Face | None) -> NDArray[np.generic]:
        shape = tuple(size or 1 for size in spec.shape)
        source = self._family.source
        if role == 'source' and source is not None and source.kind == 'picture' and face is not None:
            tensor = PictureTensor(spec, source.preprocessing, (source.size, source.size))
            tensor.fill(source_picture(picture, face.landmarks, self._family))
            return tensor.array
        if role == 'persona':
            return np.eye(shape[1], dtype=spec.dtype)[[self._rng.integers(shape[1])]]
        if int(np.prod(shape)) > 1:
            vector = self._rng.standard_normal(shape)
            return np.asarray(vector / np.linalg.norm(vector), spec.dtype)
        # Such as CodeFormer's weight, which people set anywhere in its range.
        return np.asarray(self._rng.uniform(0.0, 1.0, shape), spec.dtype)
