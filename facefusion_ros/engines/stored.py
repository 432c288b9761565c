"""Loads a network from the user's store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facefusion_ros.engines.chain import EngineSettings, load_engine
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.trt import TensorRtSettings
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes
from facefusion_ros.models.store import Store, store_folder

if TYPE_CHECKING:
    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.models.entry import ModelEntry, Role


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network that is ready to run, and what is known of it."""

    engine: Engine
    entry: ModelEntry


def load_stored(
    name: str, role: Role, settings: EngineSettings | None = None, *, accept_noncommercial: bool = False
) -> StoredNetwork:
    """Load the model of that name; inputs that its file leaves open get the family's usual size.

    Raises ModelError where the store has no such model or may not use it, EngineError where it is for something else or
    no engine runs it.
    """
    settings = settings or EngineSettings()
    path, entry = Store(store_folder(), catalogue()).resolve(name, accept_noncommercial=accept_noncommercial)
    if entry.family.role is not role:
        message = f'model {name} is a {entry.family.role.value} ({entry.family.name}), not a {role.value}: name another'
        raise EngineError(message)
    shapes = input_shapes(entry, read_graph(path).inputs)
    settings = replace(
        settings,
        onnxruntime=replace(settings.onnxruntime, shapes=shapes),
        tensorrt=replace(settings.tensorrt or TensorRtSettings(), shapes=shapes),
    )
    return StoredNetwork(load_engine(path, settings, entry.sha256), entry)
