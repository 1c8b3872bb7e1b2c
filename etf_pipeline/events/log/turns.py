"""Turns among the writers of one file, of all threads and processes of a host.

SQLite lets whoever asks at the right moment write, so that of several busy writers one may wait for
seconds. Here each takes a place, a locked byte beyond those of all others, and its turn has come
when no byte before it is locked. The kernel unlocks the bytes of a process that dies, and nothing
is written, so a kill, a full disk and a clock change nothing. Who leaves wakes the next by a
datagram, and as one may be lost, everybody also looks now and then. It is for fairness only: what
keeps writers apart is still SQLite, also where two took their turn at once or a place was passed
over.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import socket
import struct
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from etf_pipeline.store.forks import tell_of_forks, unforked

try:
    import fcntl

    if platform.system() != "Linux":
        raise ImportError("`struct flock` looks otherwise there")
    # Locks of an open file and not of a process: threads are told apart, too.
    _SET, _GET = fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK
except (ImportError, AttributeError):
    _SET = _GET = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
# A writer before us that has not moved for so long is passed over: it may be stopped.
PATIENCE_SECONDS = 2.0
_LOOK_SECONDS = 0.01
_FLOCK = struct.Struct("hhqqi0q")  # `struct flock`: type, whence, start, length, process
_END = 2**62
_TAKEN = (errno.EAGAIN, errno.EACCES)
# SQLite says these better, as it will meet them too.
_TOLD_BY_SQLITE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR),
    *(errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE),
)


class Turns:
    """The queue of one database file, in a file beside it that stays empty.

    Args:
        database: path of the file that is written to.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}-queue")
        self._database = database
        self._passed: set[int] = set()  # places whose holders do not move
        self._told = False
        self._open: set[_Place] = set()
        tell_of_forks(self)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A block that begins when everybody before has had a turn. Never fails by itself."""
        place = self._take()
        try:
            if place is not None:
                with contextlib.suppress(OSError):
                    self._wait(place)
            yield
        finally:
            if place is not None:
                self._give_back(place)

    def before_fork(self) -> None:
        """Places are the parent's and stay so."""

    def after_fork_in_child(self) -> None:
        """Close the files, whose locks would outlive the parent here."""
        for place in self._open:
            place.forget()
        self._open = set()

    def _take(self) -> _Place | None:
        if _SET is None:
            return None
        place = None
        try:
            with unforked():
                place = _Place(self._file())
                self._open.add(place)
                place.take()
        except OSError as error:
            if place is not None:
                self._give_back(place)
            if error.errno not in _TOLD_BY_SQLITE and not self._told:
                self._told = True
                log.warning(
                    "%s cannot be locked (%s): writers get their turns as SQLite gives them, which "
                    "may take seconds when there are many; keep the store on a local disk",
                    self.path,
                    error.strerror,
                )
            return None
        return place

    def _give_back(self, place: _Place) -> None:
        with unforked():
            self._open.discard(place)
            place.give_back(self._passed)

    def _file(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(self.path, flags)
        except FileNotFoundError:
            made = os.open(self.path, flags | os.O_CREAT, 0o644)
            # Whoever may write the database may queue for it.
            with contextlib.suppress(OSError):
                os.fchmod(made, self._database.stat().st_mode & 0o777)
            return made

    def _wait(self, place: _Place) -> None:
        first, since = 0, time.monotonic()
        if self._first_before(place) is not None:
            place.listen()
        while (now_first := self._first_before(place)) is not None:
            now = time.monotonic()
            if now_first != first:
                first, since = now_first, now
            elif now - since > PATIENCE_SECONDS:
                self._passed.add(first)
                continue
            place.pause(_LOOK_SECONDS)

    def _first_before(self, place: _Place) -> int | None:
        """The lowest place before this one that is held, without those that were passed over."""
        begin = 1
        while (found := place.lowest(begin, place.number)) is not None:
            if found not in self._passed:
                return found
            begin = found + 1
        if begin == 1:
            self._passed.clear()
        return None


class _Place:
    """A locked byte of the queue's file, through an open file of its own."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._ear: socket.socket | None = None
        self.number = 0

    def take(self) -> None:
        """Lock a byte beyond all that others have locked."""
        number = 1
        while True:
            while (held := self._held(number, 0)) is not None:
                number = held[1]
            try:
                fcntl.fcntl(self._file, _SET, _FLOCK.pack(fcntl.F_WRLCK, 0, number, 1, 0))
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                number += 1  # somebody was quicker
            else:
                self.number = number
                return

    def lowest(self, begin: int, end: int) -> int | None:
        """The lowest byte from `begin` on and before `end` that somebody else has locked."""
        found = None
        while begin < end and (held := self._held(begin, end - begin)) is not None:
            found = end = max(held[0], begin)
        return found

    def _held(self, start: int, length: int) -> tuple[int, int] | None:
        """Begin and end of some lock of others in a range; a length of 0 is up to the end."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, 0, start, length, 0)
        kind, _, begin, size, _ = _FLOCK.unpack(fcntl.fcntl(self._file, _GET, asked))
        return None if kind == fcntl.F_UNLCK else (begin, begin + size)

    def listen(self) -> None:
        """From now on a pause ends when the one before leaves."""
        with contextlib.suppress(OSError), unforked():
            self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._ear.bind(self._address(self.number))

    def pause(self, seconds: float) -> None:
        """Sleep until somebody leaves, or so long."""
        if self._ear is None:
            time.sleep(seconds)
            return
        self._ear.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            self._ear.recv(1)

    def give_back(self, passed: Set[int]) -> None:
        """Unlock, for whatever shares the open file too, close, and wake the next.

        Args:
            passed: places whose holders do not move.
        """
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._file, _SET, _FLOCK.pack(fcntl.F_UNLCK, 0, 0, 0, 0))
            after = self.lowest(self.number + 1, _END)
            while after is not None and after in passed:
                after = self.lowest(after + 1, _END)
            if after is not None:
                self._wake(after)
        self.forget()

    def _wake(self, number: int) -> None:
        if self._ear is None:
            self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Nobody may be listening yet, and one that is stopped must not stop us.
        self._ear.sendto(b".", socket.MSG_DONTWAIT, self._address(number))

    def _address(self, number: int) -> str:
        """Of the holder of a place: a name in Linux's abstract namespace, which dies with it."""
        file = os.fstat(self._file)
        return f"\0etf-queue-{file.st_dev:x}-{file.st_ino:x}-{number:x}"

    def forget(self) -> None:
        """Close only."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        if self._ear is not None:
            self._ear.close()
