"""How much a reader has on its way: some thousand events, whatever brokers send at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from etf_pipeline.events.model.positions import Key

# What a variable may change. Reading is no faster with more, and what a fetch brings is compressed:
# it takes twenty times as much while it waits in the client.
_DEFAULTS: dict[str, Any] = {
    "fetch.wait.max.ms": 50,
    "queued.min.messages": 2_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.message.max.bytes": 2**18,
    # By default a partition rests for a second whenever that much of it waits.
    "fetch.queue.backoff.ms": 10,
}
# librdkafka wants the former no smaller than the latter, and sees to it where only that is set.
_FETCH, _LARGEST = {"fetch.max.bytes": 2**20}, "message.max.bytes"
# So many messages are read of several partitions at once: there are brokers that send all of each.
_AT_ONCE = 20_000


def defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """What bounds a consumer whose other settings are `config`."""
    return {**_DEFAULTS, **({} if _LARGEST in config else _FETCH)}


def parts(begin: Mapping[Key, int], ends: Mapping[Key, int]) -> Iterator[dict[Key, int]]:
    """Partitions, with their ends, that are read at once: few messages, or one partition."""
    part: dict[Key, int] = {}
    count = 0
    for key, end in ends.items():
        if part and count + end - begin[key] > _AT_ONCE:
            yield part
            part, count = {}, 0
        part[key] = end
        count += end - begin[key]
    if part:
        yield part
