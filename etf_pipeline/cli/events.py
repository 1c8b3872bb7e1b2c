"""The commands `etf events …`."""

from __future__ import annotations

import datetime as dt
import logging
import signal
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from etf_pipeline.cli.exit_codes import of_checks
from etf_pipeline.cli.options import DataDir, Instant, Json, parse_head, parse_instant
from etf_pipeline.cli.render.events import (
    event_body,
    event_line,
    head_lines,
    missing_lines,
    others_line,
    parked_body,
    parked_line,
    pruned_lines,
    rebuilt_line,
    relay_line,
    signed_body,
    signed_line,
    state_body,
    state_lines,
    status_body,
    status_line,
    verification_body,
)
from etf_pipeline.cli.render.output import print_either, print_warning, verdict_line
from etf_pipeline.errors import ArgumentError, EventsOffError, SettingsError, StoreError
from etf_pipeline.orchestration.interrupts import handled

if TYPE_CHECKING:
    from etf_pipeline.events.model.state import SystemState
    from etf_pipeline.events.settings import EventSettings
    from etf_pipeline.library.system import ETFSystem
    from etf_pipeline.settings import Settings

T = TypeVar("T")
app = typer.Typer(
    help="The record of what happened: verify, replay, rebuild, project, archive.",
    no_args_is_help=True,
)


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio  # a tenth of a second that the other commands need not wait for

    return asyncio.run(work)


def _of_store(data_dir: Path | None) -> tuple[Settings, EventSettings]:
    """The settings of a store.

    Raises:
        StoreError: there is none.
    """
    from etf_pipeline.events.settings import load_event_settings
    from etf_pipeline.events.status import no_store
    from etf_pipeline.settings import load_settings
    from etf_pipeline.store.layout import Layout

    settings, events = load_settings(data_dir=data_dir), load_event_settings()
    if (why := no_store(Layout(settings.data_dir), events)) is not None:
        raise StoreError(why)
    return settings, events


@contextmanager
def _system(data_dir: Path | None) -> Iterator[ETFSystem]:
    """The system of a store.

    Raises:
        StoreError: there is none.
    """
    from etf_pipeline.library.system import ETFSystem

    system = ETFSystem(*_of_store(data_dir))
    try:
        yield system
    finally:
        system.close()


@contextmanager
def _recording(data_dir: Path | None) -> Iterator[ETFSystem]:
    """The system, if it records events.

    Raises:
        EventsOffError: it does not.
    """
    with _system(data_dir) as system:
        if not system.event_store.recording:
            raise EventsOffError("events are off: set EVENT_STORE_TYPE or KAFKA_BOOTSTRAP_SERVERS")
        yield system


@app.command()
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Mode, counts, what waits for Kafka, the relay's lag. Exit code 1 if anything is wrong.

    Kafka is looked at closely, with the client's own settings: who it takes us for, what we may do,
    and how long its topics keep events.
    """
    from etf_pipeline.events.settings import load_event_settings
    from etf_pipeline.events.status import examined_status, no_store
    from etf_pipeline.settings import load_settings
    from etf_pipeline.store.layout import Layout

    data, events = load_settings(data_dir=data_dir).data_dir, load_event_settings()
    found, _ = examined_status(data, events)
    found.problem = found.problem or no_store(Layout(data), events)
    line = status_line(found, dt.datetime.now(dt.UTC)) or "Events: off (EVENT_STORE_TYPE)"
    lines = [line, *(f"  {n:>8} {k}" for k, n in found.types.items())]
    if found.problem is not None:
        lines.append(f"FAIL {found.problem}")
    if found.store_id is not None:
        lines.append(f"  store {found.store_id}")
    lines += map(relay_line, found.relays)
    print_either(as_json, status_body(found), lines)
    raise typer.Exit(of_checks(found.problem is None))


@app.command()
def verify(
    head: Annotated[
        list[str] | None,
        typer.Option(help="A head that was kept elsewhere; it must be in the chain."),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(help="PEM file of a public key; each signed head must be by one of these."),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Prove that nothing is missing and nothing was changed. Exit code 1 otherwise.

    Keep the head that is printed elsewhere: years later, --head proves that all up to it is still
    there and as it was. Example: etf events verify --json
    """
    from etf_pipeline.events.proof.signing import load_verifier
    from etf_pipeline.events.proof.verify import examine

    kept = [parse_head(text) for text in head or ()]
    keys = [load_verifier(path) for path in key or ()]
    with _recording(data_dir) as system:
        found = examine(system.event_store, system.layout, kept, keys)
    lines = [*map(verdict_line, found.checks), *head_lines(found.head)]
    print_either(as_json, verification_body(found), lines)
    raise typer.Exit(of_checks(all(c.ok for c in found.checks)))


@app.command()
def sign(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Sign the head of the event log with the key of EVENT_SIGNING_KEY.

    Once a day this happens by itself, at the end of a run and when events are archived. Example:
    etf events sign
    """
    from etf_pipeline.events.proof.heads import sign_head
    from etf_pipeline.events.proof.signing import load_signer

    with _recording(data_dir) as system:
        signer = load_signer(system.event_store.settings)
        if signer is None:
            raise SettingsError(
                "EVENT_SIGNING_KEY is not set: make a key with `openssl genpkey -algorithm ed25519 "
                "-out key.pem` and set it to that path"
            )
        made = sign_head(system.event_store, system.layout, signer, dt.datetime.now(dt.UTC))
    if made is None:
        print_either(as_json, None, ["the head of the log is signed already"])
    else:
        print_either(as_json, signed_body(made), [signed_line(made)])


@app.command()
def replay(
    start: Annotated[str | None, typer.Option("--from", help="First instant.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last instant.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Fold the events of a span of time into a state, and tell what it is.

    Example: etf events replay --from 2025-11-01T00:00:00+11:00
    """
    with _system(data_dir) as system:
        first = None if start is None else parse_instant(start, "--from")
        last = None if end is None else parse_instant(end, "--to")
        _show_state(_run(system.replay_events(first, last)), as_json)


@app.command()
def state(
    at: Instant = None,
    clock: Annotated[str, typer.Option(help="event: had happened; record: was known.")] = "event",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """The state as it was at an instant.

    Example: etf events state --at 2025-11-01T18:00:00+11:00 --clock record
    """
    with _system(data_dir) as system:
        found = _run(system.state_at(parse_instant(at), clock))  # type: ignore[arg-type]
        _show_state(found, as_json)


def _show_state(found: SystemState, as_json: bool) -> None:
    print_either(as_json, state_body(found), state_lines(found))


@app.command()
def rebuild(
    into: Annotated[Path, typer.Option(help="Folder for the rebuilt histories.")],
    at: Instant = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Rebuild historical/ as it was at an instant, each ticker proven equal by hash.

    Example: etf events rebuild --at 2025-11-01T18:00:00+11:00 --into /tmp/november
    """
    with _system(data_dir) as system:
        found = _run(system.rebuild_history(parse_instant(at), into))
    lines = [rebuilt_line(r) for r in found] or ["there was nothing by then"]
    print_either(as_json, [asdict(r) for r in found], lines)
    raise typer.Exit(of_checks(all(r.status != "differs" for r in found)))


@app.command()
def project(
    once: Annotated[bool, typer.Option("--once", help="Stop at the end of what is there.")] = False,
    database: Annotated[Path | None, typer.Option(help="SQLite file of the read models.")] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group (Kafka).")] = None,
    data_dir: DataDir = None,
) -> None:
    """Keep the read models (latest_state, audit_trail, query_counts) up to date.

    Start several to share the partitions; stop or kill any at any time. Example:
    etf events project --once
    """
    from etf_pipeline.events.log.projections import Projections

    with _recording(data_dir) as system:
        projections = Projections(database or system.layout.read_models)
        projector = system.event_store.projector(projections, group)
        # It may run for months: what it rides out is worth a line.
        logging.getLogger("etf_pipeline").setLevel(logging.WARNING)
        try:
            with handled(lambda *_: projector.stop(), signal.SIGTERM, signal.SIGINT):
                taken = projector.run(once)
            typer.echo(f"{taken} events taken in; read models: {projections.path}")
            if others := projections.others():
                typer.echo(others_line(others))
        finally:
            projections.close()


@app.command()
def archive(
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Drop what is older than the retention from the local log."),
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Move events to Parquet by topic and day, verified by reading them back.

    Example: etf events archive --prune
    """
    from etf_pipeline.events.proof.heads import sign_daily
    from etf_pipeline.store.writer import locked

    with ExitStack() as held:
        system = held.enter_context(_recording(data_dir))
        # Two at once would both write what neither found there.
        lock = system.layout.lock("events", "archive")
        held.enter_context(locked(lock, system.settings.lock_timeout_seconds))
        with Console(stderr=True).status("archiving"):
            done = system.event_store.archive(system.archive, dt.datetime.now(dt.UTC))
        where = system.archive.root
        gone = system.event_store.prune(system.archive) if prune else None
        if why := sign_daily(system.event_store, system.layout, dt.datetime.now(dt.UTC)):
            print_warning(why)
    body = {"events": done.events, "files": [str(f) for f in done.files]}
    lines = [f"{done.events} events archived in {len(done.files)} files below {where}"]
    if gone is not None:
        body |= {"pruned": gone.events, "kept": gone.kept, "why": list(gone.why)}
        lines += pruned_lines(gone)
    print_either(as_json, body, lines)


@app.command(name="list")
def list_events(
    subject: Annotated[str | None, typer.Option(help="Only of this ticker or portfolio.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """The events that happened last, whenever they were recorded: the audit trail.

    Example: etf events list --subject VAS --type PriceDataQueried
    """
    if kind is not None:
        from etf_pipeline.events.model.types import REGISTRY
        from etf_pipeline.library.arguments import one_of

        one_of("--type", kind, sorted({name for name, _, _ in REGISTRY.versions()}))
    with _system(data_dir) as system:
        found = system.newest_events(limit, subject, kind)
    lines = [event_line(e) for e in found] or ["no such event"]
    print_either(as_json, [event_body(e) for e in found], lines)


@app.command()
def parked(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Records that could not be read and were put aside: where, why, and their bytes.

    Example: etf events parked --json
    """
    from etf_pipeline.events.log.parked import Parked
    from etf_pipeline.store.layout import Layout

    table = Parked(Layout(_of_store(data_dir)[0].data_dir).event_log)
    try:
        found = table.newest(limit)
    finally:
        table.close()
    lines = [parked_line(r) for r in found] or ["no record is parked"]
    print_either(as_json, [parked_body(r) for r in found], lines)


@app.command()
def missing(
    accept: Annotated[
        bool, typer.Option("--accept", help="Declare them lost; needs --who and --why.")
    ] = False,
    who: Annotated[str | None, typer.Option(help="Who declares it.")] = None,
    why: Annotated[str | None, typer.Option(help="Why they are lost.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Events that neither logs, archive nor topics have. Exit code 1 if there are any.

    Replays refuse while some are missing. Restore the archive or start the machine whose log it is;
    what is lost for good can be declared so, which is an event that stays. Example:
    etf events missing --accept --who "A. Smith" --why "disk of host 7"
    """
    from etf_pipeline.events.proof.losses import declare_lost, missing_events

    who, why = (who or "").strip(), (why or "").strip()
    if accept and not (who and why):
        raise ArgumentError("--accept needs --who and --why, which are kept with the declaration")
    with _recording(data_dir) as system:
        if accept:
            told = declare_lost(system.event_store, system.archive, who, why)
            lines = [f"declared lost: {d.channel} {d.first} to {d.last}" for d in told]
            body: list[dict[str, Any]] = [d.model_dump() for d in told]
        else:
            found = missing_events(system.event_store, system.archive)
            lines = missing_lines(found)
            body = [*(g._asdict() for g in found.numbers), *(g._asdict() for g in found.offsets)]
    print_either(as_json, body, lines or ["nothing is missing"])
    raise typer.Exit(of_checks(accept or not body))
