"""The catalogue: what it says, and how a wrong one is refused."""

import copy

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression  # pytest brings it

from facefusion_ros.faces.alignment import ARCFACE_112
from facefusion_ros.models.entry import ModelError, Role
from facefusion_ros.models.families import catalogue, catalogue_file, read_catalogue

DATA = yaml.safe_load(catalogue_file().read_text())


@pytest.fixture
def read(tmp_path):
    def read(data):
        file = tmp_path / 'models.yaml'
        file.write_text(yaml.safe_dump(data))
        return read_catalogue(file)

    return read


def test_the_mission_s_families_are_there():
    families = catalogue().families
    roles = {role: [f.name for f in families.values() if f.role is role] for role in Role}
    assert roles[Role.DETECTOR] == ['yolov4_tiny', 'yolov4_tiny_points', 'yoloface', 'scrfd', 'retinaface', 'yunet']
    assert roles[Role.LANDMARKS] == ['2dfan4', 'landmarks_68', 'pfld_68', 'pfld_98', 'pfld_106']
    assert roles[Role.RECOGNITION] == ['arcface']
    assert {'inswapper', 'hyperswap', 'ghost', 'simswap', 'hififace', 'uniface', 'blendswap', 'dfm'} <= set(
        roles[Role.SWAPPER]
    )
    assert {'codeformer', 'codeformer_256', 'gfpgan', 'gpen', 'restoreformer'} <= set(roles[Role.ENHANCER])
    assert roles[Role.MASK] == ['xseg', 'bisenet']
    assert roles[Role.BACKGROUND] == ['real_esrgan_x2', 'real_esrgan_x4']
    for family in families.values():
        assert family.name in families
        assert family.reference
        assert family.inputs
        assert family.outputs
        assert (family.range is not None) == (family.decoder == 'picture')
        # A swapper needs to know whom to show, unless that is in its weights.
        assert (family.source is not None) == (
            family.role is Role.SWAPPER and family.name not in {'dfm', 'persona_swapper'}
        )


def test_some_facts():
    families = catalogue().families
    # RGB drops YuNet's confidence tenfold.
    assert families['yunet'].preprocessing.colour == 'bgr'
    assert families['yunet'].preprocessing.scale == 1
    # InsightFace: (pixel - 127.5) / 128 for detection, / 127.5 for recognition.
    assert families['scrfd'].preprocessing.std == (128, 128, 128)
    assert families['arcface'].preprocessing.std == (127.5, 127.5, 127.5)
    # SimSwap takes ImageNet's normalisation and returns 0..1.
    assert families['simswap'].preprocessing.mean == (0.485, 0.456, 0.406)
    assert families['simswap'].range.std == (1, 1, 1)
    assert families['hyperswap'].range.mean == (0.5, 0.5, 0.5)
    assert families['ghost'].source.converter == 'crossface_ghost'
    assert not families['ghost'].source.unit
    assert families['inswapper'].source.projection
    assert not families['hyperswap'].source.projection
    # The only enhancer that is not aligned as FFHQ.
    assert families['gpen_256'].template == 'arcface_128'
    assert families['codeformer'].template == families['gpen'].template == 'ffhq_512'
    assert families['xseg'].preprocessing.layout == 'nhwc'


def test_templates_have_faces_of_the_right_size_the_right_way_up():
    templates = catalogue().templates
    # Eye distance in units of the crop, as published.
    for name, share in {
        'arcface_112_v1': 0.2905,
        'arcface_112_v2': 0.3146,
        'arcface_128': 0.2753,
        'ffhq_512': 0.2459,
        'mtcnn_512': 0.2674,
        'dfl_whole_face': 0.2746,
    }.items():
        points = np.array(templates[name].points) / templates[name].size
        left_eye, right_eye, nose, left_mouth, right_mouth = points
        assert np.linalg.norm(right_eye - left_eye) == pytest.approx(share, abs=1e-4)
        assert left_eye[1] < nose[1] < left_mouth[1]
        assert left_mouth[0] < nose[0] < right_mouth[0]
    assert templates['arcface_112_v2'].points == ARCFACE_112


@pytest.mark.parametrize(
    ('file', 'licence', 'commercial'),
    [
        ('inswapper_128_fp16.onnx', 'LicenseRef-InsightFace-NonCommercial', False),
        ('codeformer.onnx', 'LicenseRef-S-Lab-1.0', False),
        ('GFPGANv1.4.onnx', 'Apache-2.0', True),
        ('yunet_n_640_640.onnx', 'Apache-2.0', True),
        ('yunet_2023_mar.onnx', 'MIT', True),
        ('hyperswap_1a_256.onnx', 'LicenseRef-ResearchRAIL-MS', False),
        ('hififace_unofficial_256.onnx', 'unknown', False),
        ('RealESRGAN_x4plus.onnx', 'BSD-3-Clause', True),
        ('realesr-general-x4v3.onnx', 'BSD-3-Clause', True),
    ],
)
def test_licences_of_published_files(file, licence, commercial):
    known = catalogue().known_file(file)
    assert known.licence == licence
    assert catalogue().commercial(known.licence) is commercial


def test_licences_are_called_as_spdx_calls_them():
    for name in catalogue().licences.keys() - {'unknown'}:
        assert canonicalize_license_expression(name) == name


def test_an_unlisted_licence_is_taken_not_to_allow_commercial_use():
    assert catalogue().known_file('mine.onnx') is None
    assert not catalogue().commercial('My-Own-1.0')
    assert catalogue().commercial('apache-2.0')


def test_an_unknown_family_is_refused_with_those_there_are():
    with pytest.raises(ModelError, match=r"no family is named 'yolo'; known families: yolov4_tiny, "):
        catalogue().family('yolo')


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_misspelt_key_is_named_wherever_it_is(data, tmp_path_factory):
    wrong = copy.deepcopy(DATA)
    here, path = wrong['families'], []
    key = data.draw(st.sampled_from(sorted(here)))
    while True:
        here, path = here[key], [*path, key]
        deeper = [name for name, value in here.items() if isinstance(value, dict) and name != 'decode']
        if not deeper or data.draw(st.booleans()):
            break
        key = data.draw(st.sampled_from(deeper))
    key = data.draw(st.sampled_from(sorted(here)))
    # YAML's aliases are one and the same mapping; only this one is to be wrong.
    here[f'{key}_'] = here.pop(key)
    file = tmp_path_factory.mktemp('wrong') / 'models.yaml'
    file.write_text(yaml.safe_dump(wrong))
    with pytest.raises(ModelError) as error:
        read_catalogue(file)
    text = str(error.value)
    assert text.startswith(f'{file}: families.')
    assert key in text
    assert '\n' not in text


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'role': 'dancer'}, r"families\.yunet\.role: must be one of detector, .*, not 'dancer'"),
        ({'mean': [1, 2]}, r'families\.yunet\.mean: must be a number or a list of 3 numbers'),
        ({'mean': 'grey'}, r"families\.yunet\.mean: must be a number, not 'grey'"),
        ({'std': 0}, r'families\.yunet\.std: must not be 0'),
        ({'scale': True}, r'families\.yunet\.scale: must be a number, not True'),
        ({'template': 'ffhq'}, r"families\.yunet\.template: must be one of arcface_112_v1, .*, not 'ffhq'"),
        ({'colour': 'cmyk'}, r"families\.yunet\.colour: must be one of rgb, bgr, not 'cmyk'"),
        ({'sizes': [1.5]}, r'families\.yunet\.sizes: must be a list of int, not 1\.5'),
        ({'decoder': 'yolo'}, r'families\.yunet\.decoder: must be one of'),
        ({'inputs': {}}, r'families\.yunet\.inputs: must be a list'),
        ({'inputs': ['x']}, r"families\.yunet\.inputs\[0\]: must be a mapping, not 'x'"),
        ({'inputs': [{'role': 'picture', 'shape': [1, '-']}]}, r"inputs\[0\]\.shape: '-' must be a size, a letter"),
        ({'other_outputs': [1]}, r'families\.yunet\.other_outputs\[0\]: must be a list, not 1'),
    ],
)
def test_wrong_values_are_named(change, text, read):
    data = copy.deepcopy(DATA)
    data['families']['yunet'].update(change)
    with pytest.raises(ModelError, match=text):
        read(data)


def test_a_file_s_licence_must_be_listed(read):
    data = copy.deepcopy(DATA)
    data['files']['mine'] = {'licence': 'Mine', 'source': 'me'}
    with pytest.raises(ModelError, match=r"files\.mine\.licence: 'Mine' is not among the licences"):
        read(data)


@pytest.mark.parametrize('content', ['[1, 2]', 'a: [', '', '\x00'])
def test_what_is_no_mapping_is_refused(content, tmp_path):
    file = tmp_path / 'models.yaml'
    file.write_text(content)
    with pytest.raises(ModelError, match=r'models\.yaml: .*(must be a mapping|not valid YAML)'):
        read_catalogue(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r'none\.yaml: cannot be read'):
        read_catalogue(tmp_path / 'none.yaml')
