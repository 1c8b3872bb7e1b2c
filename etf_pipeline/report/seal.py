"""What a page was made from, kept with it, so that one that would be the same is not made again."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib import resources
from typing import Any

from etf_pipeline._version import __version__
from etf_pipeline.model.benchmark_portfolios import benchmark_portfolio
from etf_pipeline.report.inputs import Inputs

# Raise when a page would have other numbers of the same inputs. Changes of this folder's own code
# and templates need no other version: they are part of every key.
RULES = 1
_SEAL = re.compile(rb"\n<!-- made from ([0-9a-f]{64}), as ([0-9a-f]{64}) -->\n\Z")


def key_of(inputs: Inputs, name: str | None) -> str | None:
    """A hash over all that the report of a portfolio shows, or of the universe when None.

    None when nobody can tell whether prices are the same.
    """
    if name is None:
        specs, tickers = list(inputs.specs.values()), sorted(inputs.origins)
        why = None
    else:
        spec = inputs.specs.get(name)
        other = None if spec is None else benchmark_portfolio(spec, inputs.specs)
        specs = [s for s in (spec, other) if s is not None]
        tickers = _named(inputs, name)
        why = inputs.not_backtested.get(name)
    origins = {t: inputs.origins.get(t) for t in tickers}
    if any(origin is not None and origin.version is None for origin in origins.values()):
        return None
    told: dict[str, Any] = {
        "rules": [RULES, __version__, _own_code()],
        "name": name,
        "as_of": inputs.as_of,
        "specs": [s.model_dump(mode="json") for s in specs],
        "histories": {t: None if o is None else o.version for t, o in origins.items()},
        "rates": {t: inputs.contents.get(t) for t in sorted(inputs.conversion.rates.series)},
        "tables": dict(inputs.hashes),
        "outdated": list(inputs.outdated_tables),
        "names": {t: inputs.names.get(t) for t in tickers},
        "facts": {c: {t: by.get(t) for t in tickers} for c, by in sorted(inputs.facts.items())},
        "assumed": [inputs.lookback_years, inputs.periods_per_year, inputs.conversion.default],
        "not_backtested": why,
        "absent": list(inputs.absent) if name is None else [],
        "failed": list(inputs.failed),
    }
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _named(inputs: Inputs, name: str) -> list[str]:
    """Tickers that a portfolio's report may have."""
    spec = inputs.spec(name)
    asked = [] if spec is None else [*spec.tickers, *spec.beside, *spec.against, *spec.comparison]
    return sorted({*asked, *(r["ticker"] for r in inputs.rows("weights", portfolio=name))})


@cache
def _own_code() -> str:
    """A hash over the code and the templates of this folder."""
    digest = hashlib.sha256()
    folder = resources.files("etf_pipeline.report")
    for part in (folder, folder / "templates"):
        for file in sorted(part.iterdir(), key=lambda f: f.name):
            if file.is_file():
                digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def sealed(page: str, key: str | None) -> str:
    """The page with a last line that says what it was made from, and what it was then."""
    if key is None:
        return page
    return f"{page}\n<!-- made from {key}, as {_over(page.encode(), key)} -->\n"


def made_from(content: bytes) -> str | None:
    """The key that a page was sealed with; None when it has none, or is not as it was made."""
    found = _SEAL.search(content)
    if found is None:
        return None
    key, as_made = (group.decode() for group in found.groups())
    return key if _over(content[: found.start()], key) == as_made else None


def _over(page: bytes, key: str) -> str:
    return hashlib.sha256(page + key.encode()).hexdigest()
