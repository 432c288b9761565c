import tracemalloc

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.faces.alignment import apply, invert
from facefusion_ros.faces.crop import crop
from facefusion_ros.faces.face import Face
from facefusion_ros.models.entry import ModelEntry, ModelError, Role
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes, recognise
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas.network import NetworkSwapper
from facefusion_ros.personas.persona import PersonaError
from facefusion_ros.personas.source import Likeness
from facefusion_ros.personas.swapper import BORDER_PX

FAMILIES = sorted(family.name for family in catalogue().families.values() if family.role is Role.SWAPPER)
WHO = Likeness('ada', 'Ada', 'synthetic: no person is depicted', '00')
LANDMARKS = np.array([[560, 300], [700, 320], [625, 390], [560, 450], [670, 465]], np.float32)
FACE = Face((480.0, 200.0, 300.0, 360.0), 0.9, LANDMARKS)


def entry_of(path, name):
    found = recognise(read_graph(path), catalogue(), name)
    return ModelEntry(
        name,
        found.family,
        path.name,
        '',
        'Apache-2.0',
        True,
        'tiny',
        found.size,
        found.inputs,
        found.outputs,
        personas=found.personas,
    )


def source_for(family, seed=0):
    rng = np.random.default_rng(seed)
    if family.name == 'persona_swapper':
        return np.eye(3, dtype=np.float32)[seed]
    if family.source is None:
        return None
    if family.source.kind == 'picture':
        colour = rng.integers(0, 256, 3).astype(np.uint8)
        return np.full((family.source.size, family.source.size, 3), colour, np.uint8)
    vector = rng.normal(0, 1, 512).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Return a function that gives the engine and entry of a tiny network; each is loaded once."""
    folder, kept = tmp_path_factory.mktemp('tiny'), {}

    def load(name):
        if name not in kept:
            path = folder / f'{name}.onnx'
            write_tiny(name, path)
            kept[name] = OrtEngine(path), entry_of(path, name)
        return kept[name]

    yield load
    for engine, _ in kept.values():
        engine.close()


@pytest.fixture(scope='module')
def swapper(network):
    made = {}

    def make(name):
        if name not in made:
            engine, entry = network(name)
            made[name] = NetworkSwapper(engine, entry, WHO, source_for(entry.family))
        return made[name]

    return make


@pytest.fixture(scope='module')
def scene():
    """A frame whose channels differ: blue grows to the right, green downwards, red is nearly even."""
    y, x = np.mgrid[:720, :1280].astype(np.float32)
    channels = [60 + 120 * x / 1280, 60 + 120 * y / 720, 150 - 40 * x * y / (1280 * 720)]
    return np.dstack(channels).round().astype(np.uint8)


@pytest.mark.parametrize('name', FAMILIES)
def test_the_network_redraws_the_face_where_it_is(swapper, scene, name) -> None:
    """A tiny network returns its picture blurred and evenly tinted: less the picture, one colour is left."""
    plugged = swapper(name)
    size, out = plugged.size, np.full((plugged.size, plugged.size, 4), 9, np.uint8)
    image_from_patch = plugged.swap(scene, FACE, out)
    there = np.empty((size, size, 3), np.uint8)
    crop(scene, image_from_patch, there)
    left = (out[..., :3].astype(int) - there)[4:-4, 4:-4]
    tint = left.mean(axis=(0, 1))
    assert np.abs(left - tint).max() <= 2.5
    assert np.abs(tint).max() < 40
    assert np.abs(tint).max() > 0.5


@pytest.mark.parametrize('name', FAMILIES)
def test_landmarks_lie_where_the_template_has_them(swapper, scene, name) -> None:
    plugged, known = swapper(name), catalogue()
    frame = scene // 4
    turned = np.array(known.templates[known.family(name).template].points) * 1.0
    turned = turned @ np.array([[0.8, 0.6], [-0.6, 0.8]]) * (300 / np.ptp(turned[:, 0])) + (700, 250)
    turned = turned - turned.mean(axis=0) + (640, 360)
    for x, y in turned:
        cv2.circle(frame, (round(x * 16), round(y * 16)), 14 * 16, (255, 255, 255), -1, shift=4)
    out = np.empty((plugged.size, plugged.size, 4), np.uint8)
    image_from_patch = plugged.swap(frame, Face((0.0, 0.0, 9.0, 9.0), 1.0, np.float32(turned)), out)
    template = known.templates[known.family(name).template]
    expected = np.array(template.points) * (plugged.size / template.size)
    np.testing.assert_allclose(apply(invert(image_from_patch), turned), expected, atol=0.01)
    light = out[..., :3].min(axis=2) > 130
    _, _, _, centres = cv2.connectedComponentsWithStats(light.astype(np.uint8))
    for point in expected:
        assert np.hypot(*(centres[1:] - point).T).min() < 1


@pytest.mark.parametrize('name', FAMILIES)
def test_alpha_is_full_in_the_middle_and_nothing_at_the_border(swapper, scene, name) -> None:
    plugged = swapper(name)
    out = np.full((plugged.size, plugged.size, 4), 255, np.uint8)
    plugged.swap(scene, FACE, out)
    alpha, middle = out[..., 3], plugged.size // 2
    assert alpha[middle - 8 : middle + 8, middle - 8 : middle + 8].min() >= 254
    inner = alpha[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    assert alpha.sum(dtype=np.int64) == inner.sum(dtype=np.int64)
    assert np.abs(np.diff(alpha[middle].astype(int))).max() < 60


@pytest.mark.parametrize('name', ['hyperswap', 'dfm'])
def test_the_networks_own_mask_is_taken(swapper, scene, name) -> None:
    plugged = swapper(name)
    size, out = plugged.size, np.empty((plugged.size, plugged.size, 4), np.uint8)
    plugged.swap(scene, FACE, out)
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) / (size / 2)
    ellipse = 255 * np.clip((0.9 - np.hypot(x / 0.8, y)) * 8, 0, 1)
    inside = slice(size // 16, -size // 16)
    assert np.abs(out[inside, inside, 3] - ellipse[inside, inside]).max() <= 1.5


@settings(deadline=None, max_examples=25)
@given(landmarks=st.lists(st.tuples(*[st.floats(-500, 2500, width=32)] * 2), min_size=5, max_size=5))
def test_any_face_in_or_beyond_the_picture_has_a_clear_border(swapper, scene, landmarks) -> None:
    out = np.full((128, 128, 4), 255, np.uint8)
    try:
        swapper('inswapper').swap(scene, Face((0.0, 0.0, 1.0, 1.0), 1.0, np.float32(landmarks)), out)
    except ValueError:
        return  # five points that no similarity reaches
    alpha = out[..., 3]
    assert alpha.sum(dtype=np.int64) == alpha[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX].sum(dtype=np.int64)


@pytest.mark.parametrize('name', [name for name in FAMILIES if name != 'dfm'])
def test_another_source_gives_another_face(network, swapper, scene, name) -> None:
    engine, entry = network(name)
    other = NetworkSwapper(engine, entry, WHO, source_for(entry.family, seed=1))
    first, second, again = (np.zeros((other.size, other.size, 4), np.uint8) for _ in range(3))
    swapper(name).swap(scene, FACE, first)
    other.swap(scene, FACE, second)
    swapper(name).swap(scene, FACE, again)
    assert np.abs(first.astype(int) - second).max() > 1
    np.testing.assert_array_equal(first, again)


def allocated_by(plugged, frame, face):
    """Bytes that a later swap takes at most."""
    out = np.zeros((plugged.size, plugged.size, 4), np.uint8)
    # numpy converts numbers through buffers of a fixed size, larger than the smallest patch: make them small.
    before = np.setbufsize(256)
    try:
        plugged.swap(frame, face, out)
        tracemalloc.start()
        plugged.swap(frame, face, out)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        np.setbufsize(before)


@pytest.mark.parametrize('name', FAMILIES)
def test_nothing_of_a_patchs_size_is_allocated(swapper, scene, name) -> None:
    # No larger than the patch: a larger one is first shrunk, which takes memory of the patch's size.
    face = Face(FACE.box, 1.0, (LANDMARKS - LANDMARKS.mean(axis=0)) * 0.3 + LANDMARKS.mean(axis=0))
    # Less than one plane of the patch, of one byte for a pixel.
    assert allocated_by(swapper(name), scene, face) < swapper(name).size ** 2


def test_it_says_who_is_shown(network, swapper) -> None:
    plugged = swapper('inswapper')
    assert plugged.persona is WHO
    assert plugged.size == 128
    engine, entry = network('dfm')

    class Nobody:
        name, title, consent, digest, reflectance = 'nobody', 'Nobody', ' ', '', 1.0

    with pytest.raises(PersonaError, match='consent'):
        NetworkSwapper(engine, entry, Nobody())


def test_a_source_of_the_wrong_kind_is_refused_in_one_line(network) -> None:
    for name, source in [
        ('inswapper', None),
        ('inswapper', np.zeros((112, 112, 3), np.uint8)),
        ('uniface', np.zeros((112, 112, 3), np.uint8)),
        ('dfm', np.zeros(512, np.float32)),
    ]:
        with pytest.raises(ModelError, match='source') as error:
            NetworkSwapper(*network(name), WHO, source)
        assert '\n' not in str(error.value)


def test_a_network_that_is_not_as_the_entry_says_is_refused_in_one_line(network) -> None:
    for engine_of, entry_for, kind, match in [
        ('uniface', 'ghost', EngineError, 'not 512 numbers'),
        ('inswapper', 'hyperswap', EngineError, 'has no mask'),
        ('inswapper', 'arcface', ModelError, 'no swapper'),
    ]:
        engine, entry = network(engine_of)[0], network(entry_for)[1]
        with pytest.raises(kind, match=match) as error:
            NetworkSwapper(engine, entry, WHO, source_for(entry.family))
        assert '\n' not in str(error.value)


def inswapper_of(path, nodes, kind=TensorProto.FLOAT, boost=1, batch=1):
    """A swapper whose network is made of these nodes, from ``target`` to ``o``."""
    shape = [batch, 3, 128, 128]
    inputs = [
        helper.make_tensor_value_info('target', kind, shape),
        helper.make_tensor_value_info('source', kind, [batch, 512]),
    ]
    output = helper.make_tensor_value_info('o', kind, shape)
    numbers = [helper.make_tensor(name, kind, [1], [value]) for name, value in (('three', 3.0), ('one', 1.0))]
    graph = helper.make_graph(nodes, 'net', inputs, [output], numbers)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), str(path))
    family = catalogue().family('inswapper')
    names = {'picture': 'target', 'source': 'source'}
    entry = ModelEntry('net', family, path.name, '', '', False, '', (128, 128), names, {'picture': 'o'})
    return NetworkSwapper(OrtEngine(path), entry, WHO, source_for(family), boost)


def test_what_is_no_number_is_an_error(tmp_path, scene) -> None:
    nodes = [helper.make_node('Sub', ['target', 'target'], ['zero']), helper.make_node('Div', ['zero', 'zero'], ['o'])]
    broken = inswapper_of(tmp_path / 'broken.onnx', nodes)
    with pytest.raises(EngineError, match='no numbers'):
        broken.swap(scene, FACE, np.zeros((128, 128, 4), np.uint8))


@pytest.mark.parametrize('kind', [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_what_is_brighter_than_white_is_white_in_either_precision(tmp_path, kind) -> None:
    nodes = [helper.make_node('Mul', ['target', 'three'], ['t']), helper.make_node('Sub', ['t', 'one'], ['o'])]
    glaring = inswapper_of(tmp_path / 'glaring.onnx', nodes, kind)
    bands = np.repeat(np.arange(0, 255, 51, dtype=np.uint8), 256)[None, :, None] * np.ones((720, 1, 3), np.uint8)
    out, there = np.zeros((128, 128, 4), np.uint8), np.zeros((128, 128, 3), np.uint8)
    crop(bands, glaring.swap(bands, FACE, out), there)
    assert len(np.unique(there)) > 2
    np.testing.assert_allclose(out[..., :3], np.clip(3.0 * there - 255, 0, 255), atol=1)


SAME = [helper.make_node('Identity', ['target'], ['o'])]
NOISE = np.random.default_rng(7).integers(0, 256, (720, 1280, 3)).astype(np.uint8)


class Counted:
    """An engine that counts its runs."""

    def __init__(self, engine):
        self.inputs, self.outputs, self.runs, self._engine = engine.inputs, engine.outputs, 0, engine

    def run(self, inputs, outputs):
        self.runs += 1
        self._engine.run(inputs, outputs)


def loaded_for(path, family, pictures):
    """A tiny network whose batch is open, loaded for this many pictures at once, and its entry."""
    write_tiny(family, path)
    model = onnx.load(path)
    entry = entry_of(path, family)
    for value in (*model.graph.input, *model.graph.output):
        if len(value.type.tensor_type.shape.dim) > 1:
            value.type.tensor_type.shape.dim[0].dim_param = 'n'
    for number in model.graph.initializer:
        if number.dims == [4] and number.data_type == TensorProto.INT64:  # (1, 3, 1, 1): a colour for each picture
            number.CopyFrom(onnx.numpy_helper.from_array(np.array([-1, 3, 1, 1]), number.name))
    onnx.save(model, path)
    shapes = input_shapes(entry, read_graph(path).inputs, batch=pictures)
    return Counted(OrtEngine(path, OrtSettings(shapes=shapes))), entry


def masked_by_red(path, family, batch, side=48):
    """Write a network that gives its picture back, and as mask the red of it; return its entry."""
    family = catalogue().family(family)
    names = {form.role: form.names[0] for form in family.inputs if form.role != 'morph'}
    outputs = {form.role: form.role for form in family.outputs}

    def value(name, channels):
        shape = (
            [batch, channels, side, side] if family.preprocessing.layout == 'nchw' else [batch, side, side, channels]
        )
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [value(names['picture'], 3)]
    if 'source' in names:
        inputs.append(helper.make_tensor_value_info(names['source'], TensorProto.FLOAT, [batch, 512]))
    red, axis = (0, 1) if family.preprocessing.layout == 'nchw' else (2, 3)
    numbers = [helper.make_tensor('red', TensorProto.INT64, [1], [red])]
    numbers += [helper.make_tensor('std', TensorProto.FLOAT, [1], [family.preprocessing.std[0]])]
    numbers += [helper.make_tensor('mean', TensorProto.FLOAT, [1], [family.preprocessing.mean[0]])]
    nodes = [
        helper.make_node('Identity', [names['picture']], ['picture']),
        helper.make_node('Gather', [names['picture'], 'red'], ['only'], axis=axis),
        helper.make_node('Mul', ['only', 'std'], ['less']),
    ]
    nodes += [helper.make_node('Add', ['less', 'mean'], [role]) for role in outputs if role != 'picture']
    made = [value(role, 3 if role == 'picture' else 1) for role in outputs]
    model = helper.make_model(
        helper.make_graph(nodes, 'net', inputs, made, numbers),
        opset_imports=[helper.make_opsetid('', 17)],
        ir_version=8,
    )
    onnx.save_model(model, str(path))
    return ModelEntry('net', family, path.name, '', '', False, '', (side, side), names, outputs)


class TestBoost:
    @pytest.mark.parametrize('kind', [TensorProto.FLOAT, TensorProto.FLOAT16])
    @pytest.mark.parametrize('batch', [1, 'n', 'all'])
    @pytest.mark.parametrize('boost', [1, 2, 3, 4])
    def test_a_network_that_gives_its_picture_back_changes_nothing(self, tmp_path, kind, batch, boost) -> None:
        batch = boost * boost if batch == 'all' else batch
        same = inswapper_of(tmp_path / 'same.onnx', SAME, kind, boost, batch)
        assert same.size == 128 * boost
        out, there = np.zeros((same.size, same.size, 4), np.uint8), np.zeros((same.size, same.size, 3), np.uint8)
        crop(NOISE, same.swap(NOISE, FACE, out), there)
        np.testing.assert_array_equal(out[..., :3], there)

    @pytest.mark.parametrize('family', ['inswapper', 'ghost', 'uniface'])
    @pytest.mark.parametrize('boost', [2, 3])
    def test_all_at_once_is_the_same_as_one_after_the_other(self, tmp_path, family, boost) -> None:
        pictures, runs = [], []
        for count in (boost * boost, 1):
            engine, entry = loaded_for(tmp_path / f'{count}.onnx', family, count)
            plugged = NetworkSwapper(engine, entry, WHO, source_for(entry.family), boost)
            pictures.append(np.zeros((plugged.size, plugged.size, 4), np.uint8))
            plugged.swap(NOISE, FACE, pictures[-1])
            runs.append(engine.runs)
        assert runs == [1, boost * boost]
        np.testing.assert_array_equal(*pictures)
        assert pictures[0].std() > 20

    @pytest.mark.parametrize('family', ['hyperswap', 'dfm'])
    @pytest.mark.parametrize('batch', [1, 'n'])
    @pytest.mark.parametrize('boost', [1, 2, 4])
    def test_each_picture_has_its_own_mask(self, tmp_path, family, batch, boost) -> None:
        path = tmp_path / 'mask.onnx'
        entry = masked_by_red(path, family, batch)
        plugged = NetworkSwapper(OrtEngine(path), entry, WHO, source_for(entry.family), boost)
        size = plugged.size
        out, there = np.zeros((size, size, 4), np.uint8), np.zeros((size, size, 3), np.uint8)
        crop(NOISE, plugged.swap(NOISE, FACE, out), there)
        inner = slice(size // 8, -size // 8)
        np.testing.assert_array_equal(out[inner, inner, 3], there[inner, inner, 2])
        assert (out[..., 3] <= there[..., 2]).all()
        assert not out[:BORDER_PX, :, 3].any()
        assert not out[:, -BORDER_PX:, 3].any()

    @pytest.mark.parametrize('boost', [2, 3, 4])
    def test_it_shows_the_same_part_of_the_frame(self, network, scene, boost) -> None:
        engine, entry = network('inswapper')
        corners = {}
        for k in (1, boost):
            plugged = NetworkSwapper(engine, entry, WHO, source_for(entry.family), k)
            image_from_patch = plugged.swap(scene, FACE, np.zeros((plugged.size, plugged.size, 4), np.uint8))
            far = plugged.size - 0.5
            corners[k] = apply(image_from_patch, [[-0.5, -0.5], [far, -0.5], [-0.5, far], [far, far]])
        np.testing.assert_allclose(corners[boost], corners[1], atol=1e-6)

    @pytest.mark.parametrize('pictures', [1, 4])
    def test_nothing_of_a_patchs_size_is_allocated(self, tmp_path, pictures) -> None:
        engine, entry = loaded_for(tmp_path / 'net.onnx', 'inswapper', pictures)
        plugged = NetworkSwapper(engine, entry, WHO, source_for(entry.family), 2)
        face = Face(FACE.box, 1.0, (LANDMARKS - LANDMARKS.mean(axis=0)) * 0.3 + LANDMARKS.mean(axis=0))
        assert allocated_by(plugged, NOISE, face) < plugged.size**2

    @pytest.mark.parametrize('boost', [-1, 0, 5])
    def test_what_cannot_be_is_refused_in_one_line(self, network, boost) -> None:
        engine, entry = network('inswapper')
        with pytest.raises(ModelError, match=r'^a boost of -?\d cannot be: give 1 \(none\) to 4$'):
            NetworkSwapper(engine, entry, WHO, source_for(entry.family), boost)

    def test_a_large_network_needs_none(self, network) -> None:
        engine, entry = network('simswap_512')
        with pytest.raises(ModelError, match=r'^simswap_512 has 512 pixels, which need no boost: set it to 1$'):
            NetworkSwapper(engine, entry, WHO, source_for(entry.family), 2)

    def test_a_network_for_another_number_of_pictures_is_refused(self, tmp_path) -> None:
        with pytest.raises(EngineError, match=r'takes 4 pictures at once: export the file for 1$'):
            inswapper_of(tmp_path / 'four.onnx', SAME, boost=3, batch=4)


@pytest.mark.parametrize('shape', [(128, 128, 3), (256, 256, 4)])
def test_a_wrong_out_is_refused(swapper, scene, shape) -> None:
    with pytest.raises(ValueError, match='out must be'):
        swapper('inswapper').swap(scene, FACE, np.empty(shape, np.uint8))


@pytest.mark.parametrize('landmarks', [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.zeros((4, 2))])
def test_impossible_landmarks_are_refused(swapper, scene, landmarks) -> None:
    face = Face((0.0, 0.0, 1.0, 1.0), 1.0, np.float32(landmarks))
    with pytest.raises(ValueError, match=r'point|similarity'):
        swapper('inswapper').swap(scene, face, np.empty((128, 128, 4), np.uint8))
