"""A campaign file to a compiled campaign, with the problems of file, templates and list in one round."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

from mailer.campaign.access import TRUSTED, Access
from mailer.campaign.load import read_campaign
from mailer.campaign.model import Campaign, RecipientSource
from mailer.campaign.sources import read_recipients
from mailer.campaign.sources.rows import MAX_SHOWN
from mailer.errors import InputError, Problem, RenderError, append_remainder, sort_problems
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.render.render_process import RenderProcess


def prepare_campaign(
    path: str | os.PathLike[str],
    *,
    variables: Mapping[str, str] | None = None,
    access: Access = TRUSTED,
    may_sign: bool = True,
) -> tuple[Campaign, CompiledCampaign]:
    """Load and compile the campaign at `path`.

    :param variables: the values of `--var`.
    :param access: what the campaign may make the mailer read.
    :param may_sign: whether the DKIM key is read. Without it, the messages are not signed.
    :raises InputError: all problems of the campaign file and of its templates; if there are any, those of the
        list, too.
    """
    result = read_campaign(path, variables=variables, access=access)
    campaign, problems = result.campaign, list(result.problems)
    compiled = None
    if campaign is not None:
        try:
            compiled = compile_campaign(campaign if may_sign else replace(campaign, dkim=None))
        except InputError as error:
            known = {problem.place for problem in problems}  # of patterns that both look at
            problems += [problem for problem in error.problems if problem.place not in known]
    if problems or campaign is None or compiled is None:
        if campaign is not None:
            problems += find_list_problems(campaign.recipients)
        if campaign is not None and compiled is not None:
            problems += _find_render_problems(campaign, compiled)
        raise InputError(sort_problems(problems))
    return campaign, compiled


def find_list_problems(source: RecipientSource) -> list[Problem]:
    """Return the first 20 problems of a list and the number of the others, or why it cannot be read."""
    found: list[Problem] = []
    count = 0
    try:
        for recipient in read_recipients(source):
            if recipient.problem is not None:
                count += 1
                if count <= MAX_SHOWN:
                    found.append(recipient.problem)
    except InputError as error:
        return [*append_remainder(found, count), *error.problems]
    return append_remainder(found, count)


def _find_render_problems(campaign: Campaign, compiled: CompiledCampaign) -> list[Problem]:
    """What is wrong with the first message that can be made, for example an undefined name."""
    try:
        with closing(read_recipients(campaign.recipients)) as recipients, RenderProcess(compiled) as process:
            for recipient in recipients:
                if recipient.problem is None:
                    process.render(recipient)
                    break
    except RenderError as error:
        return list(error.problems)
    except InputError:
        pass  # the list cannot be read, which `find_list_problems` says
    return []
