"""The user's store: what is added stays what it was, and licences are kept."""

import errno
import multiprocessing
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from facefusion_ros.models.entry import ModelError, Role
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import (
    BUILT,
    DEFAULT,
    INDEX,
    WEIGHTS,
    Store,
    built_folder,
    open_store,
    sha256,
    store_folder,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / 'store', catalogue())


@pytest.fixture
def brought(tiny_network, tmp_path):
    """Return a function that gives a family's network as a user's own file of some name."""

    def brought(family, name='mine.onnx'):
        path = tmp_path / 'brought' / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiny_network(family).read_bytes())
        return path

    return brought


def test_an_empty_store_lists_nothing(store):
    assert store.entries() == {}
    with pytest.raises(ModelError, match=r"no model is named 'x' in .*; there are: none yet\. Add a file with"):
        store.resolve('x')
    assert not store.folder.exists()


@pytest.mark.parametrize('family', ['yunet', 'inswapper', 'codeformer', 'crossface', 'dfm'])
def test_what_is_added_is_resolved_with_all_that_is_known(family, store, brought):
    file = brought(family, f'{family}_mine.onnx')
    added = store.add(file, licence='MIT', source='me')
    path, entry = Store(store.folder, catalogue()).resolve(f'{family}_mine')
    assert entry == added
    assert entry.family is catalogue().family(family)
    assert path.read_bytes() == file.read_bytes()
    assert entry.sha256 == sha256(file)
    assert [problem for _, problem in store.verify()] == ['']
    if family == 'inswapper':
        assert entry.weight == 'buff2fs'
    if family == 'codeformer':
        assert entry.inputs == {'picture': 'input', 'weight': 'weight'}
        assert entry.size == (512, 512)


def test_what_happens_to_the_user_s_file_later_does_not_matter(store, brought):
    file = brought('yunet')
    store.add(file, licence='MIT')
    path, _ = store.resolve('mine')
    file.write_bytes(b'something else')
    assert store.resolve('mine')[0] == path
    file.unlink()
    assert store.resolve('mine')[0] == path


@pytest.mark.parametrize('at', [0, 1000, -1])
def test_a_changed_file_is_refused(at, store, brought):
    store.add(brought('scrfd'), licence='MIT')
    path, entry = store.resolve('mine')
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r'^model mine: .*mine\.onnx has changed since it was added, and is not used'):
        store.resolve('mine')
    assert 'has changed' in store.problem(entry)


def test_a_missing_file_is_named(store, brought):
    store.add(brought('yunet'), licence='MIT')
    store.resolve('mine')[0].unlink()
    with pytest.raises(ModelError, match=r'mine\.onnx is missing: add the file again'):
        store.resolve('mine')
    store.add(brought('yunet'), licence='MIT')
    store.resolve('mine')


def test_a_licence_that_forbids_commercial_use_must_be_accepted_each_time(store, brought):
    file = brought('inswapper', 'inswapper_128.onnx')
    with pytest.raises(
        ModelError, match=r'InsightFace-NonCommercial, forbids commercial use: .* --accept-noncommercial'
    ):
        store.add(file)
    assert store.entries() == {}
    entry = store.add(file, accept_noncommercial=True)
    assert not entry.commercial
    assert entry.source == 'deepinsight/insightface'
    with pytest.raises(ModelError, match=r'^inswapper_128: .* say so with accept_noncommercial:=true'):
        store.resolve('inswapper_128')
    assert store.resolve('inswapper_128', accept_noncommercial=True)[1] == entry


def test_an_unknown_licence_must_be_stated_or_accepted(store, brought):
    file = brought('yunet')
    with pytest.raises(ModelError, match='its licence is not known: state it with --licence'):
        store.add(file)
    assert not store.add(file, accept_noncommercial=True).commercial
    assert store.add(file, licence='LicenseRef-proprietary').commercial


def test_a_network_that_does_not_run_is_not_added(store, brought):
    def fail(_, found):
        raise ModelError(f'{found.family.name} does not run')

    with pytest.raises(ModelError, match='yunet does not run'):
        store.add(brought('yunet'), licence='MIT', try_out=fail)
    assert not store.folder.exists()


def test_a_name_is_not_taken_twice(store, brought):
    store.add(brought('yunet'), licence='MIT')
    again = store.add(brought('yunet'), licence='MIT', source='said later')
    assert store.entries() == {'mine': again}
    with pytest.raises(ModelError, match='another model is named mine: give this one another name with --name'):
        store.add(brought('scrfd'), licence='MIT')
    store.add(brought('scrfd'), name='other', licence='MIT')
    assert set(store.entries()) == {'mine', 'other'}


@pytest.mark.parametrize('name', ['../x', 'a/b', '', '.x', 'a b'])
def test_names_that_are_paths_or_worse_are_refused(name, store, brought):
    file = brought('yunet')
    if name:
        with pytest.raises(ModelError, match='cannot be the name of a model'):
            store.add(file, name=name, licence='MIT')
    assert not store.folder.exists()


def test_a_file_already_in_the_store_s_folder(store, tiny_network):
    place = store.folder / 'yunet' / 'yunet.onnx'
    place.parent.mkdir(parents=True)
    place.write_bytes(tiny_network('yunet').read_bytes())
    store.add(place, licence='MIT')
    assert store.resolve('yunet')[0] == place


class TestWeightsBesideTheFile:
    @pytest.fixture
    def file(self, tiny_network, tmp_path):
        path = tmp_path / 'brought' / 'net.onnx'
        path.parent.mkdir()
        model = onnx.load(tiny_network('arcface'))
        onnx.save_model(model, path, save_as_external_data=True, location='net.data', size_threshold=1000)
        return path

    def test_come_along(self, file, store):
        entry = store.add(file, licence='MIT')
        path, _ = store.resolve('net')
        assert list(entry.beside) == ['net.data']
        weight = onnx.load(path).graph.initializer[0]
        assert np.prod(weight.dims) == 192 * 512

    def test_may_not_change(self, file, store):
        store.add(file, licence='MIT')
        data = store.folder / 'net' / 'net.data'
        values = bytearray(data.read_bytes())
        values[5] ^= 4
        data.write_bytes(values)
        with pytest.raises(ModelError, match=r'net\.data has changed since it was added'):
            store.resolve('net')


def test_no_space_leaves_the_store_as_it_was(store, brought, monkeypatch):
    before = store.add(brought('yunet'), licence='MIT')

    def full(_, to):
        to.write_bytes(b'half')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, 'copyfile', full)
    with pytest.raises(ModelError, match=r'no space is left for the model: free some, or set FACEFUSION_MODELS'):
        store.add(brought('scrfd', 'other.onnx'), licence='MIT')
    assert store.entries() == {'mine': before}
    assert {path.name for path in store.folder.iterdir()} == {'mine', 'index.yaml', '.lock'}


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda index: index['models']['mine'].pop('sha256'), r'index\.yaml: models\.mine\.sha256: is missing'),
        (lambda index: index['models']['mine'].update(family='gone'), "no family is named 'gone'"),
        (lambda index: index['models']['mine'].update(commercial='yes'), r'models\.mine\.commercial: must be true or'),
        (lambda index: index['models']['mine'].update(colour='rgb'), r'models\.mine\.colour: unknown key'),
        (lambda index: index.update(models=[]), r'index\.yaml: models: must be a mapping'),
    ],
)
def test_a_damaged_index_is_refused_with_the_key(change, text, store, brought):
    store.add(brought('yunet'), licence='MIT')
    index = yaml.safe_load((store.folder / 'index.yaml').read_text())
    change(index)
    (store.folder / 'index.yaml').write_text(yaml.safe_dump(index))
    with pytest.raises(ModelError, match=text):
        store.entries()


def _add(folder, file, name):
    Store(folder, catalogue()).add(file, name=name, licence='MIT')


def test_several_processes_may_add_at_once(store, brought):
    file = brought('pfld_68')
    context = multiprocessing.get_context('fork')
    names = [f'model-{i}' for i in range(6)]
    processes = [context.Process(target=_add, args=(store.folder, file, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(names)
    assert sorted(store.entries()) == names
    assert all(not problem for _, problem in store.verify())


def test_only_adding_needs_onnx(store, brought, monkeypatch):
    file = brought('yunet')
    store.add(file, licence='MIT')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    assert store.resolve('mine')[1].family.name == 'yunet'
    with pytest.raises(ModelError, match='needs the package onnx: pip install onnx'):
        store.add(file, licence='MIT')


def test_the_folder_is_the_user_s_choice(monkeypatch, tmp_path):
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path))
    assert store_folder() == tmp_path
    monkeypatch.delenv('FACEFUSION_MODELS')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert store_folder() == tmp_path / '.local' / 'share' / 'facefusion_ros' / 'models'


def test_a_model_is_removed_with_what_was_built_from_it(store, brought):
    store.add(brought('yunet'), licence='MIT')
    store.add(brought('scrfd'), name='other', licence='MIT')
    built = store.folder / 'mine' / BUILT
    built.mkdir()
    (built / 'mine-fp16.onnx').write_bytes(bytes(1000))
    size = (store.folder / 'mine' / 'mine.onnx').stat().st_size
    assert store.remove('mine') == size + 1000
    assert set(store.entries()) == {'other'}
    assert not (store.folder / 'mine').exists()
    assert store.resolve('other')
    with pytest.raises(ModelError, match="no model is named 'mine'"):
        store.remove('mine')
    # Nothing is left of it, not even under another name.
    assert sorted(file.name for file in store.folder.iterdir()) == ['.lock', 'index.yaml', 'other']


def test_what_was_built_is_removed_alone(store, brought):
    store.add(brought('yunet'), licence='MIT')
    assert store.remove_built('mine') == 0
    built = store.folder / 'mine' / BUILT
    (built / 'tensorrt').mkdir(parents=True)
    (built / 'tensorrt' / 'mine.plan').write_bytes(bytes(10))
    assert store.remove_built('mine') == 10
    assert not built.exists()
    store.resolve('mine')
    with pytest.raises(ModelError, match="no model is named 'other'"):
        store.remove_built('other')


def test_a_missing_folder_does_not_keep_a_model_listed(store, brought):
    store.add(brought('yunet'), licence='MIT')
    shutil.rmtree(store.folder / 'mine')
    assert store.remove('mine') == 0
    assert store.entries() == {}


def test_what_was_built_stays_where_the_same_file_is_added_again(store, brought):
    store.add(brought('yunet'), licence='MIT')
    built = store.folder / 'mine' / BUILT
    built.mkdir()
    (built / 'mine-fp16.onnx').write_bytes(b'kept')
    store.add(brought('yunet'), licence='MIT', source='said later')
    assert (built / 'mine-fp16.onnx').read_bytes() == b'kept'
    path, _ = store.resolve('mine')
    path.write_bytes(b'damaged')
    store.add(brought('scrfd'), licence='MIT')
    assert not built.exists()


class TestWhatShipsWithThePackage:
    @pytest.fixture
    def shipped(self, store, brought, tmp_path, monkeypatch):
        """A store beside which a detector ships, in a folder that nobody may write to."""
        made = Store(tmp_path / 'made', catalogue())
        made.add(brought('yolov4_tiny_points', 'finder.onnx'), licence='Apache-2.0', source='this test')
        weights = tmp_path / 'weights'
        weights.mkdir()
        index = yaml.safe_load((made.folder / INDEX).read_text())
        index['models']['finder']['file'] = 'finder.onnx'
        (weights / INDEX).write_text(yaml.safe_dump(index))
        shutil.copyfile(made.folder / 'finder' / 'finder.onnx', weights / 'finder.onnx')
        monkeypatch.setenv('FACEFUSION_MODELS', str(store.folder))
        return Store(store.folder, catalogue(), weights)

    def test_is_resolved_by_name_and_as_the_default_of_its_role(self, shipped):
        for path, entry in (shipped.resolve('finder'), shipped.resolve(DEFAULT, Role.DETECTOR)):
            assert (entry.name, entry.shipped, path) == ('finder', True, shipped.weights / 'finder.onnx')
        assert shipped.default(Role.SWAPPER) is None
        with pytest.raises(ModelError, match='no network ships for this: name one of your own'):
            shipped.resolve(DEFAULT, Role.SWAPPER)
        assert not shipped.folder.exists()

    def test_gives_way_to_the_user_s_own_of_the_same_name(self, shipped, brought):
        shipped.add(brought('yunet'), name='finder', licence='MIT')
        assert shipped.resolve('finder')[1].family.name == 'yunet'
        assert not shipped.resolve('finder')[1].shipped
        assert shipped.resolve(DEFAULT, Role.DETECTOR)[1].shipped
        shipped.remove('finder')
        assert shipped.resolve('finder')[1].shipped
        with pytest.raises(ModelError, match='default means the network that ships with the package'):
            shipped.add(brought('yunet'), name=DEFAULT, licence='MIT')

    def test_cannot_be_removed(self, shipped):
        with pytest.raises(ModelError, match=r'finder ships with the package and stays: .* --built') as refused:
            shipped.remove('finder')
        assert '\n' not in str(refused.value)
        assert shipped.resolve('finder')

    def test_what_is_built_of_it_lies_with_the_user(self, shipped):
        path, entry = shipped.resolve('finder')
        place = built_folder(path, entry)
        assert place.is_relative_to(shipped.folder)
        assert shipped.remove_built('finder') == 0
        place.mkdir(parents=True)
        (place / 'finder-fp16.onnx').write_bytes(bytes(10))
        assert shipped.remove_built('finder') == 10
        # A user's model of that name has a place of its own.
        own = replace(entry, shipped=False)
        assert place != built_folder(shipped.folder / 'finder' / 'finder.onnx', own)
        assert {file.name for file in shipped.weights.iterdir()} == {INDEX, 'finder.onnx'}

    def test_a_damaged_file_is_refused(self, shipped):
        (shipped.weights / 'finder.onnx').write_bytes(b'something else')
        with pytest.raises(ModelError, match=r'is not the one that was shipped, .*: install the package again'):
            shipped.resolve('finder')
        (shipped.weights / 'finder.onnx').unlink()
        with pytest.raises(ModelError, match=r'finder\.onnx is missing: install the package again'):
            shipped.resolve('finder')

    def test_what_ships_today_is_whole_free_small_and_documented(self):
        store = open_store()
        entries = [entry for entry in store.entries().values() if entry.shipped]
        assert {file.name for file in WEIGHTS.iterdir()} == {INDEX, *(entry.file for entry in entries)}
        for entry in entries:
            assert store.problem(entry) == ''
            assert (entry.licence, entry.commercial) == ('Apache-2.0', True)
            assert store.path(entry).stat().st_size <= 8e6
            assert (Path(__file__).parents[2] / entry.source.removeprefix('facefusion_ros, ')).is_file()
        assert sum(store.path(entry).stat().st_size for entry in entries) <= 25e6
        assert len({entry.family.role for entry in entries}) == len(entries)
