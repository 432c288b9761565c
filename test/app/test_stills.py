import json

import cv2
import numpy as np
import pytest
import yaml

from facefusion_ros.faces.recognition import load_identity

BOX = 180.0, 78.0, 91.0, 101.0
LANDMARKS = np.array([(203.1, 100.5), (246.2, 102.7), (224.3, 126.0), (202.2, 138.8), (244.2, 140.2)])
"""Of skimage.data.astronaut(), measured by hand, pixels."""


@pytest.fixture
def nobody(tmp_path):
    """A picture without a face."""
    path = tmp_path / 'nobody.png'
    cv2.imwrite(str(path), np.full((200, 300, 3), 100, np.uint8))
    return path


def overlap(a, b):
    """Intersection over union of two boxes (left, top, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def check_astronaut(entry, path):
    assert list(entry) == ['image', 'width', 'height', 'faces']
    assert (entry['image'], entry['width'], entry['height']) == (str(path), 512, 512)
    [face] = entry['faces']
    assert list(face) == ['box', 'score', 'landmarks']
    assert isinstance(face['score'], float)
    assert overlap(face['box'], BOX) > 0.6
    error_px = np.linalg.norm(np.array(face['landmarks']) - LANDMARKS, axis=1)
    assert error_px.max() < 0.15 * np.linalg.norm(LANDMARKS[1] - LANDMARKS[0])


def test_detect_as_a_person_runs_it(astronaut, facefusion_process):
    done = facefusion_process('detect', astronaut, '--json', '-')
    assert (done.code, done.err) == (0, '')
    [entry] = json.loads(done.out)
    check_astronaut(entry, astronaut)


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(astronaut, nobody, tmp_path, facefusion):
    (tmp_path / 'text.png').write_text('this is no picture')
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'cut.png').write_bytes(astronaut.read_bytes()[:40])
    bad = [tmp_path / name for name in ('missing.png', 'text.png', 'empty.png', 'cut.png')] + [tmp_path]
    done = facefusion('detect', *bad[:2], nobody, *bad[2:], astronaut, '--json', tmp_path / 'faces.json')
    assert (done.code, done.out) == (1, '')
    entries = json.loads((tmp_path / 'faces.json').read_text())
    assert [entry['image'] for entry in entries] == [str(path) for path in (*bad[:2], nobody, *bad[2:], astronaut)]
    check_astronaut(entries[-1], astronaut)
    assert entries[2] == {'image': str(nobody), 'width': 300, 'height': 200, 'faces': []}
    for entry in entries[:2] + entries[3:-1]:
        assert list(entry) == ['image', 'error']
        assert entry['image'] in entry['error']
        assert '\n' not in entry['error']
    # A person who sees no JSON is told too. (A damaged PNG makes libpng print a line of its own.)
    told = [line.removeprefix('facefusion-ros: ') for line in done.err.splitlines() if 'libpng' not in line]
    assert told == [entry['error'] for entry in entries if 'error' in entry]


@pytest.mark.parametrize('shape', [(1, 1), (1, 500), (500, 1), (20, 20)])
def test_pictures_too_small_for_a_face(shape, tmp_path, facefusion):
    cv2.imwrite(str(tmp_path / 'small.png'), np.full((*shape, 3), 128, np.uint8))
    done = facefusion('detect', tmp_path / 'small.png', '--json', '-')
    assert done.code == 0, done
    [entry] = json.loads(done.out)
    assert (entry['height'], entry['width'], entry['faces']) == (*shape, [])
    assert 'no face' in facefusion('swap', tmp_path / 'small.png', '--out', tmp_path / 'out.png').refusal


@pytest.mark.parametrize('kind', ['grey', 'alpha', 'sixteen bits'])
def test_pictures_of_other_kinds(kind, astronaut, tmp_path, facefusion):
    picture = cv2.imread(str(astronaut))
    if kind == 'grey':
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    elif kind == 'alpha':
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    else:
        picture = picture.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / 'other.png'), picture)
    done = facefusion('detect', tmp_path / 'other.png', '--json', '-')
    check_astronaut(json.loads(done.out)[0], tmp_path / 'other.png')


def test_a_picture_of_8k(astronaut, tmp_path, facefusion):
    picture = cv2.resize(cv2.imread(str(astronaut)), (7680, 7680), interpolation=cv2.INTER_LINEAR)[:4320]
    path = tmp_path / 'huge.jpg'
    cv2.imwrite(str(path), picture)
    done = facefusion('detect', path, '--json', '-')
    assert done.code == 0, done
    [entry] = json.loads(done.out)
    assert (entry['width'], entry['height']) == (7680, 4320)
    [face] = entry['faces']
    assert overlap([value / 15 for value in face['box']], BOX) > 0.6


def test_a_place_where_the_faces_cannot_be_written(astronaut, tmp_path, facefusion):
    assert 'cannot write' in facefusion('detect', astronaut, '--json', tmp_path / 'missing' / 'faces.json').refusal
    assert 'No space left' in facefusion('detect', astronaut, '--json', '/dev/full').refusal


def test_swap_as_a_person_runs_it(astronaut, tmp_path, facefusion_process):
    out = tmp_path / 'android.png'
    done = facefusion_process('swap', astronaut, '--persona', 'porcelain', '--out', out)
    assert (done.code, done.err) == (0, '')
    assert out.read_bytes().startswith(b'\x89PNG')
    before, after = cv2.imread(str(astronaut)), cv2.imread(str(out))
    assert after.shape == before.shape
    changed = (before != after).any(axis=2)
    left, top, width, height = (round(value) for value in BOX)
    assert changed[top : top + height, left : left + width].mean() > 0.5
    near = np.zeros_like(changed)
    near[top - height // 2 : top + 3 * height // 2, left - width // 2 : left + 3 * width // 2] = True
    assert not (changed & ~near).any()


def test_every_persona_is_another(astronaut, tmp_path, facefusion):
    pictures = []
    for persona in ('porcelain', 'obsidian', 'jade'):
        assert facefusion('swap', astronaut, '--persona', persona, '--out', tmp_path / f'{persona}.png').code == 0
        pictures.append((tmp_path / f'{persona}.png').read_bytes())
    assert len(set(pictures)) == 3


def test_all_faces_of_a_picture_are_replaced(astronaut, tmp_path, facefusion):
    one = cv2.imread(str(astronaut))
    cv2.imwrite(str(tmp_path / 'two.png'), np.hstack([one, one[:, ::-1]]))
    assert facefusion('swap', tmp_path / 'two.png', '--out', tmp_path / 'out.png').code == 0
    changed = (cv2.imread(str(tmp_path / 'two.png')) != cv2.imread(str(tmp_path / 'out.png'))).any(axis=2)
    left, top, width, height = (round(value) for value in BOX)
    assert changed[top : top + height, left : left + width].mean() > 0.5
    assert changed[top : top + height, 1024 - left - width : 1024 - left].mean() > 0.5


def test_what_cannot_be_swapped_is_said_in_one_line(astronaut, nobody, tmp_path, facefusion):
    def refusal(*words):
        return facefusion('swap', *words).refusal

    out = tmp_path / 'out.png'
    assert str(nobody) in refusal(nobody, '--out', out)
    assert 'missing.png' in refusal(tmp_path / 'missing.png', '--out', out)
    unknown = refusal(astronaut, '--persona', 'nosuch', '--out', out)
    assert "'nosuch'" in unknown
    assert 'porcelain' in unknown
    (tmp_path / 'folder').mkdir()
    assert 'folder' in refusal(astronaut, '--persona', tmp_path / 'folder', '--out', out)
    assert not out.exists()
    assert 'cannot write' in refusal(astronaut, '--out', tmp_path / 'missing' / 'out.png')
    assert 'cannot write' in refusal(astronaut, '--out', tmp_path)


@pytest.fixture
def ada(astronaut, tmp_path):
    """A persona that is known by a picture alone."""
    folder = tmp_path / 'ada'
    folder.mkdir()
    cv2.imwrite(str(folder / 'ada.png'), cv2.imread(str(astronaut))[:, ::-1])
    (folder / 'persona.yaml').write_text(yaml.safe_dump({'title': 'Ada', 'consent': 'Ada agreed', 'source': 'ada.png'}))
    return folder


def changed_by(facefusion, picture, out, *words):
    """Swap the faces of a picture; returns how much each pixel changed."""
    done = facefusion('swap', picture, '--out', out, *words)
    assert (done.code, done.out, done.err) == (0, '', ''), done
    return np.abs(cv2.imread(str(picture)).astype(int) - cv2.imread(str(out))).max(axis=2)


ALL = ('--enhancer', 'codeformer_256', '--occlusion', 'xseg', '--regions', 'bisenet', '--recogniser', 'arcface')


@pytest.mark.parametrize('model', ['inswapper', 'hyperswap', 'uniface'])
def test_swap_with_networks(astronaut, ada, models, tmp_path, facefusion, model):  # noqa: ARG001 - models is the store
    out = tmp_path / 'out.png'
    changed = changed_by(facefusion, astronaut, out, '--persona', ada, '--model', model, *ALL)
    left, top, width, height = (round(value) for value in BOX)
    face = changed[top : top + height, left : left + width]
    assert (face > 1).mean() > 0.5
    # The tiny swappers keep the face and only tint it: nothing may be torn or shifted.
    assert np.median(face) < 40
    assert not changed[top + 2 * height :].any()
    assert not changed[:, : left - width].any()
    assert not changed[:, left + 2 * width :].any()
    plain = changed_by(facefusion, astronaut, tmp_path / 'plain.png', '--persona', ada, '--model', model, *ALL[-2:])
    assert (plain != changed).any()
    if model == 'inswapper':
        finer = changed_by(
            facefusion, astronaut, out, '--persona', ada, '--model', model, '--pixel-boost', 2, *ALL[-2:]
        )
        assert (finer != plain).any()


def test_several_faces_get_a_persona_each_or_only_one_does(astronaut, models, tmp_path, facefusion):  # noqa: ARG001
    one = cv2.imread(str(astronaut))
    two = tmp_path / 'two.png'
    cv2.imwrite(str(two), np.hstack([one, one]))
    left, top, width, height = (round(value) for value in BOX)
    area = slice(top, top + height), slice(left, left + width)

    def halves(*words):
        changed = changed_by(facefusion, two, tmp_path / 'out.png', *words)
        out = cv2.imread(str(tmp_path / 'out.png'))
        return [out[:, half][area] for half in (slice(512), slice(512, None))], [
            changed[:, half][area].mean() > 5 for half in (slice(512), slice(512, None))
        ]

    pictures, changed = halves('--persona', 'porcelain,obsidian')
    assert changed == [True, True]
    different = np.abs(np.subtract(*pictures, dtype=int)).mean()
    pictures, changed = halves('--persona', 'porcelain,porcelain')
    # The detector sees both a little differently, so that their landmarks differ by some tenths of a pixel.
    assert np.abs(np.subtract(*pictures, dtype=int)).mean() < 0.5 * different
    _, changed = halves('--selection', 'one')
    assert sorted(changed) == [False, True]


def test_only_the_references_are_replaced(astronaut, models, nobody, tmp_path, facefusion):  # noqa: ARG001
    npy, other, out = (tmp_path / name for name in ('astronaut.npy', 'other.npy', 'out.png'))
    assert facefusion('identity', astronaut, '--recogniser', 'arcface', '--out', npy).code == 0
    np.save(other, -load_identity(npy))
    words = '--selection', 'identity', '--recogniser', 'arcface', '--reference'
    results = []
    for persona, references in [
        ('jade', [npy]),
        ('jade', [other, astronaut]),
        ('porcelain,jade', [other, npy]),
        ('jade,porcelain', [other, npy]),
    ]:
        assert changed_by(facefusion, astronaut, out, *words, *references, '--persona', persona).any()
        results.append(out.read_bytes())
    assert results[0] == results[1] == results[2] != results[3]
    out.unlink()

    def refusal(*more):
        return facefusion('swap', astronaut, '--out', out, *more).refusal

    assert 'references must name at least one' in refusal('--selection', 'identity', '--recogniser', 'arcface')
    assert 'recogniser must be named' in refusal('--selection', 'identity', '--reference', npy)
    assert 'references must be as many' in refusal('--persona', 'jade,obsidian', *words, npy, npy, npy)
    assert str(nobody) in refusal(*words, nobody)
    assert 'is one of the references' in refusal(*words, other)
    assert not out.exists()


def test_an_identity_is_a_source(astronaut, ada, models, nobody, tmp_path, facefusion):  # noqa: ARG001
    """The pictures themselves and the identity made of them give the same result."""
    npy = tmp_path / 'ada' / 'ada.npy'
    done = facefusion('identity', ada / 'ada.png', '--recogniser', 'arcface', '--out', npy)
    assert (done.code, done.out, done.err) == (0, '', '')
    assert np.linalg.norm(load_identity(npy)) == pytest.approx(1, abs=1e-6)
    words = '--persona', ada, '--model', 'inswapper'
    by_picture = changed_by(facefusion, astronaut, tmp_path / 'one.png', *words, '--recogniser', 'arcface')
    (ada / 'persona.yaml').write_text(yaml.safe_dump({'title': 'Ada', 'consent': 'Ada agreed', 'source': 'ada.npy'}))
    by_identity = changed_by(facefusion, astronaut, tmp_path / 'two.png', *words)
    np.testing.assert_array_equal(by_picture, by_identity)

    def refusal(*images, recogniser='arcface', out=npy):
        return facefusion('identity', *images, '--recogniser', recogniser, '--out', out).refusal

    assert f'no face in {nobody}' in refusal(astronaut, nobody)
    assert 'cannot read' in refusal(tmp_path / 'missing.png')
    assert "no model is named 'nosuch'" in refusal(astronaut, recogniser='nosuch')
    assert 'not a recognition' in refusal(astronaut, recogniser='inswapper')
    assert 'cannot write the identity' in refusal(astronaut, out=tmp_path / 'missing' / 'ada.npy')


def test_what_networks_cannot_do_is_said_in_one_line(astronaut, ada, models, tmp_path, facefusion):  # noqa: ARG001
    def refusal(*words):
        return facefusion('swap', astronaut, '--out', tmp_path / 'out.png', *words).refusal

    assert 'only a network can show it' in refusal('--persona', ada)
    assert 'takes a recogniser' in refusal('--persona', ada, '--model', 'inswapper')
    assert 'shows whom it was trained for' in refusal('--model', 'dfm')
    assert 'forbids commercial use' in refusal('--model', 'closed', '--recogniser', 'arcface')
    assert 'personas must name' in refusal('--persona', 'jade,')
    assert 'pixel_boost must be 1 to 4' in refusal('--model', 'inswapper', '--pixel-boost', '9')
    assert not (tmp_path / 'out.png').exists()
    accepted = '--accept-noncommercial', '--model', 'closed', '--recogniser', 'arcface'
    assert changed_by(facefusion, astronaut, tmp_path / 'out.png', *accepted).any()


def test_a_detector_of_the_store_finds_the_faces(astronaut, models, tmp_path, facefusion):  # noqa: ARG001
    """The tiny detector sees a face in the middle of every picture."""
    done = facefusion('detect', astronaut, '--model', 'yunet')
    (face,) = json.loads(done.out)[0]['faces']
    assert overlap(face['box'], [512 * value for value in (0.35, 0.3, 0.3, 0.4)]) > 0.9
    changed = changed_by(facefusion, astronaut, tmp_path / 'out.png', '--detector', 'yunet')
    rows, columns = np.nonzero(changed)
    assert abs(columns.mean() - 256) < 20
    assert rows.mean() > 200
