import threading

import pytest

from facefusion_ros.personas.worker import Worker


class Jobs:
    """Numbers are jobs, each done when it is permitted; a negative one raises."""

    def __init__(self):
        self.started, self.permits = threading.Semaphore(0), threading.Semaphore(0)
        self.waiting, self.done = [], []
        self.worker = Worker('jobs', self.take, self.do, self.done.append)

    def take(self):
        return self.waiting.pop(0) if self.waiting else None

    def do(self, job):
        self.started.release()
        assert self.permits.acquire(timeout=60)
        if job < 0:
            raise ValueError(str(job))

    def give(self, *jobs):
        with self.worker.changed:
            self.waiting += jobs
            self.worker.changed.notify_all()

    def wait(self, over, timeout_s=60.0):
        with self.worker.changed:
            return self.worker.wait(over, timeout_s)


@pytest.fixture
def jobs():
    made = Jobs()
    yield made
    made.permits.release(1000)
    made.worker.close()
    assert not made.worker._thread.is_alive()


def test_jobs_are_done_in_turn(jobs):
    jobs.permits.release(3)
    jobs.give(1, 2, 3)
    assert jobs.wait(lambda: len(jobs.done) == 3) is None
    assert jobs.done == [1, 2, 3]


def test_nothing_is_locked_while_a_job_is_done(jobs):
    jobs.give(1)
    assert jobs.started.acquire(timeout=60)
    assert jobs.worker.changed.acquire(timeout=60)
    assert jobs.worker.working
    jobs.worker.changed.release()
    jobs.permits.release()
    jobs.wait(lambda: not jobs.worker.working)
    assert jobs.done == [1]


def test_without_time_nobody_waits(jobs):
    jobs.give(1)
    assert jobs.wait(lambda: False, 0.0) is None
    assert jobs.wait(lambda: False, 1e-6) is None
    assert jobs.done == []


def test_what_a_job_raises_is_told_once_and_the_next_is_done(jobs):
    jobs.permits.release(2)
    jobs.give(-1, 5)
    error = jobs.wait(lambda: False)
    assert isinstance(error, ValueError)
    assert jobs.wait(lambda: jobs.done == [5]) is None


def test_closing_waits_for_the_job_and_leaves_the_others():
    jobs = Jobs()
    jobs.give(1, 2)
    assert jobs.started.acquire(timeout=60)
    ended = threading.Thread(target=jobs.worker.close)
    ended.start()
    # Closed is what it is once the lock has been let go of; only then may the job end.
    jobs.wait(lambda: jobs.worker._closed)
    jobs.permits.release()
    ended.join()
    jobs.worker.close()
    assert jobs.done == [1]
