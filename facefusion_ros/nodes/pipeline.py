"""The hot path in one process: camera, detector, swapper, blender and renderer, each on its own executor thread."""

from facefusion_ros.nodes.blender import Blender
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.nodes.detector import Detector
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.nodes.swapper import Swapper
from facefusion_ros.ros.run import run


def main() -> int:
    """Run the five nodes."""
    return run(Camera, Detector, Swapper, Blender, Renderer)
