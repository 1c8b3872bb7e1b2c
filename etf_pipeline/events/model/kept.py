"""Events that are kept by the hundred thousand, as bytes, the older ones compressed.

Their strings would each hold a page of memory that is otherwise free.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from etf_pipeline.events.model.envelope import Event

# Bytes that are held as they are.
_PLAIN = 8 * 2**20
# Fewer of one subject are not worth compressing.
_LEAST = 2_000
_CODEC = "zstd"


class KeptEvents:
    """Events by subject.

    Args:
        plain: bytes that are held as they are.
    """

    def __init__(self, plain: int = _PLAIN) -> None:
        self._most = self._limit = plain
        self._plain: dict[str, bytearray] = {}
        # Compressed, and the size before.
        self._packed: dict[str, list[tuple[bytes, int]]] = {}
        self._held = 0

    def add(self, events: Iterable[Event]) -> None:
        """Keep events."""
        for event in events:
            line = json.dumps(event).encode() + b"\n"
            self._plain.setdefault(event.subject, bytearray()).extend(line)
            self._held += len(line)
        if self._held > self._limit:
            self._pack()

    def of(self, subject: str) -> Iterator[Event]:
        """The events of one subject, in the order in which they came."""
        import pyarrow as pa

        for packed, size in self._packed.get(subject, ()):
            yield from _events(pa.decompress(packed, size, _CODEC, asbytes=True))
        yield from _events(bytes(self._plain.get(subject, b"")))

    def _pack(self) -> None:
        import pyarrow as pa  # only a log of some size needs it

        for subject, lines in list(self._plain.items()):
            if len(lines) >= _LEAST:
                packed = pa.compress(bytes(lines), _CODEC, asbytes=True)
                self._packed.setdefault(subject, []).append((packed, len(lines)))
                self._held -= len(lines)
                del self._plain[subject]
        self._limit = self._held + self._most


def _events(lines: bytes) -> Iterator[Event]:
    return (Event(*json.loads(line)) for line in lines.splitlines())
