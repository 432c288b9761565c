"""``facefusion-ros models build``, and what becomes of what it makes."""

import errno
import json
import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.app import build as building
from facefusion_ros.app import calibration
from facefusion_ros.engines import artefact as artefacts
from facefusion_ros.engines.crops import template_landmarks
from facefusion_ros.engines.stored import load_stored
from facefusion_ros.models.entry import Role
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas.enhancer import Enhancer, EnhancerSettings

SHAPE = (1, 3, 256, 256)


def restorer(*, attention=False, outlier=1.0):
    """Three convolutions that give the picture back; of the family gpen_256.

    Between two of them there is a fourth channel that nothing needs, so many times larger than the others.
    """
    pick = np.zeros((3, 3, 3, 3), np.float32)
    pick[range(3), range(3), 1, 1] = 1.0
    four = np.concatenate([pick, outlier * pick[:1]])
    three = np.concatenate([pick, 0 * pick[:, :1]], axis=1)
    nodes = [
        helper.make_node('Conv', ['input', 'four'], ['a'], name='first', pads=[1] * 4),
        helper.make_node('Conv', ['a', 'three'], ['b'], name='second', pads=[1] * 4),
        helper.make_node('Softmax' if attention else 'Identity', ['b'], ['c'], name='attention'),
        helper.make_node('Conv', ['c', 'pick'], ['output'], name='last', pads=[1] * 4),
    ]
    weights = {'pick': pick, 'four': four, 'three': three}
    graph = helper.make_graph(
        nodes,
        'restorer',
        [helper.make_tensor_value_info('input', TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


@pytest.fixture
def models(tmp_path, monkeypatch, facefusion):
    """Run ``facefusion-ros models`` on a store that holds a restorer."""
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))

    def add(model, name='mine', *words):
        file = tmp_path / f'{name}.onnx'
        write_tiny(model, file) if isinstance(model, str) else onnx.save(model, file)
        family = (model,) if isinstance(model, str) else ('gpen_256',)
        done = facefusion('models', 'add', file, '--family', *family, *(words or ('--licence', 'MIT')))
        assert done.code == 0, done

    def run(*words):
        return facefusion('models', *words)

    run.add, run.built = add, tmp_path / 'store' / 'mine' / 'built'
    return run


@pytest.fixture(scope='session')
def pictures(tmp_path_factory, astronaut):
    """A folder of two pictures of one face."""
    folder = tmp_path_factory.mktemp('pictures')
    picture = cv2.imread(str(astronaut))
    cv2.imwrite(str(folder / 'a.png'), picture)
    cv2.imwrite(str(folder / 'b.jpg'), picture[:, ::-1])
    return folder


def rows(done):
    """First column to the rest, of the first line of each."""
    return {key: text for key, _, text in (line.partition('  ') for line in done.out.splitlines()) if key}


def said(done, key):
    return rows(done)[key].strip()


def test_int8_of_pictures_from_the_command_to_the_engine(models, pictures):
    models.add(restorer())
    done = models('build', 'mine', '--precision', 'int8', '--calibration', pictures)
    assert done.code == 0, done
    assert said(done, 'made') == f'mine-int8-onnxruntime.onnx in {models.built}'
    assert said(done, 'calibrated') == f'2 of 2 pictures in {pictures}, the largest face of each'
    assert said(done, 'report') == '2 convolutions compute in int8'
    assert '1 stay float (last convolution): last' in done.out
    assert said(done, 'runs') == 'on CPUExecutionProvider'
    assert said(done, 'compared').startswith('mine int8 differs from fp32 on CPUExecutionProvider: skin shift lab ')
    assert said(done, 'passed') == 'yes'
    assert said(done, 'size').endswith(' kB')
    network = load_stored('mine', Role.ENHANCER, precision='int8')
    assert network.precision.value == 'int8'
    network.engine.close()

    again = models('build', 'mine', '--precision', 'int8', '--calibration', pictures)
    assert (again.code, again.err) == (0, '')
    assert said(again, 'up to date') == said(done, 'made')
    assert [line.split('  ', 1)[1:] for line in again.out.splitlines()[1:]] != []
    assert models('list').out.splitlines()[1].split()[-3:] == ['MIT', 'int8-onnxruntime', 'passed']
    verified = models('verify')
    assert verified.code == 0
    assert verified.out.splitlines()[2].split()[0] == 'mine-int8-onnxruntime'
    assert verified.out.splitlines()[2].endswith('as built')


def test_eyes_and_lips_kept(models, pictures):
    models.add(restorer())
    done = models('build', 'mine', '--precision', 'int8_keep_regions', '--calibration', pictures)
    assert done.code == 0, done
    assert 'eyes and lips in float16: 2 crops of ' in done.out
    assert 'eyes and lips p95 de2000' in said(done, 'compared')
    # And the enhancer takes it for one network.
    network = load_stored('mine', Role.ENHANCER, precision='int8_keep_regions')
    assert network.precision.value == 'int8_keep_regions'
    enhancer = Enhancer(network.engine, network.entry.family, EnhancerSettings(strength=1.0))
    landmarks = template_landmarks(network.entry, (256, 256))
    patch = np.full((256, 256, 4), 255, np.uint8)
    patch[..., :3] = cv2.resize(cv2.imread(str(pictures / 'a.png')), (256, 256))
    out = np.zeros_like(patch)
    enhancer.enhance(patch, landmarks, out)
    apart = np.abs(out.astype(int) - patch)[16:-16, 16:-16]
    assert 0 < apart.max() < 8
    network.engine.close()


def test_what_does_not_pass_says_so_and_stays(models, pictures):
    models.add(restorer(outlier=60.0))
    done = models('build', 'mine', '--precision', 'int8', '--calibration', pictures)
    assert done.code == 1
    assert said(done, 'passed') == 'no: fp32 will be used'
    assert 'fp32 is used instead' not in done.out
    assert (models.built / 'mine-int8-onnxruntime.onnx').is_file()
    assert models('list').out.splitlines()[1].endswith('int8-onnxruntime not passed')
    # Known now, and still not passed.
    assert models('build', 'mine', '--precision', 'int8', '--calibration', pictures).code == 1


def test_fp16_and_fp32_need_no_pictures(models):
    models.add('yunet')
    done = models('build', 'mine', '--precision', 'fp16')
    assert (done.code, said(done, 'passed')) == (0, 'yes')
    assert 'score difference' in said(done, 'compared')
    done = models('build', 'mine', '--precision', 'fp32')
    assert (done.code, said(done, 'fp32')) == (0, 'mine as it was added')


@pytest.mark.parametrize(
    ('spoil', 'why'),
    [
        (
            lambda built, _: (built / 'mine-int8-onnxruntime.onnx').write_bytes(b''),
            'sha256 of mine-int8-onnxruntime.onnx',
        ),
        (lambda _, pictures: cv2.imwrite(str(pictures / 'c.png'), np.zeros((64, 64, 3), np.uint8)), 'calibration is '),
        (lambda built, _: edit(built, 'version', '0.0.1'), 'version is 0.0.1, and here it is '),
        (lambda built, _: edit(built, 'source', 'f' * 64), 'source is ffffffffffff, and here it is '),
    ],
)
def test_what_is_stale_or_damaged_is_made_anew(models, pictures, tmp_path, spoil, why):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    (folder / 'a.png').write_bytes((pictures / 'a.png').read_bytes())
    models.add(restorer())
    command = ('build', 'mine', '--precision', 'int8', '--calibration', folder)
    assert models(*command).code == 0
    spoil(models.built, folder)
    done = models(*command)
    assert done.code == 0
    assert f'mine-int8-onnxruntime.onnx in {models.built} ({why}' in said(done, 'made anew')
    assert said(models(*command), 'up to date')


def edit(built, field, value, stem='mine-int8-onnxruntime'):
    sidecar = built / f'{stem}.json'
    stored = json.loads(sidecar.read_text())
    stored['recipe'][field] = value
    sidecar.write_text(json.dumps(stored))


@pytest.mark.parametrize(
    ('words', 'why'),
    [
        (
            ('mine', '--precision', 'int8'),
            'int8 needs pictures like those it will see: name a folder of pictures, or a bag',
        ),
        (('mine', '--precision', 'int8', '--calibration', '/missing'), 'there is no bag /missing; check the path'),
        (('other', '--precision', 'fp16'), "no model is named 'other' in "),
        (
            ('swapper', '--precision', 'int8_keep_regions'),
            'int8_keep_regions is for enhancers, and swapper is a swapper',
        ),
        (('mine', '--precision', 'fp16', '--engine', 'gpu'), "chain must be of tensorrt, onnxruntime, not ('gpu',)"),
        (('mine', '--precision', 'fp16', '--providers', 'cuda'), 'CUDAExecutionProvider|provider cuda'),
    ],
)
def test_refusals_are_one_line(models, words, why):
    models.add(restorer())
    models.add('inswapper', 'swapper')
    refusal = models('build', *words).refusal
    assert any(part in refusal for part in why.split('|')), refusal


def test_a_transformer_over_the_whole_face_keeps_no_regions(models, pictures):
    models.add(restorer(attention=True))
    refusal = models('build', 'mine', '--precision', 'int8_keep_regions', '--calibration', pictures).refusal
    assert 'attention (Softmax) looks at the whole face' in refusal
    assert not (models.built / 'mine-int8_keep_regions-onnxruntime.json').exists()


def test_pictures_without_a_face(models, tmp_path):
    models.add(restorer())
    folder = tmp_path / 'nobody'
    folder.mkdir()
    refusal = models('build', 'mine', '--precision', 'int8', '--calibration', folder).refusal
    assert refusal.startswith(f'{folder} holds no pictures and no bag: name a folder')
    cv2.imwrite(str(folder / 'grey.png'), np.full((200, 200, 3), 90, np.uint8))
    (folder / 'broken.jpg').write_bytes(b'no picture')
    refusal = models('build', 'mine', '--precision', 'int8', '--calibration', folder).refusal
    assert refusal.startswith(f'none of 2 pictures in {folder} could be read and shows a face')


def test_a_licence_that_forbids_commercial_use(models):
    models.add('codeformer_256', 'mine', '--accept-noncommercial')
    refusal = models('build', 'mine', '--precision', 'fp16').refusal
    assert 'say so with --accept-noncommercial' in refusal
    assert models('build', 'mine', '--precision', 'fp16', '--accept-noncommercial').code == 0


def test_a_full_disk_is_said(models, monkeypatch):
    models.add('arcface')

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(artefacts, 'atomic_write', full)
    assert 'no space is left for the model' in models('build', 'mine', '--precision', 'fp16').refusal


def test_verify_names_what_is_wrong_with_what_was_built(models):
    models.add('arcface')
    models('build', 'mine', '--precision', 'fp16')
    assert models('verify').code == 0
    # What another version made is measured like the rest, and used.
    edit(models.built, 'version', '0.0.1', 'mine-fp16')
    assert models('verify').code == 0
    before = json.loads((models.built / 'mine-fp16.json').read_text())['recipe']['source']
    edit(models.built, 'source', 'f' * 64, 'mine-fp16')
    done = models('verify')
    assert done.code == 1
    assert f'source is ffffffffffff, and here it is {before[:12]}: build it again' in done.out
    edit(models.built, 'source', before, 'mine-fp16')
    file = models.built / 'mine-fp16.onnx'
    file.write_bytes(file.read_bytes()[:-1])
    done = models('verify')
    assert done.code == 1
    assert 'sha256 of mine-fp16.onnx is not that of its bytes, so it is damaged: build it again' in done.out
    (models.built / 'mine-fp16.json').write_text('{')
    done = models('verify')
    assert done.code == 1
    assert 'mine-fp16.json cannot be read' in done.out
    assert models('list').out.splitlines()[1].endswith('fp16 damaged')


def test_a_result_of_another_file_is_not_listed_as_this_one_s(models):
    models.add('arcface')
    models('build', 'mine', '--precision', 'fp16')
    assert models('list').out.splitlines()[1].endswith('fp16 passed')
    parity = models.built / 'mine-fp16.parity.json'
    stored = json.loads(parity.read_text())
    parity.write_text(json.dumps({**stored, 'key': 'of another file'}))
    assert models('list').out.splitlines()[1].endswith('fp16 not compared')


def test_remove(models):
    models.add('arcface')
    models('build', 'mine', '--precision', 'fp16')
    assert models('remove', 'mine', '--built').out.startswith('removed what was built from mine: ')
    assert not models.built.exists()
    assert models('remove', 'mine', '--built').out == 'nothing was built from mine\n'
    assert models('remove', 'mine').out.startswith('removed mine: ')
    assert "no model is named 'mine'" in models('remove', 'mine').refusal
    assert not models.built.parent.exists()


def test_progress_stays_in_one_line_of_a_terminal(monkeypatch, capsys):
    progress = building.Progress()
    assert progress('building', 1, 3)
    assert progress('building', 2, 3)
    progress.end()
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    progress('building', 3, 3)
    progress.end()
    assert capsys.readouterr().err == '\r\x1b[Kbuilding: 3 of 3\r\x1b[K'


def test_a_bag_is_a_source_too(models, raw_bag, monkeypatch):
    monkeypatch.setattr(calibration, 'MOST_SAMPLES', 2)
    models.add(restorer())
    done = models('build', 'mine', '--precision', 'int8', '--calibration', raw_bag)
    assert done.code == 0, done
    assert said(done, 'calibrated') == f'2 of 6 pictures on /robot/image_raw of {raw_bag}, the largest face of each'
