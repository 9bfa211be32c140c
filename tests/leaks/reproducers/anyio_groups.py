"""A local variable of a task that failed in a task group."""

import anyio


class Payload:
    pass


payloads = []


async def fail():
    payload = Payload()
    payloads.append(payload)
    raise LookupError("user:42")


async def main():
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
    except* LookupError:
        pass


def make():
    anyio.run(main)
    return payloads.pop()
