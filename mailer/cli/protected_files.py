"""The files that a campaign is made of: none of them is to be replaced by a report."""

from __future__ import annotations

from pathlib import Path

from mailer.campaign import Campaign, Pattern


def files_of(campaign: Campaign) -> dict[Path, str]:
    """file -> what it is, as far as names are fixed (a pattern's are known only when a recipient is)."""
    files = {campaign.path: "campaign file"}
    source = getattr(campaign.recipients, "file", None)
    if isinstance(path := getattr(source, "path", None), Path):
        files[path] = "list of recipients"
    patterns = [(campaign.template, "template"), (campaign.text, "text template")]
    patterns += [(attachment.path, "attachment") for attachment in campaign.attachments]
    patterns += [(image, "image") for image in campaign.images.values()]
    for pattern, what in patterns:
        for path in _places(campaign, pattern):
            files[path] = what
    return files


def _places(campaign: Campaign, pattern: Pattern | None) -> list[Path]:
    """Where a file may lie: beside the campaign, or in `templates/` of the root (contract section 1)."""
    if pattern is None or "{" in pattern.source:
        return []
    return [folder / pattern.source for folder in (campaign.path.parent, campaign.root / "templates", campaign.root)]
