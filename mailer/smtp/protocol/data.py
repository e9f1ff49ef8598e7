"""Content on the wire: what may leave, and DATA's transparency (RFC 5321 2.3.8, 4.5.2)."""

from __future__ import annotations

END = b".\r\n"


def only_crlf(content: bytes) -> bool:
    """Whether CR and LF occur only as CRLF: anything else is how mail is smuggled into a conversation.

    Two passes in C: splitlines() ends a line at CRLF, CR and LF alike. When there are twice as many CRs and LFs as line
    ends, each end is a CRLF. Beside counting the three of them this takes half the time.
    """
    ends = len(content.splitlines()) - (not content.endswith((b"\r", b"\n")) and bool(content))
    return len(content) - len(content.translate(None, b"\r\n")) == 2 * ends


def stuffed(content: bytes) -> bytes:
    """Content for DATA: dots doubled at the beginning of lines, the last line ended; without the final dot."""
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def first_line(content: bytes) -> int:
    """How many octets the first line has, its CRLF included; all of them where there is no line end."""
    end = content.find(b"\r\n")
    return end + 2 if end >= 0 else len(content)
