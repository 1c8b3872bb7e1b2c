"""The state of a store: a row per ticker and one per stage, told from footers and manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etf_pipeline.errors import CorruptFileError, EtfError, UnreadableFileError
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.portfolio_file import universe_with_rates
from etf_pipeline.model.schemas import QUARANTINE
from etf_pipeline.settings import Settings
from etf_pipeline.store.inventory import describe_histories
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import read_manifest, recent_manifests
from etf_pipeline.store.origins import incomplete
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.stages import Stage, read_stages
from etf_pipeline.store.unfit import unfit_files


def store_status(data_dir: Path, elsewhere: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Per ticker: rows, range, source, quarantine, last outcome, and the problem, if any.

    Args:
        data_dir: the store.
        elsewhere: ids of raw batches that are in the share of this store.

    `distributions` says which are withheld, and how far our adjusted close is from the source's.
    """
    layout = Layout(data_dir)
    last, gone = _last_outcomes(layout), dict(incomplete(layout, elsewhere))
    rows = []
    for info in describe_histories(layout):
        outcome = last.pop(info.ticker, None)
        held, unread = _quarantined(layout, info.ticker)
        rows.append(
            {
                "ticker": info.ticker,
                "rows": info.rows,
                "first": info.first_date,
                "last": info.last_date,
                "source": info.source,
                "currency": info.currency,
                "quarantined": held,
                "distributions": info.distributions,
                "outcome": outcome.outcome if outcome else None,
                "problem": info.error
                or unread
                or (outcome.reason if outcome is not None and not outcome.good else None)
                or gone.get(info.ticker),
            }
        )
    for ticker, outcome in sorted(last.items()):  # asked for, but never stored
        if not outcome.good:
            rows.append(
                dict.fromkeys(("first", "last", "currency"))
                | {
                    "ticker": ticker,
                    "rows": 0,
                    "source": outcome.source,
                    "quarantined": 0,
                    "distributions": None,
                    "outcome": outcome.outcome,
                    "problem": outcome.reason or outcome.outcome,
                }
            )
    return sorted(rows, key=lambda r: str(r["ticker"]))


def stage_status(settings: Settings) -> list[Stage]:
    """How the last run of each stage went; of partitions that the universe has, where it tells."""
    found = read_stages(Layout(settings.data_dir))
    try:
        universe = universe_with_rates(
            settings.universe_file, settings.portfolios_file, settings.base_currency
        )
    except EtfError:
        return found
    known = {"", *universe.partitions()}
    return [s for s in found if s.partition in known]


def unfit_status(data_dir: Path) -> list[dict[str, str]]:
    """Files besides histories that nothing can read: `path`, `problem` with the remedy."""
    found = unfit_files(Layout(data_dir))
    return [{"path": str(u.path), "problem": u.sentence} for u in found]


def _last_outcomes(layout: Layout) -> dict[str, Outcome]:
    """The newest outcome of each ticker's download."""
    found: dict[str, Outcome] = {}
    for path in recent_manifests(layout, assets.RAW_PRICES):
        for outcome in read_manifest(path):
            found.setdefault(outcome.subject, outcome)
    return found


def _quarantined(layout: Layout, ticker: str) -> tuple[int | None, str | None]:
    """How many sessions are held back; None, and why, where nobody can tell."""
    try:
        rows = read_table(layout.of(QUARANTINE, ticker), ["date", "severity"]).to_pylist()
    except FileNotFoundError:
        return 0, None
    except (CorruptFileError, UnreadableFileError) as error:
        return None, str(error)
    return len({r["date"] for r in rows if r["severity"] == "quarantined"}), None
