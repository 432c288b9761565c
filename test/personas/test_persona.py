import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from facefusion_ros.personas.persona import Persona, PersonaError, load_persona, persona_names, read_sheet

SHEET = {
    'title': 'Ada',
    'image': 'face.png',
    'landmarks': [[192, 232], [319, 232], [255, 306], [204, 367], [307, 367]],
    'consent': 'Ada Example agreed on 2024-05-01 to be shown in demonstrations',
}


@pytest.fixture
def folder(tmp_path: Path, porcelain: Persona) -> Path:
    """A persona on disk, as a person would make it."""
    place = tmp_path / 'ada'
    place.mkdir()
    cv2.imwrite(str(place / 'face.png'), porcelain.pixels)
    write(place)
    return place


def write(folder: Path, **changes: object) -> None:
    entries = {key: value for key, value in (SHEET | changes).items() if value is not None}
    (folder / 'persona.yaml').write_text(yaml.safe_dump(entries), encoding='utf-8')


def test_a_built_in_persona_is_painted_once(porcelain: Persona) -> None:
    assert load_persona('porcelain') is porcelain
    assert persona_names()[0] == 'porcelain'


def test_a_built_in_persona_depicts_nobody(porcelain: Persona) -> None:
    assert porcelain.consent == 'synthetic: no person is depicted'


def test_a_persona_cannot_be_painted_over(porcelain: Persona) -> None:
    with pytest.raises(ValueError, match='read-only'):
        porcelain.pixels[0, 0, 0] = 1
    with pytest.raises(ValueError, match='read-only'):
        porcelain.landmarks[0, 0] = 1


def test_the_digest_covers_pixels_and_landmarks(porcelain: Persona) -> None:
    expected = hashlib.sha256(porcelain.pixels.tobytes() + porcelain.landmarks.astype('<f4').tobytes()).hexdigest()
    assert porcelain.digest == expected
    other = Persona('other', '', porcelain.pixels, porcelain.landmarks + np.float32(1), '')
    assert other.digest != expected


def test_a_folder_is_read(folder: Path, porcelain: Persona) -> None:
    ada = load_persona(folder)
    assert (ada.name, ada.title) == ('ada', 'Ada')
    assert ada.consent == SHEET['consent']
    np.testing.assert_array_equal(ada.pixels, porcelain.pixels)
    np.testing.assert_array_equal(ada.landmarks, np.float32(SHEET['landmarks']))
    assert load_persona(str(folder)).digest == ada.digest


def test_a_persona_says_how_much_light_it_sends_back(folder: Path, porcelain: Persona) -> None:
    assert (load_persona(folder).reflectance, porcelain.reflectance) == (1.0, 1.0)
    assert load_persona('obsidian').reflectance == read_sheet('obsidian').reflectance < 0.5
    write(folder, reflectance=1.5)
    assert (load_persona(folder).reflectance, read_sheet(folder).reflectance) == (1.5, 1.5)


@pytest.mark.parametrize('value', [0, -1, 11, '0.5', True, float('nan'), [1]])
def test_a_reflectance_that_cannot_be_is_refused(folder: Path, value: object) -> None:
    write(folder, reflectance=value)
    with pytest.raises(PersonaError, match=r'reflectance that is no number from 0\.02 to 10'):
        load_persona(folder)


def test_a_sheet_of_a_built_in_persona_has_its_portrait(porcelain: Persona) -> None:
    sheet = read_sheet('porcelain')
    assert sheet.portrait is porcelain
    assert (sheet.name, sheet.title, sheet.consent, sheet.source) == (
        'porcelain',
        porcelain.title,
        porcelain.consent,
        (),
    )


@pytest.mark.parametrize(('source', 'names'), [('who.npy', ['who.npy']), (['a.png', ' b.jpg'], ['a.png', 'b.jpg'])])
def test_a_persona_may_have_a_source_and_an_image(folder: Path, source: object, names: list[str]) -> None:
    for name in names:
        (folder / name).write_bytes(b'read later')
    write(folder, source=source)
    sheet = read_sheet(folder)
    assert sheet.source == tuple(folder / name for name in names)
    assert (sheet.name, sheet.title, sheet.consent) == ('ada', 'Ada', SHEET['consent'])
    assert sheet.portrait is not None
    assert sheet.portrait.digest == load_persona(folder).digest


@pytest.mark.parametrize('source', [None, 'who.npy'])
def test_without_an_image_only_a_network_can_show_a_persona(folder: Path, source: str | None) -> None:
    (folder / 'who.npy').touch()
    write(folder, image=None, landmarks=None, source=source)
    sheet = read_sheet(folder)
    assert sheet.portrait is None
    assert len(sheet.source) == (source is not None)
    with pytest.raises(PersonaError, match=r'ada has no image, so that only a network can show it') as error:
        load_persona(folder)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('source', 'said'),
    [
        ('nowhere.npy', r'source .*nowhere\.npy, which is not there'),
        (['face.png', 'nowhere.png'], r'nowhere\.png, which is not there'),
        ('', 'names no file'),
        ([], 'names no file'),
        (['face.png', 3], 'names no file'),
        ({'file': 'face.png'}, 'names no file'),
    ],
)
def test_a_source_that_is_not_there_is_named(folder: Path, source: object, said: str) -> None:
    write(folder, source=source)
    with pytest.raises(PersonaError, match=said) as error:
        read_sheet(folder)
    assert '\n' not in str(error.value)


def test_a_source_needs_consent_too(folder: Path) -> None:
    write(folder, image=None, landmarks=None, source='face.png', consent=None)
    with pytest.raises(PersonaError, match='no consent'):
        read_sheet(folder)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(PersonaError) as error:
        load_persona('nobody')
    assert "'nobody'" in str(error.value)
    assert all(name in str(error.value) for name in persona_names())


@pytest.mark.parametrize('missing', ['persona.yaml', 'face.png'])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(PersonaError, match=missing):
        load_persona(folder)


@pytest.mark.parametrize('text', ['title: [', '- a list', '', '\x00'])
def test_a_broken_sheet_is_refused(folder: Path, text: str) -> None:
    (folder / 'persona.yaml').write_text(text, encoding='utf-8')
    with pytest.raises(PersonaError, match=r'persona\.yaml') as error:
        load_persona(folder)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('consent', [None, '', '  ', False, 3])
def test_no_persona_without_consent(folder: Path, consent: object) -> None:
    write(folder, consent=consent)
    with pytest.raises(PersonaError, match='no consent'):
        load_persona(folder)


@pytest.mark.parametrize('key', ['title', 'image'])
def test_a_missing_entry_is_named(folder: Path, key: str) -> None:
    write(folder, **{key: None})
    with pytest.raises(PersonaError, match=f'no {key}'):
        load_persona(folder)


@pytest.mark.parametrize('content', [b'', b'not a picture'])
def test_an_unreadable_image_is_refused(folder: Path, content: bytes) -> None:
    (folder / 'face.png').write_bytes(content)
    with pytest.raises(PersonaError, match=r'face\.png is not a picture'):
        load_persona(folder)


@pytest.mark.parametrize(
    ('shape', 'dtype', 'said'),
    [
        ((512, 512, 3), np.uint8, '512x512 with 3 channels of 8 bits'),
        ((512, 512), np.uint8, '512x512 with 1 channels of 8 bits'),
        ((512, 512, 4), np.uint16, '512x512 with 4 channels of 16 bits'),
        ((300, 400, 4), np.uint8, '400x300 with 4 channels of 8 bits'),
        ((512, 512, 4), np.uint8, 'fully transparent'),
    ],
)
def test_an_image_of_another_kind_is_refused(folder: Path, shape: tuple[int, ...], dtype: type, said: str) -> None:
    cv2.imwrite(str(folder / 'face.png'), np.zeros(shape, dtype))
    with pytest.raises(PersonaError, match=said):
        load_persona(folder)


@pytest.mark.parametrize(
    ('landmarks', 'said'),
    [
        (None, 'five landmarks'),
        ('eyes', 'five landmarks'),
        ([[1, 2], [3]], 'five landmarks'),
        (SHEET['landmarks'][:4], 'five landmarks'),
        ([*SHEET['landmarks'][:4], [float('nan'), 367]], 'five landmarks'),
        ([*SHEET['landmarks'][:4], [600, 367]], 'outside'),
        ([*SHEET['landmarks'][:4], [-1, 367]], 'outside'),
        (SHEET['landmarks'][::-1], 'order'),
        ([[x, 511 - y] for x, y in SHEET['landmarks']], 'order'),
    ],
)
def test_wrong_landmarks_are_refused(folder: Path, landmarks: object, said: str) -> None:
    write(folder, landmarks=landmarks)
    with pytest.raises(PersonaError, match=said):
        load_persona(folder)
