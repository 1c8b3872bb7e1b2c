"""The head of a log as a text that can be signed, kept elsewhere and given a time stamp.

The lines, each ended by a line feed, in this order, in ASCII:

    etf_pipeline head 1
    store <id of the store>
    log <id of the local log>
    event <number of the last event in that log>
    hash <its SHA-256 in the hash chain>
    unproven <number of the last event that cannot be recomputed> (only where there are such)
    time <when this was written, UTC, RFC 3339, to the second>
    key <SHA-256 of the public key that signs, as DER of SubjectPublicKeyInfo>
    previous <SHA-256 of the signed text before this one of the same log; 64 zeros for the first>
    file <SHA-256>  <path below events/archive> (one for each archive file that none before named)

These bytes, all of them and no others, are what is signed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import NamedTuple

FIRST = "0" * 64
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_TITLE = "etf_pipeline head 1"
_HASH = r"[0-9a-f]{64}"
_TEXT = re.compile(
    rf"{_TITLE}\nstore (?P<store>[!-~]+)\nlog (?P<log>[!-~]+)\nevent (?P<event>\d+)\n"
    rf"hash (?P<hash>{_HASH})\n(?:unproven (?P<unproven>[1-9]\d*)\n)?"
    rf"time (?P<time>[0-9T:Z-]+)\nkey (?P<key>{_HASH})\n"
    rf"previous (?P<previous>{_HASH})\n(?P<files>(?:file {_HASH}  [^\n]+\n)*)"
)
_KEPT = re.compile(
    rf"(?:(?:(?P<log>[^:\s]+):)?(?P<event>\d+):)?(?P<hash>{_HASH})(?::(?P<unproven>\d+))?"
)


class Head(NamedTuple):
    """What was the last event of a log at a time, and what its hash vouched for.

    `files` are the SHA-256 and path of archive files, each said once. Events up to `unproven` could
    not be recomputed then, as a release before had let them go.
    """

    store: str
    log: str
    event: int
    hash: str
    time: dt.datetime
    key: str
    previous: str = FIRST
    files: tuple[tuple[str, str], ...] = ()
    unproven: int = 0

    def text(self) -> str:
        """What is signed."""
        lines = [
            _TITLE,
            f"store {self.store}",
            f"log {self.log}",
            f"event {self.event}",
            f"hash {self.hash}",
            *([f"unproven {self.unproven}"] if self.unproven else []),
            f"time {self.time.astimezone(dt.UTC).strftime(_TIME)}",
            f"key {self.key}",
            f"previous {self.previous}",
            *(f"file {digest}  {path}" for digest, path in self.files),
        ]
        return "".join(f"{line}\n" for line in lines)

    def digest(self) -> str:
        """SHA-256 of the text, as the next one names it."""
        return hashlib.sha256(self.text().encode()).hexdigest()


class Kept(NamedTuple):
    """A head as somebody kept it: `log:event:hash`, or its end; 0 and "" where it does not say.

    Where the first events could not be recomputed then, the number of the last of them follows.
    """

    log: str
    event: int
    hash: str
    unproven: int = 0

    def text(self) -> str:
        """In the form to keep."""
        unproven = f":{self.unproven}" if self.unproven else ""
        return f"{self.log}:{self.event}:{self.hash}{unproven}"


def read_head(text: str) -> Head | None:
    """The head in a text; None when it is not exactly what `Head.text` makes."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    try:
        time = dt.datetime.strptime(found["time"], _TIME).replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    files = tuple((line[5:69], line[71:]) for line in found["files"].split("\n") if line)
    plain = (found["store"], found["log"], int(found["event"]), found["hash"])
    before = int(found["unproven"] or 0)
    made = Head(*plain, time, found["key"], found["previous"], files, before)
    return made if made.text() == text else None


def read_kept(text: str) -> Kept | None:
    """A head as it was printed, or its hash alone; None when it is neither."""
    found = _KEPT.fullmatch(text.strip().lower())
    if found is None:
        return None
    numbers = (int(found["event"] or 0), int(found["unproven"] or 0))
    return Kept(found["log"] or "", numbers[0], found["hash"], numbers[1])
