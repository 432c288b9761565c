import pytest

from facefusion_ros.personas.persona import Persona, load_persona


@pytest.fixture(scope='session')
def porcelain() -> Persona:
    return load_persona('porcelain')
