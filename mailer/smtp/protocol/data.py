"""Content on the wire: what may leave, and DATA's transparency (RFC 5321 2.3.8, 4.5.2)."""

from __future__ import annotations

END = b".\r\n"


def has_only_crlf(content: bytes) -> bool:
    """Return whether CR and LF occur in `content` only as CRLF. Other line ends are how mail is smuggled
    into a conversation.

    Two passes in C: splitlines() ends a line at CRLF, CR and LF alike. If there are twice as many CRs and LFs
    as line ends, each end is a CRLF. It takes half the time of counting CR, LF and CRLF.
    """
    ends = len(content.splitlines()) - (not content.endswith((b"\r", b"\n")) and bool(content))
    return len(content) - len(content.translate(None, b"\r\n")) == 2 * ends


def stuff_dots(content: bytes) -> bytes:
    """Return `content` as DATA needs it, without the final dot.

    Dots at the start of lines are doubled, and the last line ends in CRLF.
    """
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def first_line_length(content: bytes) -> int:
    """Return how many octets the first line of `content` has, its CRLF included.

    Without a line end it is all of them.
    """
    end = content.find(b"\r\n")
    return end + 2 if end >= 0 else len(content)
