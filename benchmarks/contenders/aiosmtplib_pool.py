"""aiosmtplib: a number of sessions that share the list."""

import asyncio

import aiosmtplib

from benchmarks.contenders.common import Newsletter, Stopwatch, Work, work


async def send(job: Work, newsletter: Newsletter) -> int:
    rows = job.rows()
    sent = 0

    async def session() -> None:
        nonlocal sent
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=job.port, use_tls=True, tls_context=job.context())
        await client.connect()
        await client.login("user", "password")
        for row in rows:
            await client.send_message(newsletter.message(row))
            sent += 1
        await client.quit()

    await asyncio.gather(*(session() for _ in range(job.connections)))
    return sent


job = work()
newsletter = Newsletter(job.folder)
stopwatch = Stopwatch()
stopwatch.finish(asyncio.run(send(job, newsletter)))
