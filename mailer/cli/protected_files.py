"""The files that a campaign is made of. No report, trace or mbox may replace one of them."""

from __future__ import annotations

from pathlib import Path

from mailer.campaign import Campaign, Pattern


def list_protected_files(campaign: Campaign) -> dict[Path, str]:
    """Return file -> what it is, for each name that is the same for every recipient."""
    files = {campaign.path: "campaign file"}
    source = getattr(campaign.recipients, "file", None)
    if isinstance(path := getattr(source, "path", None), Path):
        files[path] = "list of recipients"
    patterns = [(campaign.template, "template"), (campaign.text, "text template")]
    patterns += [(attachment.path, "attachment") for attachment in campaign.attachments]
    patterns += [(image, "image") for image in campaign.images.values()]
    for pattern, what in patterns:
        for path in _possible_paths(campaign, pattern):
            files[path] = what
    return files


def _possible_paths(campaign: Campaign, pattern: Pattern | None) -> list[Path]:
    """Return the paths at which `pattern` is looked up: beside the campaign, in `templates/` and in the root."""
    if pattern is None or "{" in pattern.source:
        return []
    return [
        folder / pattern.source
        for folder in (campaign.path.parent, campaign.root / "templates", campaign.root)
    ]
