"""Payloads that are too large for an event: whole, in files beside the log, named by their hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.size import FOLDER, Shortened, shorten, shortened, too_large
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.writer import write_text


def fitting(events: Sequence[Event], log: Path) -> Sequence[Event]:
    """The same events; of each that is too large its facts, once the whole is on disk.

    Of what cannot be shortened, a broker may say whether it takes it.

    Raises:
        StoreError: the file cannot be written; then nothing is recorded.
    """
    if not any(map(too_large, events)):
        return events
    return [_kept(e, log) if too_large(e) else e for e in events]


def _kept(event: Event, log: Path) -> Event:
    short = shorten(event)
    told = None if short is None else shortened(short)
    if short is None or told is None:
        return event
    path = _path(told, log)
    if not path.exists() or file_hash(path) != told.sha256:
        write_text(path, event.data)
    return short


def whole(event: Event, log: Path) -> str:
    """The whole payload of an event, from its file where it was shortened.

    Raises:
        FileNotFoundError: the file is gone, or on the machine that recorded the event.
        CorruptFileError: it is not what was written.
    """
    told = shortened(event)
    if told is None:
        return event.data
    path = _path(told, log)
    if file_hash(path) != told.sha256:
        raise CorruptFileError(f"{path} was changed; restore it from a backup")
    return path.read_text(encoding="utf-8")


def unkept(events: Iterable[Event], log: Path) -> Iterator[str]:
    """What is wrong with files that hold the whole of events, in words."""
    for event in events:
        if (told := shortened(event)) is None:
            continue
        try:
            whole(event, log)
        except FileNotFoundError:
            yield f"{event.id}: {_path(told, log)} is gone, which has its whole payload"
        except CorruptFileError as error:
            yield f"{event.id}: {error}"


def _path(told: Shortened, log: Path) -> Path:
    return log.parent / FOLDER / f"{told.sha256}.json"
