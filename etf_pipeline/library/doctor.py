"""`etf doctor`: what would go wrong, found before it does."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.errors import (
    CorruptFileError,
    DiskFullError,
    EtfError,
    EventError,
    RawMissingError,
    SettingsError,
    StoreError,
)
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.events.status import examined_status
from etf_pipeline.model.schemas import RAW, Table
from etf_pipeline.settings import Settings, environment, load_settings
from etf_pipeline.store.closed import cannot_open, is_there
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    from etf_pipeline.share.copy import Copy

_LEAST_FREE = 1.0  # GiB
_LEAST_OF_HOME = 0.05  # GiB, for what an orchestrator records of a run
_PARTS = ("dagster", "yfinance", "duckdb", "matplotlib", "confluent_kafka")


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


def examine(data_dir: Path | None) -> Iterator[Finding]:
    """Every check in order; those that need settings are left out when these are wrong."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0])
    yield Finding("packages", True, _packages())
    try:
        settings = load_settings(data_dir=data_dir)
    except EtfError as error:
        yield Finding("settings", False, str(error))
        return
    yield Finding("settings", True, f"source {settings.source}, store {settings.data_dir}")
    checks: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("universe", _universe),
        ("portfolios", _portfolios),
        ("corrections", _corrections),
        ("risk-free", _risk_free),
        ("store writable", _writable),
        ("disk", _disk),
        ("share", _share),
        ("histories", _histories),
        ("raw batches", _raw_batches),
        ("manifests", _manifests),
        ("tables", _tables),
        ("upkeep", _upkeep),
        ("events", _events),
        ("parked records", _parked),
        ("signing key", _signing),
        ("refused events", _refused),
    )
    for name, check in checks:
        try:
            yield Finding(name, True, check(settings))
        except (EtfError, OSError) as error:
            yield Finding(name, False, _in_words(error))


def _in_words(error: Exception) -> str:
    named = error.filename if isinstance(error, OSError) else None
    return str(error if named is None else cannot_open(named, error) or error)


def _signing(_: Settings) -> str:
    from etf_pipeline.events.proof.signing import load_signer

    try:
        chosen = load_event_settings()
    except SettingsError:
        return "not looked for: see events"
    signer = load_signer(chosen)
    return "no key is set" if signer is None else f"key {signer.key[:16]}"


def _share(settings: Settings) -> str:
    """Whether the share answers; pulls nothing."""
    if settings.store_url is None:
        return "none: the store stands for itself"
    from etf_pipeline.share.publishing import unpublished
    from etf_pipeline.share.pulling import not_taken

    copy = _copy_of(settings, settings.store_url)
    copy.place.list(copy.names.folder(RAW))
    if bad := sorted(not_taken(copy)):
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CorruptFileError(
            f"{bad[0]}{more} of the share {settings.store_url} was damaged or not what its name "
            "says when this machine looked last, and was not taken: `etf run` on a machine that "
            "has a good file, or the raw batches of a history, publishes that; or restore an older "
            "version of the object"
        )
    waiting = len(unpublished(copy))
    told = f"; {waiting} files wait for the next run to publish them" if waiting else ""
    return f"{settings.store_url} answers{told}"


def _copy_of(settings: Settings, url: str) -> Copy:
    from etf_pipeline.share.opening import READER_PATIENCE, working_copy
    from etf_pipeline.store.store import Store

    store = Store.at(settings.data_dir, settings.lock_timeout_seconds)
    return working_copy(store, url, READER_PATIENCE, plain_http=environment.plain_http_allowed())


def _packages() -> str:
    found = []
    for part in _PARTS:
        try:
            found.append(f"{part} {importlib.metadata.version(part.replace('_', '-'))}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{part} not installed")
    return ", ".join(found)


def _universe(settings: Settings) -> str:
    from etf_pipeline.model.portfolio_file import universe_with_rates

    found = universe_with_rates(
        settings.universe_file, settings.portfolios_file, settings.base_currency
    )
    pairs = [i.ticker for i in found if i.is_rate]
    told = f"; rates: {', '.join(pairs)}" if pairs else ""
    partitions = f"{len(found.partitions())} partitions"
    return f"{len(found.etfs)} ETFs in {settings.universe_file}, {partitions}{told}"


def _portfolios(settings: Settings) -> str:
    from etf_pipeline.model.portfolio_file import load_portfolios
    from etf_pipeline.model.universe import load_universe

    found = load_portfolios(settings.portfolios_file, load_universe(settings.universe_file))
    return f"{len(found)} in {settings.portfolios_file}"


def _corrections(settings: Settings) -> str:
    from etf_pipeline.model.corrections import load_corrections
    from etf_pipeline.model.portfolio_file import universe_with_rates

    universe = universe_with_rates(
        settings.universe_file, settings.portfolios_file, settings.base_currency
    )
    found = load_corrections(settings.corrections_file, universe, dt.datetime.now(dt.UTC))
    if settings.store_url is not None:
        from etf_pipeline.share.declared import check_declared

        check_declared(_copy_of(settings, settings.store_url), settings.corrections_file, found)
    return f"{len(found)} in {settings.corrections_file}"


def _risk_free(settings: Settings) -> str:
    from etf_pipeline.model.risk_free import Cash, Published, asked
    from etf_pipeline.model.universe import load_universe
    from etf_pipeline.store.cache import FileCache
    from etf_pipeline.store.risk_free import load_risk_free

    what, layout = asked(settings.risk_free_rate), Layout(settings.data_dir)
    if isinstance(what, Cash):
        if not layout.find_history(what.ticker).exists():
            load_universe(settings.universe_file).get(what.ticker)  # then a run will get it
        return f"returns of {what.ticker}"
    load_risk_free(layout, FileCache(), what)
    return f"rates in {what.path}" if isinstance(what, Published) else f"{what:g} a year"


def _nearest(path: Path) -> Path:
    """The folder, or the one above it that exists."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _writable(settings: Settings) -> str:
    folder = _nearest(settings.data_dir)
    if not os.access(folder, os.W_OK):
        raise StoreError(f"{folder} cannot be written; set ETF_DATA_DIR to a folder that can")
    with tempfile.NamedTemporaryFile(dir=folder):
        return str(folder)


def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(_nearest(settings.data_dir)).free / 2**30
    if free < _LEAST_FREE:
        raise DiskFullError(f"{free:.2f} GiB free; a run may need {_LEAST_FREE:g} GiB")
    home = environment.dagster_home()
    left = shutil.disk_usage(_nearest(home)).free / 2**30
    if left < _LEAST_OF_HOME:
        raise DiskFullError(
            f"{left:.3f} GiB free where DAGSTER_HOME={home} is; a run may need {_LEAST_OF_HOME:g} "
            "GiB there"
        )
    return f"{free:.1f} GiB free"


def _histories(settings: Settings) -> str:
    from etf_pipeline.model.schemas import HISTORY
    from etf_pipeline.store.inventory import describe_histories
    from etf_pipeline.store.unfit import all_named, unfit

    found = describe_histories(Layout(settings.data_dir))
    bad = [h.error for h in found if h.error is not None]
    inside = list(unfit((h.path for h in found if h.error is None), HISTORY, through=True))
    if bad or inside:
        told = "; ".join([*bad, *([all_named(inside)] if inside else [])])
        count = len(bad) + len(inside)
        raise CorruptFileError(f"{count} of {len(found)} cannot be read: {told}")
    return f"{len(found)}, all read whole" if found else "none yet: run `etf run`"


def _read_whole(layout: Layout, *tables: Table) -> None:
    """Show that every page of these tables is as it was written.

    Raises:
        CorruptFileError: naming each file that is not, with what helps.
    """
    from etf_pipeline.store.unfit import all_named, unfit_files

    if found := unfit_files(layout, tables, through=True):
        raise CorruptFileError(all_named(found))


def _raw_batches(settings: Settings) -> str:
    from etf_pipeline.library.freshness import batches_of
    from etf_pipeline.store.origins import incomplete

    layout = Layout(settings.data_dir)
    _read_whole(layout, RAW)
    found = [text for _, text in incomplete(layout, batches_of(settings))]
    if found:
        more = f" (and {len(found) - 1} more tickers)" if len(found) > 1 else ""
        raise RawMissingError(f"{found[0]}{more}")
    return "all that histories were made from are there, and read whole"


def _manifests(settings: Settings) -> str:
    from etf_pipeline.model.schemas import MANIFEST

    _read_whole(Layout(settings.data_dir), MANIFEST)
    return "all read whole"


def _tables(settings: Settings) -> str:
    from etf_pipeline.model.schemas import CORRECTIONS, DATED, QUARANTINE
    from etf_pipeline.store.unfit import strays

    layout = Layout(settings.data_dir)
    _read_whole(layout, *DATED, QUARANTINE, CORRECTIONS)
    beside = strays(layout)
    if not beside:
        return "all read whole"
    more = f" and {len(beside) - 1} more" if len(beside) > 1 else ""
    return f"all read whole; not of this package, and read by nothing: {beside[0]}{more}"


def _upkeep(settings: Settings) -> str:
    from etf_pipeline.settings.pipeline import FOR_EVER
    from etf_pipeline.store.retention import overdue

    if settings.keep_days == FOR_EVER:
        return "dailies are kept for ever"
    found = overdue(Layout(settings.data_dir), settings.keep_days)
    if found:
        return (
            f"{found} dailies are older than ETF_KEEP_DAYS={settings.keep_days}: `etf maintain` "
            "lets them go, and so does the schedule maintain_weekly"
        )
    return "nothing is older than is kept"


def _events(settings: Settings) -> str:
    events = load_event_settings()
    events.client_config()
    status, told = examined_status(settings.data_dir, events)
    if status.problem is not None:
        raise EventError(status.problem)
    return told


def _parked(settings: Settings) -> str:
    from etf_pipeline.events.log.parked import Parked

    table = Parked(Layout(settings.data_dir).event_log)
    try:
        counts, missing = table.counts(), table.missing()
    finally:
        table.close()
    told = ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "none"
    if missing:
        raise EventError(
            f"{told}; events are missing for {sum(missing.values())} of them: see `etf events "
            "parked`, and restore what they are about from a backup"
        )
    return told


def _refused(settings: Settings) -> str:
    from etf_pipeline.events.log.outbox import Outbox

    path = Layout(settings.data_dir).event_log
    if not is_there(path):
        return "none"
    log = Outbox(path)
    try:
        counts, newest = log.undeliverable(1)
    finally:
        log.close()
    if counts:
        told = ", ".join(f"{n} {code}" for code, n in counts.items())
        raise EventError(
            f"Kafka refuses {sum(counts.values())} events ({told}), which are in the local log "
            f"only; the newest: {newest[0].type} of {newest[0].subject}: {newest[0].reason}; have "
            "the topic take it (max.message.bytes, its policies), and it is sent at the next start"
        )
    return "none"
