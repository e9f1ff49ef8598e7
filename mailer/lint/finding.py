"""A finding of a rule, and the rules: each has an id and the reason for it."""

from __future__ import annotations

from mailer.dataclass import dataclass
from mailer.errors import Place

# id -> why. The ids are fixed: users put them under `ignore:` in a campaign file.
RULES = {
    "from-freemail": "mail in a free provider's name fails its DMARC policy and is rejected or marked as spam",
    "null-values": "they are empty in the mail",
    "unsubscribe-missing": "Gmail and Yahoo ask bulk senders for one-click unsubscribe (RFC 8058)",
    "one-click-missing": "Gmail and Yahoo show their button only with `one_click: true` and an https url (RFC 8058)",
    "one-click-unsigned": "RFC 8058 wants a DKIM signature over List-Unsubscribe and List-Unsubscribe-Post; "
    "set `dkim`, or ignore this if the server signs",
    "unsubscribe-invisible": "Gmail and Yahoo ask for a visible unsubscribe link in the body",
    "subject-empty": "an empty subject looks like spam",
    "subject-long": "most clients show 40 to 70 characters of a subject",
    "subject-reply": "a subject that pretends to be an answer is against the bulk sender rules of Gmail and Yahoo",
    "header-size": "many servers refuse a header of more than 16 KB, or a single field of more than 4 KB",
    "html-clipped": "Gmail clips HTML of more than 102 KB, and with it the unsubscribe link and the tracking of opens",
    "text-empty": "a mail without text has nothing for screen readers and text clients, and looks like spam",
    "image-alt": "a reader with images off, or a screen reader, sees nothing",
    "image-broken": "mail programs show an empty frame",
    "image-unused": "the image travels with every message and is never shown",
    "image-remote": "an image over plain http is blocked or warned about by most clients",
    "link-http": "a link over plain http is marked as unsafe by browsers",
    "link-local": "a link to this machine opens on this machine only",
    "link-empty": "a link that leads nowhere",
    "links-differ": "text and HTML should lead to the same places; filters compare them",
    "placeholder": "it looks like a field that was to be filled in",
    "client-tag": "big clients remove this element",
    "client-css": "big clients ignore this",
    "repeated-recipient": "the first one counts",
    "value-cut": "YAML takes ` #` and what follows as a comment; a text with it needs quotes",
    "unknown-rule": "`ignore` names rules by the id in brackets behind a warning",
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that `mailer check` noticed. Shown as `FILE:LINE: warning: text [rule]`."""

    place: Place
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: warning: {self.text} ({RULES[self.rule]}) [{self.rule}]"
