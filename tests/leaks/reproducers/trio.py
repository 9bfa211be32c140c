"""A local variable of a task that was cancelled."""

import trio
import trio.testing


class Payload:
    pass


payloads = []


async def wait():
    payload = Payload()
    payloads.append(payload)
    await trio.sleep_forever()


async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def make():
    trio.run(main)
    return payloads.pop()
