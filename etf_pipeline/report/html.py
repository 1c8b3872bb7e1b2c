"""One page of HTML from its sections: it loads nothing, and runs only the script of its list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import jinja2

from etf_pipeline.report.inputs import Inputs
from etf_pipeline.report.listing import script, script_source
from etf_pipeline.report.parts import Digest, Section


def rendered(
    inputs: Inputs,
    title: str,
    sections: Sequence[Section],
    warnings: Sequence[str],
    invented: bool,
    subtitle: str,
    facts: Sequence[tuple[str, str]],
) -> str:
    """The page.

    Args:
        inputs: what it is made from.
        title: its heading.
        sections: in their order.
        warnings: sentences that stand out at the top.
        invented: whether any price is simulated, which is told at both ends.
        subtitle: a sentence under the heading.
        facts: the main figures, by name.
    """
    listed = any(section.listing is not None for section in sections)
    return _template().render(
        title=title,
        subtitle=subtitle,
        facts=facts,
        sections=sections,
        warnings=warnings,
        simulated=invented,
        script=script() if listed else None,
        script_source=script_source() if listed else None,
        footer=f"As of {inputs.as_of}. Information, not advice.",
    )


@cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("etf_pipeline.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.tests["digest"] = lambda cell: isinstance(cell, Digest)
    return environment.get_template("report.html.j2")
