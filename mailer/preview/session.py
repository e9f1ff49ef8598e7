"""The state of one `mailer preview`: the campaign as it was last saved, its list, and the messages that were
shown.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from time import monotonic, time_ns

import watchfiles

from mailer.dataclass import dataclass
from mailer.errors import Place, Problem
from mailer.files import UnusableFile, open_regular_file
from mailer.preview.campaign_process import CampaignProcess, CampaignState
from mailer.preview.recipient_index import RecipientIndex
from mailer.text import make_printable, shorten
from mailer.web.message_view import MessageView

MAX_FOLDERS = 2_000  # that are watched
MAX_RENDERED = 8  # messages that are kept, so that their images and sources can be asked for
CLOCK_STEP = 50_000_000  # nanoseconds by which the time of a file may be behind the clock
SMALL_LIST = 0.12  # seconds in which a short list is read before the page hears of a change
SEARCH_SECONDS = 1.0  # that one look for a failing message takes
SEARCH_ROWS = 10_000  # rows that it takes at most
EXCERPT_LINES = 2  # lines before and after
MAX_EXCERPT_LINE = 200  # characters of a line
MAX_EXCERPT_FILE = 64 * 1024 * 1024  # of a file that are read to find the line

Excerpt = list[tuple[int, str]]  # line numbers and lines
_HIDDEN = {"node_modules", "__pycache__", "venv", "dist", "build", "site-packages"}


@dataclass(frozen=True, slots=True)
class RenderedMessage:
    """A message that can be shown, with its envelope; or the problems that keep it from being made."""

    view: MessageView | None
    sender: str = ""
    recipients: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class PreviewSession:
    """Reads, renders and watches a campaign until `close()`. Safe for several threads.

    `version` grows with each change that was read.
    """

    def __init__(self, path: Path, variables: dict[str, str]) -> None:
        self.path = path
        self.version = 0
        self.state = CampaignState()
        self.list_problems: list[Problem] = []
        self._folder = Path(tempfile.mkdtemp(prefix="mailer-preview-"))  # mode 0700
        self._process = CampaignProcess(path, variables)
        self._list_process = CampaignProcess(path, variables)
        self._list_is_read = threading.Event()
        self._list_is_read.set()
        self.index = RecipientIndex(self._folder / "list-0")
        self._list_count = 0
        self._rendered: OrderedDict[tuple[int, int], RenderedMessage] = OrderedDict()
        self._stamps: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._subscribers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch_files, name="watch", daemon=True)

    def start(self) -> None:
        """Read the campaign, begin with its list, and watch its files."""
        self._process.start()
        self._list_process.start()
        self.reload()
        self._watcher.start()

    def close(self) -> None:
        """End everything that was started, also in the middle of its work."""
        self._stopping.set()
        self._process.close()
        self._list_process.close()
        self.index.close()
        if self._watcher.is_alive():
            self._watcher.join()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._notify_subscribers()

    @property
    def is_closed(self) -> bool:
        """Whether `close()` was called."""
        return self._stopping.is_set()

    # -- changes

    def reload(self) -> None:
        """Read the campaign as its files are now; its list too, if that has changed."""
        started = time_ns()
        stamps = self._take_stamps(self._list_folders())
        before, self.state = self.state, self._process.load()
        # The campaign says which folders there are. In a new one, a file that was saved meanwhile counts as
        # not seen yet.
        later = self._take_stamps(self._list_folders())
        old = {path: stamp for path, stamp in later.items() if stamp[0] < started - CLOCK_STEP}
        self._stamps = old | stamps
        has_list = bool(self.state.name)
        is_changed = (
            self.state.list_fingerprint is None or self.state.list_fingerprint != before.list_fingerprint
        )
        if has_list and (is_changed or not self._list_count):
            self._read_list()
        elif not has_list:  # the campaign file has an error: the rows of before stay
            self.state = CampaignState(
                problems=self.state.problems, root=before.root, list_file=before.list_file,
                list_fingerprint=before.list_fingerprint, name="", server=before.server,
            )  # fmt: skip
        self.version += 1
        self._notify_subscribers()

    def _read_list(self) -> None:
        """Read the list into a new index, in a thread; wait a moment, in which a short one is complete."""
        if not self._list_is_read.is_set():
            self._list_process.interrupt()
        self._list_count += 1
        database = self._folder / f"list-{self._list_count}"
        process = self._list_process
        is_done = self._list_is_read = threading.Event()

        def read_list() -> None:
            problems = process.write_index(database)
            if is_done is self._list_is_read:
                self.list_problems = problems
            is_done.set()
            self._notify_subscribers()

        self.list_problems = []
        threading.Thread(target=read_list, name="list", daemon=True).start()
        old, self.index = self.index, RecipientIndex(database)
        ends = monotonic() + 5
        # The process needs a moment to start. The page shows the old rows until there are new ones.
        while (
            not self.index.count() and not is_done.wait(0.005) and monotonic() < ends and not self.is_closed
        ):
            pass
        is_done.wait(SMALL_LIST)
        old.close()

    def _watch_files(self) -> None:
        while not self._stopping.is_set():
            folders = self._list_folders()
            changes = watchfiles.watch(
                *folders, watch_filter=self._is_watched, debounce=400, step=20, stop_event=self._stopping,
                rust_timeout=200, yield_on_timeout=True, recursive=False, raise_interrupt=False,
            )  # fmt: skip
            is_watching = False
            for change in changes:
                # What was saved before the watch began is not told; it is seen once, by comparing.
                is_missed = not is_watching and self._take_stamps(folders) != self._stamps
                is_watching = True
                if change or is_missed:
                    self.reload()
                    if self._list_folders() != folders:
                        break

    def _take_stamps(self, folders: list[Path]) -> dict[str, tuple[int, int]]:
        """Return the time and the size of each watched file, by its path; of a folder only that it is there."""
        stamps = {}
        for folder in folders:
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if self._is_watched(watchfiles.Change.modified, entry.path):
                        stat = entry.stat()
                        is_file = entry.is_file()
                        stamps[entry.path] = (stat.st_mtime_ns, stat.st_size) if is_file else (0, 0)
        return stamps

    def _list_folders(self) -> list[Path]:
        """Return the folders whose changes may concern the campaign: the project's, and the list's."""
        root = self.state.root or self.path.absolute().parent
        folders = {root, self.path.absolute().parent}
        if self.state.list_file is not None:
            folders.add(self.state.list_file.parent)
        for folder, names, _ in os.walk(root):
            names[:] = [name for name in names if not name.startswith(".") and name not in _HIDDEN]
            folders.add(Path(folder))
            if len(folders) >= MAX_FOLDERS:
                break
        return sorted(folder for folder in folders if folder.is_dir())

    @staticmethod
    def _is_watched(_change: watchfiles.Change, path: str) -> bool:
        name = os.path.basename(path)
        return not (
            name.startswith((".", "#")) or name.endswith(("~", ".swp", ".swx", ".tmp")) or name == "4913"
        )

    def subscribe(self) -> asyncio.Event:
        """Return an event of the running loop that is set after each change."""
        event = asyncio.Event()
        with self._lock:
            self._subscribers.add((asyncio.get_running_loop(), event))
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """End what `subscribe` began."""
        with self._lock:
            self._subscribers = {pair for pair in self._subscribers if pair[1] is not event}

    def _notify_subscribers(self) -> None:
        with self._lock:
            subscribers = list(self._subscribers)
        for loop, event in subscribers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    # -- messages

    def render(self, position: int) -> RenderedMessage | None:
        """Return the current message of the recipient at `position`; None if that row was not read yet."""
        version = self.version
        with self._lock:
            if (known := self._rendered.get((position, version))) is not None:
                return known
        rows = self.index.read_recipients(position, 1)
        if not rows or rows[0][0] != position:
            return None
        made = self._process.render(rows[0][1])
        view = None if made.problems else MessageView(made.content)
        message = RenderedMessage(view, made.sender, tuple(made.recipients), tuple(made.problems))
        with self._lock:
            self._rendered[position, version] = message
            while len(self._rendered) > MAX_RENDERED:
                self._rendered.popitem(last=False)
        return message

    def find_rendered(self, position: int, version: int) -> MessageView | None:
        """Return the message of a position as it was in that version of the campaign.

        None if it is not kept any more; one of the current version is rendered again.
        """
        with self._lock:
            known = self._rendered.get((position, version))
        if known is None and version == self.version:
            known = self.render(position)
        return known.view if known is not None else None

    def lint(self, position: int) -> list[dict[str, object]]:
        """Return the findings about the message at `position`, with the lines around their places."""
        rows = self.index.read_recipients(position, 1)
        if not rows:
            return []
        return [
            {
                "place": str(found.place), "line": found.place.line, "rule": found.rule, "text": found.text,
                "reason": found.reason, "excerpt": self._read_excerpt(found.place),
            }
            for found in self._process.lint(rows[0][1])
        ]  # fmt: skip

    def find_failing(self, start: int) -> tuple[int | None, int]:
        """Look from `start` on for a recipient whose message cannot be made, for about a second.

        Return its position, or None, and the position up to which messages were rendered.
        """
        rows = self.index.read_recipients(start, SEARCH_ROWS)
        if not rows:
            return None, start
        searched = self._process.find_failing([recipient for _, recipient in rows], SEARCH_SECONDS)
        if searched.has_failed:
            return rows[searched.count][0], rows[searched.count][0]
        return None, rows[searched.count - 1][0] + 1

    def find_random(self) -> int | None:
        """Return the position of a random recipient; None if the list is empty."""
        return self.index.find_random(random.Random())  # noqa: S311 - nothing secret

    def describe_problems(self, problems: Iterable[Problem]) -> list[dict[str, object]]:
        """Return problems as the page shows them, with the lines around their places."""
        return [
            {
                "place": str(problem.place or ""),
                "line": problem.place.line if problem.place else 0,
                "text": problem.text,
                "excerpt": self._read_excerpt(problem.place),
            }
            for problem in problems
        ]

    def _read_excerpt(self, place: Place | None) -> Excerpt:
        root = self.state.root or self.path.absolute().parent
        files = [self.path.absolute(), *([self.state.list_file] if self.state.list_file else [])]
        return read_excerpt(place, [root], files)


def read_excerpt(place: Place | None, folders: Iterable[Path], files: Iterable[Path] = ()) -> Excerpt:
    """Return the lines around `place` with their numbers.

    The list is empty if the place has no line, or if its file is neither one of `files` nor in one of
    `folders`.
    """
    if place is None or not place.line or not place.file or place.file.endswith(" "):
        return []
    path = Path(place.file).resolve()
    if path not in {file.resolve() for file in files} and not any(
        path.is_relative_to(folder.resolve()) for folder in folders
    ):
        return []
    first = max(1, place.line - EXCERPT_LINES)
    try:
        with open_regular_file(path) as stream:
            stream.seek(0, 2)
            if stream.tell() > MAX_EXCERPT_FILE:
                return []
            stream.seek(0)
            lines = list(islice(stream, first - 1, place.line + EXCERPT_LINES))
    except (UnusableFile, OSError):
        return []
    shown = (
        make_printable(shorten(line.decode("utf-8", "replace").rstrip("\r\n"), MAX_EXCERPT_LINE))
        for line in lines
    )
    return [
        (first + offset, _keep_indent(line, text))
        for offset, (line, text) in enumerate(zip(lines, shown, strict=True))
    ]


def _keep_indent(line: bytes, text: str) -> str:
    """Return `text` with the tabs at its beginning as blanks, because they hide nothing."""
    indent = len(line) - len(line.lstrip(b"\t"))
    return "    " * indent + text.removeprefix("\\x09" * indent)
