"""mailmerge: a login for each message.

It has no text alternative beside inline images, so it sends the HTML alone.
"""

import os
from pathlib import Path

from mailmerge.sendmail_client import SendmailClient
from mailmerge.template_message import TemplateMessage

from benchmarks.contenders.common import Stopwatch, work
from benchmarks.workload import variables

HEADERS = """TO: {{ name }} <{{ email }}>
SUBJECT: {{ company }}: news for {{ name }}
FROM: Example News <news@example.com>
ATTACHMENT: logo.png
Content-Type: text/html

"""

job = work()
os.environ["SSL_CERT_FILE"] = str(job.ca_file)
template = job.folder / "mailmerge_template.txt"
html = (job.folder / "newsletter.html.j2").read_text(encoding="utf-8")
template.write_text(HEADERS + html.replace("cid:logo", "logo.png"), encoding="utf-8")
config = job.folder / "mailmerge_server.conf"
config.write_text(
    f"[smtp_server]\nhost = localhost\nport = {job.port}\nsecurity = SSL/TLS\nusername = user\n",
    encoding="utf-8",
)
client = SendmailClient(Path(config))
client.password = "password"
message = TemplateMessage(template)
stopwatch = Stopwatch()
sent = 0
for row in job.rows():
    client.sendmail(*message.render(variables() | row))
    sent += 1
stopwatch.finish(sent)
