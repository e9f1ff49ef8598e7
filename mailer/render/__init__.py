"""From a recipient to a message: `compile_campaign(campaign).render(recipient)`.

- Once for a campaign: patterns and templates are parsed, files are read and encoded (`compile.py`).
- Once for each way through a template's branches: the template is traced (`symbols.py`, `tracing.py`,
  `programs.py`), and what is made of its output is made of a skeleton (`skeleton.py`, `transform.py`): HTML of
  Markdown and MJML, CSS in style attributes (`markup.py`), the text alternative (`plain_text.py`), images
  (`html.py`), the encoding (`body.py`).
- For each recipient: the template's questions about columns, the slots, a header (`head.py`), a join (`mime.py`).

What cannot be compiled is rendered by Jinja2, for that recipient or for that template (`pages.py`).
"""
