"""The documents tell the truth about names: every parameter, topic and launch argument is where a person looks."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from facefusion_ros.nodes.ambient_light import AmbientLight
from facefusion_ros.nodes.blender import Blender
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.nodes.camera_control import CameraControl
from facefusion_ros.nodes.detector import Detector
from facefusion_ros.nodes.gyro import Gyro
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.nodes.swapper import Swapper
from facefusion_ros.ros.stage import AUTOSTART

ROOT = Path(__file__).parents[1]
NODES = (Camera, CameraControl, Detector, Swapper, Blender, Renderer, AmbientLight, Gyro)


def section(title: str) -> str:
    text = (ROOT / 'docs' / 'nodes.md').read_text()
    begin = text.index(f'# {title}\n')
    end = text.find('\n#', begin)
    return text[begin : end if end >= 0 else None]


@pytest.mark.parametrize('node', NODES, ids=lambda node: node.NAME)
def test_documents_every_parameter_with_its_description(node):
    text = section(node.NAME)
    for parameter in (*node.TABLE, AUTOSTART):
        row = next((line for line in text.splitlines() if line.startswith(f'| `{parameter.name}` |')), '')
        assert parameter.description in row
    assert text.count('\n| `') == len(node.TABLE) + 1


@pytest.mark.parametrize('file', sorted((ROOT / 'launch').glob('*.launch.xml')), ids=lambda file: file.name)
def test_documents_every_launch_argument(file):
    text = section(file.name)
    arguments = ET.parse(file).getroot().findall('arg')
    for argument in arguments:
        assert f'| `{argument.get("name")}` | `{argument.get("default") or chr(39) * 2}` |' in text
    assert text.count('\n| `') == len(arguments)


def test_links_in_the_documents_lead_somewhere():
    for document in (ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')):
        for target in (part.split(')')[0] for part in document.read_text().split('](')[1:]):
            assert target.startswith('http') or (document.parent / target).exists(), f'{document.name}: {target}'
