"""The renderer's limit: `template.render` of the HTML, and nothing else."""

from benchmarks.contenders.common import Newsletter, Stopwatch, work

job = work()
newsletter = Newsletter(job.folder)
rows = list(job.rows())
stopwatch = Stopwatch()
for row in rows:
    newsletter.html.render(newsletter.common | row)
stopwatch.finish(len(rows))
