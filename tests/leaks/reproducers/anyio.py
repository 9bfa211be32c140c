"""The event loop, after `anyio.run` of something that used a worker thread."""

import asyncio
import threading

import anyio
import anyio.to_thread

loops = []


async def main():
    loops.append(asyncio.get_running_loop())
    await anyio.to_thread.run_sync(int)


def make():
    anyio.run(main)
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join()  # the worker knows its loop until it has ended
    return loops.pop()
