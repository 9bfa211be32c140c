"""An object that was sent with a signal."""

from psygnal import Signal


class Job:
    pass


class Queue:
    finished = Signal(Job)


queue = Queue()


def make():
    job = Job()
    queue.finished.emit(job)
    return job
