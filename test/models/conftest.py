"""Networks for the tests of the catalogue."""

from pathlib import Path

import pytest

from facefusion_ros.models.tiny import write_tiny


@pytest.fixture(scope='session')
def tiny_network(tmp_path_factory):
    """Return a function that gives the file of a tiny network of a family; each is written once."""
    folder = tmp_path_factory.mktemp('tiny')

    def path(family: str) -> Path:
        file = folder / f'{family}.onnx'
        if not file.exists():
            write_tiny(family, file)
        return file

    return path


@pytest.fixture(scope='session')
def yunet_file():
    """Return the real third-party YuNet file, which lies beside the repository on machines that have it."""
    for folder in Path(__file__).resolve().parents:
        file = folder / 'shared' / 'models' / 'yunet_n_640_640.onnx'
        if file.is_file():
            return file
    pytest.skip('the real YuNet file (shared/models/yunet_n_640_640.onnx beside the repository) is not here')
