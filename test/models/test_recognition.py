"""Recognising families: by shape, by name, by the file's name, and refusing honestly."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.models.entry import ModelError
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes, recognise
from facefusion_ros.models.tiny import family_names

LOOK_THE_SAME = (('ghost', 'simswap', 'hififace'), ('gfpgan', 'gpen', 'restoreformer'))
OF_ANY_SIZE = ('gfpgan', 'gpen', 'gpen_256', 'restoreformer', 'real_esrgan_x2', 'real_esrgan_x4')
"""Look the same where a file leaves the size of its pictures open."""


@pytest.fixture
def edited(tiny_network, tmp_path):
    """Return a function that reads a family's tiny network after a change to its model."""

    def edited(family, change, name='x.onnx'):
        model = onnx.load(tiny_network(family))
        change(model.graph)
        path = tmp_path / name
        onnx.save(model, path)
        return read_graph(path)

    return edited


def know(graph, *args, **kwargs):
    return recognise(graph, catalogue(), *args, **kwargs)


def resize(values, **sizes):
    """Set dimensions of inputs or outputs, by position: None leaves one open."""
    for value in values:
        for at, size in sizes.items():
            dim = value.type.tensor_type.shape.dim[int(at[1:])]
            dim.Clear()
            if size:
                dim.dim_value = size


@pytest.mark.parametrize('family', family_names())
def test_each_family_is_recognised_as_itself(family, tiny_network):
    graph = read_graph(tiny_network(family))
    found = know(graph)
    assert found.family.name == family
    # Every tensor of the file has its role.
    assert set(found.inputs.values()) == {tensor.name for tensor in graph.inputs}
    assert set(found.outputs.values()) == {tensor.name for tensor in graph.outputs}
    assert found.reasons


@pytest.mark.parametrize('family', family_names())
def test_what_looks_the_same_is_called_ambiguous_unless_said(family, tiny_network):
    graph = read_graph(tiny_network(family))
    same = next((group for group in LOOK_THE_SAME if family in group), (family,))
    if None in graph.inputs[0].shape[2:]:
        same = OF_ANY_SIZE
    if len(same) == 1 or family == 'restoreformer':
        # The name of its output tells RestoreFormer++.
        assert know(graph, file_name='network.onnx').family.name == family
    else:
        with pytest.raises(ModelError, match=rf'could be {" or ".join(same)}, .* say which with --family'):
            know(graph, file_name='network.onnx')
    assert know(graph, family, 'network.onnx').family.name == family


@pytest.mark.parametrize('family', family_names())
def test_a_family_that_does_not_fit_is_refused_with_the_reason(family, tiny_network):
    graph = read_graph(tiny_network('yunet' if family != 'yunet' else 'scrfd'))
    with pytest.raises(ModelError, match=rf'is not of the family {family}: (inputs|outputs|its picture)'):
        know(graph, family)


def test_roles_of_the_real_yunet(yunet_file):
    found = know(read_graph(yunet_file))
    assert found.family.name == 'yunet'
    assert found.size == (640, 640)
    assert found.outputs['class_16'] == 'cls_16'
    assert found.outputs['points_32'] == 'kps_32'


def test_outputs_of_one_shape_are_told_apart_by_name_whatever_their_order(edited):
    def reverse(graph):
        outputs = list(reversed(graph.output))
        del graph.output[:]
        graph.output.extend(outputs)

    found = know(edited('yunet', reverse))
    assert found.outputs['class_8'] == 'cls_8'
    assert found.outputs['object_8'] == 'obj_8'


def test_scrfd_by_order_where_the_file_leaves_shapes_open(edited):
    def open_up(graph):
        resize(graph.input, d2=None, d3=None)
        resize(graph.output, d0=None)

    found = know(edited('scrfd', open_up))
    assert found.family.name == 'scrfd'
    assert found.size is None
    assert list(found.outputs.values()) == ['448', '471', '494', '451', '474', '497', '454', '477', '500']


def test_scrfd_with_a_batch_and_without_landmarks(edited):
    def change(graph):
        del graph.output[6:]
        for value in graph.output:
            rows, columns = (d.dim_value for d in value.type.tensor_type.shape.dim)
            value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [1, rows, columns]))

    found = know(edited('scrfd', change))
    assert found.family.name == 'scrfd'
    assert 'points_8' not in found.outputs


def test_yolov4_tiny_for_a_picture_that_is_not_square(edited):
    def change(graph):
        resize(graph.input, d2=288, d3=512)
        resize(graph.output[:1], d2=9, d3=16)
        resize(graph.output[1:], d2=18, d3=32)

    assert know(edited('yolov4_tiny', change)).size == (512, 288)


def test_heads_that_do_not_fit_the_picture_are_refused(edited):
    graph = edited('yolov4_tiny', lambda graph: resize(graph.input, d2=288, d3=512))
    with pytest.raises(ModelError, match='is of no known family: input'):
        know(graph)
    with pytest.raises(ModelError, match=r'none is a head_32 of 1x18xh/32xw/32; there are head_32 \[1, 18, 13, 13\]'):
        know(graph, 'yolov4_tiny')


def test_float16_files_are_recognised(edited):
    def halve(graph):
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16

    assert know(edited('inswapper', halve)).family.name == 'inswapper'


def test_other_types_are_not(edited):
    def integers(graph):
        graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8

    with pytest.raises(ModelError, match='is of no known family'):
        know(edited('yunet', integers))


def test_a_batch_that_is_not_one_is_refused(edited):
    graph = edited('yunet', lambda graph: resize(graph.input, d0=4))
    with pytest.raises(ModelError, match=r'none is a picture of 1x3xhxw; there are input \[4, 3, 640, 640\]'):
        know(graph, 'yunet')


def test_a_size_that_the_family_does_not_come_in_is_refused(edited):
    def grow(graph):
        resize((*graph.input[:1], graph.output[0]), d2=300, d3=300)

    with pytest.raises(ModelError, match='its picture is 300x300, not 512x512'):
        know(edited('codeformer', grow), 'codeformer')


def test_other_names_are_accepted(edited):
    def rename(graph):
        # As another public export of CodeFormer has it.
        for values, names in ((graph.input, ('x', 'w')), (graph.output, ('y',))):
            for value, name in zip(values, names, strict=True):
                value.name = name

    found = know(edited('codeformer', rename))
    assert found.inputs == {'picture': 'x', 'weight': 'w'}
    assert found.outputs == {'picture': 'y'}


class TestProjection:
    def test_by_its_other_name(self, edited):
        assert know(edited('inswapper', lambda graph: self._weight(graph, 'emap'))).weight == 'emap'

    def test_by_shape_though_other_weights_have_that_shape(self, edited):
        def change(graph):
            self._weight(graph, 'onnx::MatMul_7')
            graph.initializer.append(numpy_helper.from_array(np.zeros((512, 512), np.float32), 'used'))
            graph.node.append(helper.make_node('MatMul', ['source', 'used'], ['unread']))

        assert know(edited('inswapper', change)).weight == 'onnx::MatMul_7'

    def test_is_needed(self, edited):
        graph = edited('inswapper', lambda graph: graph.initializer.remove(self._weight(graph, 'gone')))
        with pytest.raises(ModelError, match=r'it has no weight of 512x512 \(the projection\)'):
            know(graph, 'inswapper')

    @staticmethod
    def _weight(graph, name):
        weight = next(w for w in graph.initializer if w.name == 'buff2fs')
        weight.name = name
        return weight


def test_further_outputs_are_accepted_only_where_published_files_have_them(edited):
    def more(graph):
        graph.output.append(helper.make_tensor_value_info('aux', TensorProto.FLOAT, [1, 19, 512, 512]))

    assert know(edited('bisenet', more)).outputs == {'classes': 'output'}
    with pytest.raises(ModelError, match=r'outputs: aux \[1, 19, 512, 512\] float32 is not of this family'):
        know(edited('gfpgan', more), 'gfpgan')


def test_morph_is_optional(edited):
    # DeepFaceLab's SAEHD exports have none.
    found = know(edited('dfm', lambda graph: graph.input.pop()))
    assert found.inputs == {'picture': 'in_face:0'}
    assert found.outputs['mask'] == 'out_celeb_face_mask:0'


@pytest.mark.parametrize(('family', 'times'), [('real_esrgan_x2', 2), ('real_esrgan_x4', 4)])
def test_a_larger_picture_tells_the_family_whatever_the_file_is_called(edited, family, times):
    def fix(graph):
        resize(graph.input, d0=1, d2=90, d3=160)
        resize(graph.output, d0=1, d2=90 * times, d3=160 * times)

    found = know(edited(family, fix))
    assert found.family.name == family
    assert found.size == (160, 90)


def test_a_picture_that_is_not_so_many_times_larger_is_refused(edited):
    def fix(graph):
        resize(graph.input, d0=1, d2=90, d3=160)
        resize(graph.output, d0=1, d2=361, d3=640)

    with pytest.raises(ModelError, match=r'none is a picture of 1x3xh\*4xw\*4; there are output \[1, 3, 361, 640\]'):
        know(edited('real_esrgan_x4', fix), 'real_esrgan_x4')


def test_sides_that_a_family_cannot_halve_are_refused(edited):
    def fix(graph):
        resize(graph.input, d0=1, d2=91, d3=160)
        resize(graph.output, d0=1, d2=182, d3=320)

    with pytest.raises(ModelError, match='its picture is 160x91, which are no multiples of 2'):
        know(edited('real_esrgan_x2', fix), 'real_esrgan_x2')


@pytest.mark.parametrize(
    ('file', 'family'),
    [
        ('RealESRGAN_x2plus.onnx', 'real_esrgan_x2'),
        ('RealESRGAN_x4plus.onnx', 'real_esrgan_x4'),
        ('RealESRGAN_x4plus_anime_6B.onnx', 'real_esrgan_x4'),
        ('realesr-general-x4v3.onnx', 'real_esrgan_x4'),
        ('realesr-animevideov3.onnx', 'real_esrgan_x4'),
        ('real_esrgan_x2_fp16.onnx', 'real_esrgan_x2'),
        ('span_kendata_x4.onnx', 'real_esrgan_x4'),
    ],
)
def test_published_backgrounds_of_any_size_are_known_by_name(tiny_network, file, family):
    graph = read_graph(tiny_network(family))
    assert know(graph, file_name=file).family.name == family
    assert input_shapes(know(graph, file_name=file), graph.inputs, (160, 90)) == {'input': (1, 3, 90, 160)}
    # All of a frame would take minutes where nobody asked for it.
    assert input_shapes(know(graph, file_name=file), graph.inputs) == {'input': (1, 3, 128, 128)}


@pytest.mark.parametrize('family', family_names())
def test_shapes_for_what_a_file_leaves_open_make_it_run(family, tiny_network):
    graph = read_graph(tiny_network(family))
    engine = OrtEngine(graph.path, OrtSettings(shapes=input_shapes(know(graph), graph.inputs)))
    assert all(None not in spec.shape for spec in engine.inputs)
    engine.warm_up()


def test_an_open_picture_takes_the_familys_size_else_the_usual(edited):
    graph = edited('yunet', lambda graph: resize((*graph.input, *graph.output), d0=None, d2=None))
    assert input_shapes(know(graph), graph.inputs, (320, 256)) == {'input': (1, 3, 256, 640)}
    graph = edited('arcface', lambda graph: resize(graph.input, d2=None, d3=None))
    assert input_shapes(know(graph), graph.inputs) == {'input.1': (1, 3, 112, 112)}


def test_a_batch_is_set_where_every_input_leaves_it_open(edited):
    graph = edited('dfm', lambda graph: resize(graph.input[1:], d0=None))
    assert input_shapes(know(graph), graph.inputs, batch=4) == {'in_face:0': (4, 224, 224, 3), 'morph_value:0': (1,)}
    graph = edited('inswapper', lambda graph: resize(graph.input, d0=None))
    assert input_shapes(know(graph), graph.inputs, batch=9) == {'target': (9, 3, 128, 128), 'source': (9, 512)}
    graph = edited('inswapper', lambda graph: resize(graph.input[:1], d0=None))
    assert input_shapes(know(graph), graph.inputs, batch=9) == {'target': (1, 3, 128, 128)}
