"""Every kind of network, real ones of tiny size, on a photograph."""

import contextlib
import threading
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
import yaml
from onnx import TensorProto, helper

from facefusion_ros.engines.chain import EngineSettings
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.engines.stored import load_stored
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.alignment import apply, invert
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.recognition import IdentityError, Recogniser, load_identity, mean_identity, save_identity
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.models.entry import ModelError, Role
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas import identities, patches, stored
from facefusion_ros.personas.deadline import DeadlineSettings
from facefusion_ros.personas.enhancer import EnhancerSettings
from facefusion_ros.personas.patches import PatchMaker, PatchSettings
from facefusion_ros.personas.persona import PersonaError, load_persona
from facefusion_ros.personas.source import digest_of
from facefusion_ros.personas.swapper import BORDER_PX, WarpSwapper

SWAPPERS = sorted(family.name for family in catalogue().families.values() if family.role is Role.SWAPPER)
PATIENT, HASTY = DeadlineSettings(budget_s=60.0), DeadlineSettings(budget_s=0.0, max_age_s=60.0)
CONSENT = 'Ada Example agreed on 2024-05-01 to be shown in demonstrations'


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """A store with a tiny network of every family that takes part, named as its family."""
    folder = tmp_path_factory.mktemp('models')
    store = Store(folder / 'store', catalogue())
    families = [*SWAPPERS, 'arcface', 'codeformer_256', 'xseg', 'bisenet']
    names = {name: name for name in families}
    names |= {f'crossface_{name}': 'crossface' for name in ('ghost', 'simswap', 'hififace')}
    for name, family in names.items():
        file = folder / f'{name}.onnx'
        write_tiny(family, file, seed=len(name) if family == 'crossface' else 0)
        store.add(file, family=family, licence='Apache-2.0')
    file = folder / 'dark_hides.onnx'
    write_mask_of_light(file)
    store.add(file, family='xseg', licence='Apache-2.0')
    return store


def write_mask_of_light(file):
    """An XSeg that takes what is black for something before the face."""
    picture = helper.make_tensor_value_info('in_face:0', TensorProto.FLOAT, [1, 256, 256, 3])
    mask = helper.make_tensor_value_info('out_mask:0', TensorProto.FLOAT, [1, 256, 256, 1])
    nodes = [
        helper.make_node('ReduceMax', ['in_face:0'], ['t'], axes=[3], keepdims=1),
        helper.make_node('Mul', ['t', 'steep'], ['s']),
        helper.make_node('Clip', ['s', 'zero', 'one'], ['out_mask:0']),
    ]
    numbers = [
        helper.make_tensor(k, TensorProto.FLOAT, [], [v]) for k, v in (('steep', 30.0), ('zero', 0.0), ('one', 1.0))
    ]
    graph = helper.make_graph(nodes, 'light', [picture], [mask], numbers)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), str(file))


@pytest.fixture(autouse=True)
def _use(models, monkeypatch):
    monkeypatch.setenv('FACEFUSION_MODELS', str(models.folder))


@pytest.fixture(scope='module')
def photo():
    return np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])


@pytest.fixture(scope='module')
def face(photo):
    return replace(load_detector().detect(photo)[0], track_id=1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory, photo):
    """Personas on disk: ada and bea by pictures, cleo by an identity, dora for a network trained for her."""
    top = tmp_path_factory.mktemp('personas')

    def persona(name, **entries):
        (top / name).mkdir()
        sheet = {'title': name.capitalize(), 'consent': CONSENT} | entries
        (top / name / 'persona.yaml').write_text(yaml.safe_dump(sheet))
        return top / name

    first = persona('ada', source='ada.png')
    cv2.imwrite(str(first / 'ada.png'), photo[:, ::-1])
    second = persona('bea', source=['one.png', 'two.jpg'])
    cv2.imwrite(str(second / 'one.png'), cv2.convertScaleAbs(photo, alpha=0.5))
    cv2.imwrite(str(second / 'two.jpg'), np.roll(photo, 1, axis=2))
    third = persona('cleo', source='cleo.npy')
    save_identity(third / 'cleo.npy', np.random.default_rng(3).normal(0, 1, 512))
    persona('dora')
    cv2.imwrite(str(top / 'astronaut.png'), cv2.resize(photo, None, fx=1.5, fy=1.5))
    cv2.imwrite(str(top / 'empty.png'), np.full((200, 200, 3), 90, np.uint8))
    return top


@pytest.fixture
def maker(folder):
    """Return a function that makes patch makers; personas of the folder are given by their names."""
    with contextlib.ExitStack() as running:

        def make(*personas, **settings):
            names = tuple(str(folder / name) if (folder / name).is_dir() else name for name in personas)
            settings = {'recogniser': 'arcface'} | settings
            return running.enter_context(contextlib.closing(PatchMaker(PatchSettings(names, **settings))))

        yield make


def patch_of(maker, photo, face):
    out = np.full((maker.size, maker.size, 4), 77, np.uint8)
    (part,) = maker.assign(photo, [face])
    return maker.make(photo, part, out), out


def persona_for(model):
    return {'dfm': 'dora', 'persona_swapper': 'porcelain'}.get(model, 'ada')


def test_a_network_of_several_personas_shows_the_one_that_is_named(maker, photo, face):
    made = maker('porcelain', 'jade', model='persona_swapper')
    assert [shown.name for shown in made.shown] == ['porcelain', 'jade']
    assert len({shown.digest for shown in made.shown}) == 2
    assert all(shown.consent for shown in made.shown)
    alone = {name: patch_of(maker(name, model='persona_swapper'), photo, face)[1] for name in ('porcelain', 'jade')}
    assert np.abs(alone['porcelain'][..., :3].astype(int) - alone['jade'][..., :3]).mean() > 10
    # Two faces, two personas, on one engine.
    parts = made.assign(photo, [face, replace(face, track_id=2)])
    for part in parts:
        out = np.zeros((made.size, made.size, 4), np.uint8)
        made.make(photo, part, out)
        np.testing.assert_array_equal(out, alone[part.shown.name])
    # The network's own mask: an ellipse.
    assert alone['jade'][128, 128, 3] == 255
    assert alone['jade'][12, 12, 3] == 0
    with pytest.raises(PersonaError, match='persona_swapper shows porcelain, obsidian, jade, not ada: name one of'):
        maker('ada', model='persona_swapper')


@pytest.mark.parametrize('model', SWAPPERS)
def test_every_swapper_shows_the_persona_masked_and_enhanced(maker, photo, face, model) -> None:
    plain = maker(persona_for(model), model=model)
    whole = maker(persona_for(model), model=model, enhancer='codeformer_256', occlusion='xseg', regions='bisenet')
    before = photo.copy()
    image_from_patch, bare = patch_of(plain, photo, face)
    image_from_patch_again, done = patch_of(whole, photo, face)
    np.testing.assert_array_equal(image_from_patch, image_from_patch_again)
    np.testing.assert_array_equal(photo, before)
    assert whole.size == done.shape[0] == (catalogue().family(model).size or (224, 224))[0] == plain.size
    # The patch is the face: its landmarks lie within the middle of it.
    landmarks = apply(invert(image_from_patch), face.landmarks) / whole.size
    assert landmarks.min() > 0.15
    assert landmarks.max() < 0.85
    assert (done[..., 3] <= bare[..., 3]).all()
    x, y = np.round(apply(invert(image_from_patch), face.landmarks[2:3])[0]).astype(int)
    assert done[y, x, 3] > 200
    for edge in (done[:BORDER_PX], done[-BORDER_PX:], done[:, :BORDER_PX], done[:, -BORDER_PX:]):
        assert not edge[..., 3].any()
    opaque = done[..., 3] == 255
    assert np.abs(done[..., :3].astype(int) - bare[..., :3])[opaque].max() > 2
    (shown,) = whole.shown
    assert shown.name == persona_for(model)
    if model != 'persona_swapper':
        assert (shown.title, shown.consent) == (shown.name.capitalize(), CONSENT)


@pytest.mark.parametrize('model', ['inswapper', 'ghost', 'uniface', 'blendswap'])
def test_another_persona_is_shown_without_loading_its_network_again(maker, photo, face, models, monkeypatch, model):
    first, second = maker('ada', model=model), maker('bea', model=model)
    _, ada = patch_of(first, photo, face)
    _, bea = patch_of(second, photo, face)
    assert np.abs(ada.astype(int) - bea).max() > 0
    loaded = []
    monkeypatch.setattr(OrtEngine, '__init__', spied(OrtEngine.__init__, loaded))
    first.show(second.settings.personas)
    assert first.settings.personas == second.settings.personas
    np.testing.assert_array_equal(patch_of(first, photo, face)[1], bea)
    assert (first.shown[0].name, first.shown[0].digest) == ('bea', second.shown[0].digest)
    assert models.folder / models.entries()[model].file not in loaded
    # What tells who is shown is let go again.
    assert len(first.providers) == 1
    assert first._identities._loaded is None


def spied(init, paths):
    def loads(self, path, *words, **named):
        paths.append(path)
        init(self, path, *words, **named)

    return loads


def test_a_warped_persona_is_as_the_warp_has_it(maker, photo, face, porcelain) -> None:
    expected = np.zeros((128, 128, 4), np.uint8)
    image_from_patch = WarpSwapper(porcelain, 128).swap(photo, face, expected)
    found, out = patch_of(maker('porcelain', model='none', patch_size=128, recogniser=''), photo, face)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(found, image_from_patch)


def test_without_a_choice_the_network_that_ships_redraws_whom_it_knows(maker, tmp_path, photo, face, porcelain) -> None:
    """Others are warped beside them, and a folder is itself, whatever it is called."""
    own = tmp_path / 'jade'
    own.mkdir()
    cv2.imwrite(str(own / 'face.png'), porcelain.pixels)
    sheet = {'title': 'Own', 'consent': CONSENT, 'image': 'face.png', 'landmarks': porcelain.landmarks.tolist()}
    (own / 'persona.yaml').write_text(yaml.safe_dump(sheet))
    made = maker(str(own), 'obsidian', recogniser='')
    assert made.providers.keys() == {'persona_swapper'}
    parts = made.assign(photo, [face, replace(face, track_id=2)])
    warped, redrawn = (np.zeros((made.size, made.size, 4), np.uint8) for _ in parts)
    for part, out in zip(parts, (warped, redrawn), strict=True):
        made.make(photo, part, out)
    assert next(iter(made.shown)).title == 'Own'
    np.testing.assert_array_equal(warped, patch_of(maker(str(own), model='none'), photo, face)[1])
    np.testing.assert_array_equal(redrawn, patch_of(maker('obsidian', model='default'), photo, face)[1])
    made.show(['obsidian'])
    np.testing.assert_array_equal(patch_of(made, photo, face)[1], redrawn)


def test_the_alpha_is_the_smallest_of_all_masks(maker, photo, face) -> None:
    """Of what hides the face in the frame, of its regions, and of the swapper's own."""
    hidden = photo.copy()
    left, top = face.landmarks.min(axis=0).astype(int)
    hidden[top - 20 : top + 60, left : left + 9] = 0  # a black pole before one eye
    alphas = []
    for masks in (
        {},
        {'occlusion': 'dark_hides'},
        {'regions': 'bisenet'},
        {'occlusion': 'dark_hides', 'regions': 'bisenet'},
    ):
        image_from_patch, out = patch_of(maker('ada', model='inswapper', **masks), hidden, face)
        alphas.append(out[..., 3])
    own, occlusion, regions, both = alphas
    np.testing.assert_array_equal(both, np.minimum(occlusion, regions))
    for masked in (occlusion, regions):
        assert (masked <= own).all()
        assert (masked < own).any()
    pole = apply(invert(image_from_patch), [[left + 4, top + 20]])[0].round().astype(int)
    beside = apply(invert(image_from_patch), [[left + 25, top + 20]])[0].round().astype(int)
    assert (own[pole[1], pole[0]], both[pole[1], pole[0]]) == (255, 0)
    assert both[beside[1], beside[0]] == 255


def test_beside_a_deadline_the_patch_is_the_same_if_there_is_time(maker, photo, face) -> None:
    exact = patch_of(maker('ada', model='inswapper', enhancer='codeformer_256'), photo, face)[1]
    plain = patch_of(maker('ada', model='inswapper'), photo, face)[1]
    waits = maker('ada', model='inswapper', enhancer='codeformer_256', deadline=PATIENT)
    np.testing.assert_array_equal(patch_of(waits, photo, face)[1], exact)
    np.testing.assert_array_equal(exact[..., 3], plain[..., 3])
    assert np.abs(exact.astype(int) - plain).max() > 2


def test_the_enhanced_patch_of_one_persona_is_never_shown_for_another(maker, photo, face) -> None:
    late = maker('ada', model='inswapper', enhancer='codeformer_256', deadline=PATIENT)
    enhanced = patch_of(late, photo, face)[1]
    late.settings = replace(late.settings, deadline=HASTY)
    go_on = threading.Event()
    late._enhancer.enhance = lambda *_: go_on.wait(60)
    try:
        moved = patch_of(late, photo, face)[1]
        seen = enhanced[..., 3] == 255
        np.testing.assert_allclose(moved[seen].astype(int), enhanced[seen], atol=1)
        late.show(maker('bea', model='inswapper').settings.personas)
        plain = patch_of(maker('bea', model='inswapper'), photo, face)[1]
        np.testing.assert_array_equal(patch_of(late, photo, face)[1], plain)
    finally:
        go_on.set()


def block(maker, error=None):
    """Let the enhancer do nothing more, or fail."""

    def enhance(*_):
        raise error or EngineError('out of order')

    maker._enhancer.enhance = enhance


def test_an_enhancer_that_fails_beside_a_deadline_leaves_the_patch_as_it_is(maker, photo, face) -> None:
    plain = patch_of(maker('ada', model='inswapper'), photo, face)[1]
    late = maker('ada', model='inswapper', enhancer='codeformer_256', deadline=PATIENT)
    block(late)
    np.testing.assert_array_equal(patch_of(late, photo, face)[1], plain)
    assert late.enhancer_failure == 'out of order'
    del late._enhancer.enhance
    assert np.abs(patch_of(late, photo, face)[1].astype(int) - plain).max() > 2
    assert late.enhancer_failure == ''
    exact = maker('ada', model='inswapper', enhancer='codeformer_256')
    block(exact)
    with pytest.raises(EngineError, match='out of order'):
        patch_of(exact, photo, face)


def test_strength_and_deadline_may_change_and_networks_may_not(maker, photo, face) -> None:
    made = maker('ada', model='inswapper', enhancer='codeformer_256')
    made.settings = replace(made.settings, enhancement=EnhancerSettings(strength=0.0), threshold=0.9, max_faces=2)
    np.testing.assert_allclose(
        patch_of(made, photo, face)[1].astype(int), patch_of(maker('ada', model='inswapper'), photo, face)[1], atol=1
    )
    before = made.settings
    for name, value in [
        ('model', 'ghost'),
        ('selection', 'one'),
        ('occlusion', 'xseg'),
        ('patch_size', 64),
        ('pixel_boost', 2),
        ('precision', {'model': 'fp16'}),
        ('deadline', PATIENT),
        ('engines', EngineSettings(onnxruntime=OrtSettings(threads=1))),
    ]:
        with pytest.raises(ValueError, match=f'{name} cannot be changed'):
            made.settings = replace(before, **{name: value})
    assert made.settings == before
    made.settings = replace(before, max_faces=0)
    assert made.assign(photo, [face]) == ()


@pytest.mark.parametrize('model', ['inswapper', 'ghost'])
def test_an_identity_is_that_of_the_pictures_and_computed_once(maker, folder, photo, face, monkeypatch, model) -> None:
    made = maker('bea', model=model)
    identity = identity_of(maker, folder / 'bea' / 'one.png', folder / 'bea' / 'two.jpg')
    assert made.shown[0].digest == digest_of(identity)
    asked = []
    embedding = Recogniser.embedding
    monkeypatch.setattr(Recogniser, 'embedding', lambda *words: asked.append(1) or embedding(*words))
    made.show([str(folder / 'cleo')])
    assert made.shown[0].digest == digest_of(load_identity(folder / 'cleo' / 'cleo.npy'))
    before = patch_of(made, photo, face)[1]
    made.show([str(folder / 'ada')])
    assert len(asked) == 1
    made.show([str(folder / 'bea')])
    assert made.shown[0].digest == digest_of(identity)
    assert len(asked) == 1
    made.show([str(folder / 'cleo')])
    np.testing.assert_array_equal(patch_of(made, photo, face)[1], before)


def identity_of(maker, *files):
    """The mean identity of pictures' faces, by hand."""
    recogniser = maker('cleo', model='inswapper')._identities.recogniser('a test')
    pictures = [cv2.imread(str(file)) for file in files]
    return mean_identity([recogniser.embedding(p, load_detector().detect(p)[0]) for p in pictures])


@pytest.mark.parametrize('model', ['inswapper', 'blendswap', 'uniface'])
def test_a_persona_without_a_source_is_told_by_its_image(maker, photo, face, model) -> None:
    """Built-in personas too can be shown by a network."""
    shown = []
    for name in ('porcelain', 'obsidian'):
        made = maker(name, model=model)
        shown.append(patch_of(made, photo, face)[1])
        assert made.shown[0].consent == load_persona(name).consent
    assert np.abs(shown[0].astype(int) - shown[1]).max() > 0


def test_each_face_gets_its_persona_and_provenance_can_name_it(maker, photo, face, folder) -> None:
    made = maker('ada', 'bea', model='inswapper')
    left, right = replace(face, track_id=4), replace(face, track_id=2)
    parts = made.assign(photo, [left, right])
    assert [(part.face, part.shown.name) for part in parts] == [(left, 'ada'), (right, 'bea')]
    assert len({part.shown.digest for part in parts}) == 2
    out = np.zeros((2, 128, 128, 4), np.uint8)
    for part, patch in zip(parts, out, strict=True):
        made.make(photo, part, patch)
    for name, patch in zip(('ada', 'bea'), out, strict=True):
        np.testing.assert_array_equal(patch_of(maker(name, model='inswapper'), photo, face)[1], patch)
    made.show([str(folder / 'cleo')])
    assert [part.shown.name for part in made.assign(photo, [left, right])] == ['cleo', 'cleo']
    # A part that was assigned before shows whom it was assigned.
    again = np.zeros_like(out[0])
    made.make(photo, parts[0], again)
    np.testing.assert_array_equal(again, out[0])


def test_only_known_people_are_replaced(maker, folder, photo, face) -> None:
    """The astronaut in another picture, and a negative of her, whom the tiny recogniser takes for somebody else."""
    frame = np.hstack([photo, 255 - photo])
    other = Face(face.box, 1.0, face.landmarks + np.float32([512, 0]), 2)
    npy = folder / 'negative.npy'
    recogniser = maker('cleo', model='inswapper')._identities.recogniser('a test')
    save_identity(npy, recogniser.embedding(frame, other))
    picture = str(folder / 'astronaut.png')
    made = maker('porcelain', 'jade', selection='identity', references=(picture, str(npy)), threshold=0.8)
    assert made.providers['arcface']
    assert [p.shown.name for p in made.assign(frame, [other, face])] == ['jade']
    assert [p.shown.name for p in made.assign(frame, [other, face])] == ['jade', 'porcelain']
    alone = maker('porcelain', selection='identity', references=(picture,), threshold=0.8)
    for _ in range(3):
        parts = alone.assign(frame, [other, face])
    assert [part.face for part in parts] == [face]
    # The recogniser stays, whoever is shown.
    alone.show(['obsidian'])
    assert [part.shown.name for part in alone.assign(frame, [other, face])] == ['obsidian']
    alone.reset()
    assert [part.face for part in alone.assign(frame, [face])] == [face]


def test_a_network_trained_for_one_face_shows_nobody_else(maker, folder) -> None:
    made = maker('dora', model='dfm')
    assert made.shown[0].digest == made._network.entry.sha256
    with pytest.raises(PersonaError, match='start again with another model'):
        made.show([str(folder / 'ada')])
    with pytest.raises(PersonaError, match='name one persona, not 2'):
        maker('dora', 'ada', model='dfm')
    with pytest.raises(PersonaError, match='title and consent of that person'):
        maker('porcelain', model='dfm')
    assert made.shown[0].name == 'dora'
    made.show([str(folder / 'dora')])


def test_a_persona_that_is_refused_changes_nothing(maker, photo, face, folder) -> None:
    made = maker('ada', model='inswapper')
    before, settings = patch_of(made, photo, face)[1], made.settings
    for names in (['nosuch'], [str(folder / 'dora')], []):
        with pytest.raises((PersonaError, ValueError)):
            made.show(names)
        assert made.settings == settings
        np.testing.assert_array_equal(patch_of(made, photo, face)[1], before)
        assert made._identities._loaded is None


@pytest.fixture
def running(monkeypatch):
    """The engines that are loaded and not closed yet."""
    engines = []
    init, close = OrtEngine.__init__, OrtEngine.close

    def load(self, *words, **named):
        init(self, *words, **named)
        engines.append(self)

    def let_go(self):
        close(self)
        if self in engines:
            engines.remove(self)

    monkeypatch.setattr(OrtEngine, '__init__', load)
    monkeypatch.setattr(OrtEngine, 'close', let_go)
    return engines


@pytest.mark.parametrize(
    ('personas', 'settings', 'kind', 'match'),
    [
        (['ada'], {}, PersonaError, 'ada has no image, so that only a network can show it'),
        (['dora'], {}, PersonaError, 'only a network'),
        (['ada'], {'model': 'inswapper', 'recogniser': ''}, IdentityError, r'ada\.png takes a recogniser'),
        (['porcelain'], {'model': 'inswapper', 'recogniser': ''}, IdentityError, 'image of porcelain takes a recog'),
        (['cleo'], {'model': 'uniface'}, PersonaError, 'uniface is shown a picture of the persona'),
        (['dora'], {'model': 'inswapper'}, PersonaError, 'dora has neither source nor image'),
        (['dora'], {'model': 'uniface'}, PersonaError, 'dora has neither source nor image'),
        (['ada'], {'model': 'simswap_512', 'pixel_boost': 2}, ModelError, 'need no boost'),
        (['ada'], {'model': 'inswapper', 'precision': {'model': 'fp7'}}, EngineError, "no precision 'fp7'"),
        (['ada'], {'model': 'nosuch'}, ModelError, "no model is named 'nosuch'"),
        (['ada'], {'model': 'arcface'}, EngineError, 'is a recognition'),
        (['porcelain'], {'enhancer': 'xseg'}, EngineError, 'not a enhancer'),
        (['porcelain'], {'occlusion': 'codeformer_256'}, EngineError, 'not a mask'),
        (['ada'], {'model': 'inswapper', 'recogniser': 'inswapper'}, EngineError, 'not a recognition'),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line_and_all_is_closed(
    maker, running, personas, settings, kind, match
) -> None:
    with pytest.raises(kind, match=match) as error:
        maker(*personas, **settings)
    assert isinstance(error.value, FacefusionError)
    assert '\n' not in str(error.value)
    assert running == []


def test_whatever_goes_wrong_late_what_was_loaded_is_closed(maker, folder, running, monkeypatch) -> None:
    known = {'selection': 'identity', 'references': (str(folder / 'cleo' / 'cleo.npy'),)}
    everything = {'model': 'inswapper', 'enhancer': 'codeformer_256', 'occlusion': 'xseg', 'deadline': PATIENT}
    with pytest.raises(ModelError):
        maker('ada', **known, **everything | {'enhancer': 'nosuch'})
    assert running == []
    made = maker('ada', **known, **everything)
    # And what finds the face in ada's picture, where that takes networks.
    assert len(running) >= len(made.providers) == 4
    made.close()
    assert running == []

    def damaged(*_):
        raise ModelError('cut short')

    monkeypatch.setattr(stored, 'read_weight', damaged)
    with pytest.raises(ModelError, match='cut short'):
        maker('ada', model='inswapper')
    assert running == []


def test_a_missing_converter_is_named(maker, models, monkeypatch) -> None:
    left = {name: entry for name, entry in models.entries().items() if 'crossface' not in name}
    monkeypatch.setattr(Store, 'entries', lambda _: left)
    with pytest.raises(ModelError, match=r'models add crossface_ghost\.onnx') as error:
        maker('ada', model='ghost')
    assert '\n' not in str(error.value)


def test_a_reference_without_a_face_is_named(maker, folder) -> None:
    with pytest.raises(IdentityError, match=r'no face in .*empty\.png'):
        maker('porcelain', selection='identity', references=(str(folder / 'empty.png'),))


@pytest.mark.parametrize(
    ('wrong', 'match'),
    [
        ({'personas': ()}, 'personas must name at least one'),
        ({'personas': ('',)}, 'personas must name at least one'),
        ({'selection': 'all'}, 'selection must be one, many, identity'),
        ({'max_faces': -1}, 'max_faces must be 0 to'),
        ({'threshold': 1.1}, 'threshold must be -1 to 1'),
        ({'threshold': float('nan')}, 'threshold must be -1 to 1'),
        ({'pixel_boost': 0}, 'pixel_boost must be 1 to'),
        ({'precision': {'swapper': 'fp16'}}, 'precision must be of model, recogniser'),
        ({'patch_size': 8}, 'patch_size must be 16 to'),
        ({'selection': 'identity', 'recogniser': 'arcface'}, 'references must name at least one'),
        ({'selection': 'identity', 'references': ('a.npy',)}, 'recogniser must be named'),
        (
            {'selection': 'identity', 'references': ('a.npy',), 'recogniser': 'r', 'personas': ('a', 'b')},
            'references must be as many',
        ),
    ],
)
def test_settings_out_of_range_are_refused(wrong, match) -> None:
    with pytest.raises(ValueError, match=match):
        PatchSettings(**wrong)


def test_each_role_has_engine_settings_of_its_own() -> None:
    single = EngineSettings(onnxruntime=OrtSettings(threads=1))
    assert PatchSettings(engines=single).engine(Role.MASK) is single
    by_role = PatchSettings(engines={Role.ENHANCER: single})
    assert by_role.engine(Role.ENHANCER) is single
    assert by_role.engine(Role.SWAPPER) == EngineSettings()


def test_a_small_swapper_redraws_finer_with_a_boost(maker, photo, face) -> None:
    plain, boosted = maker('ada', model='inswapper'), maker('ada', model='inswapper', pixel_boost=2)
    assert (plain.size, boosted.size) == (128, 256)
    small, fine = patch_of(plain, photo, face)[1], patch_of(boosted, photo, face)[1]
    shrunk = cv2.resize(fine, (128, 128), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(shrunk - small)[20:-20, 20:-20, :3].mean() < 4
    boosted.show(maker('bea', model='inswapper').settings.personas)
    assert boosted.size == 256


def test_each_network_has_a_precision_of_its_own(maker, monkeypatch) -> None:
    asked = {}

    def load(name, role, settings, *, precision, **more):
        asked[name] = precision
        return load_stored(name, role, settings, **more)

    for module in (patches, stored, identities):
        monkeypatch.setattr(module, 'load_stored', load)
    wanted = {'model': 'fp16', 'recogniser': 'int8', 'enhancer': 'int8_keep_regions', 'regions': 'fp16'}
    networks = {'model': 'inswapper', 'enhancer': 'codeformer_256', 'occlusion': 'xseg', 'regions': 'bisenet'}
    maker('ada', **networks, precision=wanted)
    named = networks | {'recogniser': 'arcface'}
    assert asked == {name: wanted.get(setting, 'fp32') for setting, name in named.items()}


@pytest.mark.parametrize('landmarks', [np.full((5, 2), 7.0), np.full((5, 2), np.nan)])
@pytest.mark.parametrize('model', ['', 'none', 'inswapper'])
def test_a_face_that_no_pose_explains_is_refused(maker, photo, landmarks, model) -> None:
    made = maker('porcelain', model=model, enhancer='codeformer_256', occlusion='xseg', deadline=HASTY)
    (part,) = made.assign(photo, [Face((0.0, 0.0, 9.0, 9.0), 1.0, np.float32(landmarks), 1)])
    with pytest.raises(ValueError, match=r'point|similarity'):
        made.make(photo, part, np.zeros((made.size, made.size, 4), np.uint8))


@pytest.mark.parametrize('deadline', [None, PATIENT])
@pytest.mark.parametrize('model', ['none', 'simswap_512'])
def test_nothing_of_a_patchs_size_is_allocated(maker, folder, photo, face, model, deadline) -> None:
    made = maker(
        'porcelain',
        model=model,
        patch_size=512,  # numpy buffers up to 100 kB, whatever the size
        enhancer='codeformer_256',
        occlusion='xseg',
        regions='bisenet',
        selection='identity',
        references=(str(folder / 'ada' / 'ada.png'),),
        threshold=-1.0,
        deadline=deadline,
    )
    out = np.zeros((made.size, made.size, 4), np.uint8)

    def once():
        for part in made.assign(photo, [face]):
            made.make(photo, part, out)

        assert out[..., 3].any()

    once()
    tracemalloc.start()
    try:
        once()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < made.size * made.size


def test_it_can_be_closed_twice_and_then_runs_no_more(maker, photo, face) -> None:
    made = maker('ada', model='inswapper', enhancer='codeformer_256', occlusion='xseg', deadline=HASTY)
    (part,) = made.assign(photo, [face])
    made.close()
    made.close()
    with pytest.raises(EngineError):
        made.make(photo, part, np.zeros((128, 128, 4), np.uint8))
