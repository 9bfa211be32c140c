"""An object with a hook in the transaction it knows, after the transaction was aborted."""

import transaction


class Job:
    def __init__(self):
        self.transaction = transaction.get()
        self.transaction.addAfterCommitHook(self.report)

    def report(self, success):
        pass


def make():
    job = Job()
    transaction.abort()
    return job
