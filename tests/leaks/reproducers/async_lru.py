"""A local variable of a cached call that failed."""

import asyncio
import contextlib

from async_lru import alru_cache


class Payload:
    pass


fetched = []


@alru_cache
async def fetch(key):
    payload = Payload()
    fetched.append(payload)
    raise LookupError(key)


def make():
    with contextlib.suppress(LookupError):
        asyncio.run(fetch("user:42"))
    return fetched.pop()
