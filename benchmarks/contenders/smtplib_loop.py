"""The standard library: one session, one message after the other."""

import smtplib

from benchmarks.contenders.common import Newsletter, Stopwatch, work

job = work()
newsletter = Newsletter(job.folder)
stopwatch = Stopwatch()
sent = 0
with smtplib.SMTP_SSL("127.0.0.1", job.port, context=job.context()) as server:
    server.login("user", "password")
    for row in job.rows():
        server.send_message(newsletter.message(row))
        sent += 1
stopwatch.finish(sent)
