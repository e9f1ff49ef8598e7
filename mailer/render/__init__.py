"""From a recipient to a message: `compile_campaign(campaign).render(recipient)`.

What is made once: templates compiled, constant images and attachments encoded, patterns parsed, headers that
do not vary. What is made once a structure (`slots.py`): HTML of Markdown and MJML, the text of an HTML
message. What is left a recipient: Jinja2, the encoding of lines not seen before (`body.py`), a header, a
join.

CSS in a template's <style> is sent as it is written: inlining it costs 0.26 ms a recipient (css-inline), more
than all the rest together, and changes what the author wrote. Markdown's layout has its styles inline, and
MJML brings them.
"""
