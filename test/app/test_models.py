"""``facefusion-ros models``: from a file to a network that the pipeline can use."""

import argparse
import sys
from pathlib import Path

import onnx
import pytest

from facefusion_ros.app.models import register
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import FacefusionError
from facefusion_ros.models import store as store_module
from facefusion_ros.models.tiny import family_names, write_tiny

# At the end, so that the package is tested as it is installed.
sys.path.append(str(Path(__file__).parents[2]))

from training import ship as ship_module
from training.ship import ship


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))
    # Whatever ships with the package.
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights' / 'index.yaml').write_text('models: {}\n')
    monkeypatch.setattr(store_module, 'WEIGHTS', tmp_path / 'weights')
    return tmp_path


@pytest.fixture
def models(folder, capsys):
    """Return a function that runs a command on the store in the folder and gives its exit code and lines."""
    folder.mkdir(exist_ok=True)
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(required=True))

    def models(*words):
        options = parser.parse_args(['models', *map(str, words)])
        code = options.act(options)
        return code, capsys.readouterr().out.splitlines()

    return models


@pytest.fixture
def tiny(folder):
    def tiny(family):
        path = folder / f'{family}.onnx'
        write_tiny(family, path)
        return path

    return tiny


def columns(lines):
    """First word of each line to the rest of it."""
    return {line.split('  ')[0]: line.split('  ', 1)[1].strip() for line in lines if not line.startswith(' ')}


def test_an_empty_store_says_how_to_fill_it(models, folder):
    assert models('list') == (
        0,
        [f'no models in {folder}/store; add one with `facefusion-ros models add FILE`'],
    )
    assert models('verify') == (0, [f'no models in {folder}/store'])


def test_add_list_and_verify(models, tiny, folder):
    code, lines = models('add', tiny('yunet'), '--licence', 'MIT', '--source', 'me')
    said = columns(lines)
    assert code == 0
    assert said['added'] == f'yunet to {folder}/store'
    assert said['family'] == 'yunet (detector)'
    assert said['picture'] == '640x640, BGR 0..255, mean 0, std 1, NCHW'
    assert said['runs'].startswith('on CPUExecutionProvider: loaded in ')
    models('add', tiny('codeformer'), '--accept-noncommercial')
    assert models('list') == (
        0,
        [
            'name        role      family      size     licence',
            'codeformer  enhancer  codeformer  512x512  LicenseRef-S-Lab-1.0 (not for commercial use)',
            'yunet       detector  yunet       640x640  MIT',
        ],
    )
    code, lines = models('verify')
    assert code == 0
    assert [line.split()[-2:] for line in lines[1:]] == [['as', 'added']] * 2


def test_verify_fails_where_a_file_has_changed(models, tiny, folder):
    models('add', tiny('yunet'), '--licence', 'MIT')
    path = folder / 'store' / 'yunet' / 'yunet.onnx'
    path.write_bytes(path.read_bytes() + b'\0')
    code, lines = models('verify')
    assert code == 1
    assert 'has changed since it was added' in lines[1]


@pytest.mark.parametrize('family', family_names())
def test_every_family_can_be_added_and_runs(family, models, tiny):
    code, lines = models('add', tiny(family), '--accept-noncommercial')
    assert code == 0
    assert columns(lines)['family'].startswith(f'{family} (')


def test_a_forbidding_licence_is_said(models, tiny):
    with pytest.raises(FacefusionError, match=r'S-Lab-1\.0, forbids commercial use: .* with --accept-noncommercial'):
        models('add', tiny('codeformer'))


def test_a_network_that_no_engine_runs_is_not_added(models, tiny):
    path = tiny('gfpgan')
    model = onnx.load(path)
    model.graph.node[0].op_type = 'Konv'
    onnx.save(model, path)
    with pytest.raises(EngineError, match='Konv'):
        models('add', path)
    assert 'no models' in models('list')[1][0]


def test_inspect_says_what_a_file_is_and_why(models, tiny, folder):
    code, lines = models('inspect', tiny('inswapper'))
    said = columns(lines)
    assert code == 0
    assert said['opset'] == '17'
    assert said['input'] == 'target [1, 3, 128, 128] float32'
    assert said['family'] == 'inswapper (swapper)'
    assert said['template'] == 'arcface_128'
    assert said['because'] == 'input target [1, 3, 128, 128] float32 is the picture'
    assert lines[-1].strip() == 'weight buff2fs is the projection'
    assert not (folder / 'store').exists()


def test_inspect_of_an_unknown_network_still_says_what_is_in_it(models, tiny):
    path = tiny('yunet')
    model = onnx.load(path)
    del model.graph.output[3:]
    onnx.save(model, path)
    code, lines = models('inspect', path)
    assert code == 1
    said = columns(lines)
    assert said['input'] == 'input [1, 3, 640, 640] float32'
    assert said['family'].startswith('is of no known family: input [1, 3, 640, 640] float32 -> cls_8')


def test_inspect_of_an_ambiguous_network(models, tiny, folder):
    path = tiny('ghost').rename(folder / 'network.onnx')
    code, lines = models('inspect', path)
    assert code == 1
    assert columns(lines)['family'].startswith('could be ghost or simswap or hififace')
    code, lines = models('inspect', path, '--family', 'simswap')
    assert code == 0
    assert columns(lines)['picture'] == '256x256, RGB 0..1, mean 0.485 0.456 0.406, std 0.229 0.224 0.225, NCHW'


class TestWhatShipsWithThePackage:
    @pytest.fixture(autouse=True)
    def _ships(self, tiny, folder, monkeypatch):
        (folder / 'README.md').touch()
        monkeypatch.setattr(ship_module, 'ROOT', folder)
        ship(tiny('yolov4_tiny_points').rename(folder / 'finder.onnx'), 'README.md', folder / 'weights')

    def test_is_listed_verified_and_inspected(self, models, tiny, folder):
        code, lines = models('list')
        assert code == 0
        assert 'no models in' in lines[0]
        assert lines[2].split() == ['finder', 'detector', 'yolov4_tiny_points', '416x416', 'Apache-2.0', 'shipped']
        models('add', tiny('yunet'), '--licence', 'MIT')
        assert [line.split()[0] for line in models('list')[1]] == ['name', 'yunet', 'finder']
        code, lines = models('verify')
        assert code == 0
        assert [line.split()[-1] for line in lines[1:]] == ['added', 'shipped']
        code, lines = models('inspect', 'finder')
        said = columns(lines)
        assert code == 0
        assert said['file'].startswith(str(folder / 'weights' / 'finder.onnx'))
        assert said['shipped'] == 'with the package'
        assert said['licence'] == 'Apache-2.0'
        assert said['source'] == 'facefusion_ros, README.md'

    def test_is_not_removed_but_what_was_built_of_it(self, models, folder):
        assert models('build', 'finder', '--precision', 'fp16')[0] == 0
        assert 'fp16 passed' in models('list')[1][-1]
        assert {file.name for file in (folder / 'weights').iterdir()} == {'index.yaml', 'finder.onnx'}
        with pytest.raises(FacefusionError, match='finder ships with the package and stays'):
            models('remove', 'finder')
        assert models('remove', 'finder', '--built')[1][0].startswith('removed what was built from finder')
        assert 'fp16' not in models('list')[1][-1]

    def test_a_better_one_takes_the_place_of_that_for_its_role(self, models, tiny, folder):
        weights = folder / 'weights'
        ship(tiny('yolov4_tiny_points').rename(folder / 'better.onnx'), 'README.md', weights)
        ship(tiny('persona_swapper'), 'README.md', weights)
        assert {file.name for file in weights.iterdir()} == {'index.yaml', 'better.onnx', 'persona_swapper.onnx'}
        assert columns(models('inspect', 'persona_swapper')[1])['personas'] == 'porcelain, obsidian, jade'
        with pytest.raises(SystemExit, match=r'none\.md is not there: say first how the network was made'):
            ship(folder / 'better.onnx', 'none.md', weights)


def test_a_network_of_personas_must_name_them(models, tiny):
    path = tiny('persona_swapper')
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(FacefusionError, match='says nothing of whom it shows: its metadata "personas" must be 3 names'):
        models('add', path, '--licence', 'MIT', '--family', 'persona_swapper')
