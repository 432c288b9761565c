import threading
import tracemalloc

import numpy as np
import pytest

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.models.entry import ModelError
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store, store_folder
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas.background import BackgroundSettings
from facefusion_ros.personas.background_stage import BackgroundCounts, BackgroundStage, stored_background

PATIENT = BackgroundSettings(budget_s=60.0)
HASTY = BackgroundSettings(budget_s=1e-9)
SIZE = (32, 24)


class Brightens:
    """Adds 100 to a frame, when permitted."""

    def __init__(self, size, setup):
        self.frame_size, self.setup = size, setup
        self.settings = None
        self.taken = None
        self.closed = 0

    def take(self, pixels):
        self.taken = pixels.copy()

    def restore(self):
        self.setup.seen.append(int(self.taken[0, 0, 0]))
        self.setup.started.release()
        assert self.setup.permits.acquire(timeout=60)
        self.setup.now_s += 0.125
        if self.setup.error:
            raise self.setup.error

    def show(self, pixels, out):
        assert (pixels == self.taken).all()
        out[...] = pixels + 100

    def close(self):
        self.closed += 1


class Setup:
    """A stage whose network does a frame for each permission."""

    def __init__(self):
        self.started, self.permits = threading.Semaphore(0), threading.Semaphore(0)
        self.loads = threading.Semaphore(1000)
        self.loaded, self.seen = [], []
        self.error = self.load_error = None
        self.now_s = 50.0
        self.stage = BackgroundStage(self.load, PATIENT, lambda: self.now_s)

    def load(self, size):
        assert self.loads.acquire(timeout=60)
        if self.load_error:
            raise self.load_error
        self.loaded.append(Brightens(size, self))
        return self.loaded[-1]

    def begun(self):
        assert self.started.acquire(timeout=60)

    def until_done(self):
        changed = self.stage._worker.changed
        with changed:
            assert changed.wait_for(self.stage._idle, timeout=60)

    def show(self, value, settings=HASTY, size=SIZE):
        """Return whether it was restored, and the value of the pixels."""
        self.stage.settings = settings
        frame = np.full((size[1], size[0], 3), value, np.uint8)
        out = np.full_like(frame, 7)
        shown = self.stage.restore(frame)
        if shown:
            self.stage.show(frame, out)
        assert (out == out[0, 0]).all()
        return shown, int(out[0, 0, 0])


@pytest.fixture
def unloaded():
    made = Setup()
    yield made
    made.permits.release(1000)
    made.loads.release(1000)
    made.stage.close()
    assert not made.stage._worker._thread.is_alive()
    assert [network.closed for network in made.loaded] == [1] * len(made.loaded)


@pytest.fixture
def setup(unloaded):
    assert unloaded.show(1) == (False, 7)
    unloaded.until_done()
    return unloaded


def counts(setup):
    return setup.stage.counts.enhanced, setup.stage.counts.late, setup.stage.counts.skipped


def test_what_is_done_within_the_budget_is_shown(setup):
    setup.permits.release(2)
    assert setup.show(50, PATIENT) == (True, 150)
    assert setup.show(60, PATIENT) == (True, 160)
    assert counts(setup) == (2, 0, 1)
    assert setup.stage.counts.network_s == 0.125


def test_what_is_late_is_dropped_and_the_next_frame_gets_its_own(setup):
    assert setup.show(50) == (False, 7)
    assert counts(setup) == (0, 1, 1)
    setup.permits.release(2)
    setup.until_done()
    assert setup.show(60, PATIENT) == (True, 160)
    assert setup.seen == [50, 60]


def test_while_the_network_is_busy_frames_go_by_without_waiting(setup):
    setup.show(50)
    setup.begun()
    # Whatever the budget: for what cannot be had nobody waits.
    for value in (51, 52, 53):
        assert setup.show(value, PATIENT) == (False, 7)
    assert counts(setup) == (0, 1, 4)
    assert setup.seen == [50]


def test_a_frame_that_is_given_up_may_change_while_the_network_is_at_it(setup):
    frame = np.full((SIZE[1], SIZE[0], 3), 50, np.uint8)
    setup.stage.settings = HASTY
    assert not setup.stage.restore(frame)
    setup.begun()
    frame[...] = 0
    assert (setup.loaded[0].taken == 50).all()


def test_in_place(setup):
    frame = np.full((SIZE[1], SIZE[0], 3), 50, np.uint8)
    setup.permits.release()
    setup.stage.settings = PATIENT
    assert setup.stage.restore(frame)
    setup.stage.show(frame, frame)
    assert (frame == 150).all()


def test_frames_go_by_until_the_network_is_loaded(unloaded):
    unloaded.loads = threading.Semaphore(0)
    for _ in range(3):
        assert unloaded.show(1, PATIENT) == (False, 7)
    unloaded.loads.release()
    unloaded.until_done()
    unloaded.permits.release()
    assert unloaded.show(50, PATIENT) == (True, 150)
    assert counts(unloaded) == (1, 0, 3)


def test_frames_of_another_size_get_a_network_of_their_own(setup):
    setup.permits.release(2)
    assert setup.show(50, PATIENT) == (True, 150)
    assert setup.show(50, PATIENT, (64, 48)) == (False, 7)
    setup.until_done()
    assert setup.loaded[0].closed == 1
    assert setup.show(60, PATIENT, (64, 48)) == (True, 160)
    assert [network.frame_size for network in setup.loaded] == [SIZE, (64, 48)]


def test_a_size_that_comes_while_the_network_is_busy_waits_for_it(setup):
    setup.show(50)
    setup.begun()
    assert setup.show(50, HASTY, (64, 48)) == (False, 7)
    assert setup.loaded[0].closed == 0
    setup.permits.release(2)
    setup.until_done()
    assert setup.show(50, HASTY, (64, 48)) == (False, 7)
    setup.until_done()
    assert setup.show(60, PATIENT, (64, 48)) == (True, 160)


def test_what_the_network_raises_reaches_the_caller_once_and_it_goes_on(setup):
    setup.error = RuntimeError('out of order')
    setup.permits.release()
    with pytest.raises(RuntimeError, match='out of order'):
        setup.show(50, PATIENT)
    setup.error = None
    setup.permits.release()
    assert setup.show(60, PATIENT) == (True, 160)


def test_what_the_network_raises_late_is_raised_by_the_next_frame_once(setup):
    setup.error = RuntimeError('out of order')
    assert setup.show(50) == (False, 7)
    setup.permits.release()
    setup.until_done()
    with pytest.raises(RuntimeError, match='out of order'):
        setup.show(51)
    setup.error = None
    setup.permits.release()
    assert setup.show(60, PATIENT) == (True, 160)
    assert setup.seen == [50, 60]


def test_a_network_that_cannot_be_loaded_is_said_once_and_not_tried_again(unloaded):
    unloaded.load_error = RuntimeError('no room')
    assert unloaded.show(1) == (False, 7)
    unloaded.until_done()
    with pytest.raises(RuntimeError, match='no room'):
        unloaded.show(2)
    unloaded.load_error = None
    for value in (3, 4):
        assert unloaded.show(value, PATIENT) == (False, 7)
    assert not unloaded.loaded
    unloaded.show(5, size=(64, 48))
    unloaded.until_done()
    unloaded.permits.release()
    assert unloaded.show(50, PATIENT, (64, 48)) == (True, 150)


def test_settings_reach_the_network_with_the_next_frame(setup):
    setup.permits.release()
    settings = BackgroundSettings(budget_s=60.0, strength=0.3)
    setup.show(50, settings)
    assert setup.loaded[0].settings is settings


def test_what_is_no_frame_is_refused_and_reaches_no_network(unloaded):
    frame = np.zeros((24, 32, 3), np.uint8)
    for pixels in (frame[..., 0], frame.astype(np.float32), frame[..., :1], frame[:0]):
        with pytest.raises(ValueError, match=r'must be uint8 \(H, W, 3\)'):
            unloaded.stage.restore(pixels)
    assert not unloaded.loaded
    assert unloaded.stage.counts == BackgroundCounts()


def test_only_what_was_restored_in_time_is_shown(setup):
    frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)

    def refused():
        with pytest.raises(ValueError, match='no frame was restored in time'):
            setup.stage.show(frame, frame)

    refused()
    setup.permits.release()
    assert setup.show(50, PATIENT) == (True, 150)
    assert setup.show(50) == (False, 7)
    refused()
    setup.permits.release()
    setup.until_done()
    # Done by now, but for a frame that has gone by.
    refused()
    setup.stage.close()
    refused()


def test_closing_waits_for_the_network_and_can_be_done_twice(setup):
    setup.show(50)
    setup.begun()
    setup.permits.release()
    setup.stage.close()
    setup.stage.close()
    assert setup.seen == [50]


def test_nothing_is_allocated_whether_a_frame_is_restored_late_or_skipped(setup):
    frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    network = setup.loaded[0]
    network.take, network.show = (lambda _: None), (lambda *_: None)
    network.taken = frame

    def all_three():
        setup.stage.settings = PATIENT
        setup.permits.release()
        assert setup.stage.restore(frame)
        setup.stage.show(frame, frame)
        setup.stage.settings = HASTY
        assert not setup.stage.restore(frame)
        assert not setup.stage.restore(frame)
        setup.permits.release()
        setup.until_done()

    for _ in range(3):
        all_three()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            all_three()
        # The list of what was seen grows; a frame would be 2304 bytes each time.
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))
    for family in ('real_esrgan_x2', 'gfpgan'):
        write_tiny(family, tmp_path / f'{family}.onnx')
        Store(store_folder(), catalogue()).add(tmp_path / f'{family}.onnx')


@pytest.mark.usefixtures('stored')
@pytest.mark.parametrize(
    ('size', 'precision', 'taken'),
    [((64, 48), 'fp32', (32, 24)), ((33, 17), 'fp32', (18, 10)), ((400, 300), 'fp16', (128, 128))],
)
def test_a_network_of_the_store_restores_frames_of_any_size(size, precision, taken):
    y, x = np.mgrid[: size[1], : size[0]]
    frame = np.stack([x / size[0], y / size[1], (x + y) / sum(size)], axis=-1)
    frame = np.rint(255 * frame).astype(np.uint8)
    stage = stored_background(
        'real_esrgan_x2', settings=BackgroundSettings(budget_s=60.0, strength=1.0), precision=precision
    )
    try:
        out = np.zeros_like(frame)
        assert not stage.restore(frame)
        with stage._worker.changed:
            assert stage._worker.changed.wait_for(stage._idle, timeout=60)
        assert stage._enhancer._tensor.size == taken
        assert stage.restore(frame)
        stage.show(frame, out)
        assert np.abs(out[4:-4, 4:-4].astype(int) - frame[4:-4, 4:-4]).max() <= 4
    finally:
        stage.close()


@pytest.mark.usefixtures('stored')
def test_what_cannot_restore_frames_is_said_before_the_first():
    with pytest.raises(ModelError, match="no model is named 'mine'"):
        stored_background('mine')
    with pytest.raises(EngineError, match='gfpgan is no family of backgrounds'):
        stored_background('gfpgan')
    with pytest.raises(EngineError, match='reduction by 4 does not suit real_esrgan_x2: choose from 1, 2'):
        stored_background('real_esrgan_x2', settings=BackgroundSettings(reduction=4))
    with pytest.raises(EngineError, match='there is no precision'):
        stored_background('real_esrgan_x2', precision='fp8')
