"""A local variable of a synchronous view that failed."""

import asyncio
import contextlib

from asgiref.sync import sync_to_async


class Payload:
    pass


payloads = []


def view():
    payload = Payload()
    payloads.append(payload)
    raise LookupError("user:42")


async def main():
    with contextlib.suppress(LookupError):
        await sync_to_async(view)()
    # The one thread of the views runs the next when it has let go of the last.
    await sync_to_async(int)()


def make():
    asyncio.run(main())
    return payloads.pop()
