"""A connection that nobody uses any more, while the event loop lives on."""

import asyncio

from databases import Database

runner = asyncio.Runner()


async def main():
    return Database("sqlite:///users.db").connection()


def make():
    return runner.run(main())
