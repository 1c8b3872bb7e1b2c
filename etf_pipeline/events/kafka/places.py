"""Where read models go on in each partition, if it is still what it was."""

from __future__ import annotations

import logging
from collections.abc import Collection

from etf_pipeline.events.kafka.reader import KafkaReader
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.positions import Key
from etf_pipeline.events.model.types import CHANNELS

log = logging.getLogger(__name__)


def beginnings(
    reader: KafkaReader, projections: Projections, wanted: Collection[Key] | None = None
) -> dict[Key, int]:
    """The offset to go on at in each partition (of those `wanted`).

    A partition whose last record is no longer where it was was lost and made anew: it is read from
    its beginning, as event ids keep anything from counting twice.

    Raises:
        EventError: the brokers cannot be reached, or refuse.
    """
    channels = CHANNELS if wanted is None else sorted({c for c, _ in wanted})
    ranges = {
        key: span
        for key, span in reader.ranges(channels).items()
        if wanted is None or key in wanted
    }
    places = {k: p for k, p in projections.places().items() if k in ranges}
    look = {k: p.next - 1 for k, p in places.items() if ranges[k][0] < p.next <= ranges[k][1]}
    there = reader.ids_at(look)
    found = {}
    for key, (low, _) in ranges.items():
        place = places.get(key)
        found[key] = low
        if key in look and place is not None and (there.get(key) or "") == place.last_id:
            found[key] = place.next
        elif place is not None and place.next < low:
            log.warning(
                "%s[%d]: offsets %d to %d went before they were read; what the local log and the "
                "archive have of them is taken from there",
                *key,
                place.next,
                low - 1,
            )
        elif place is not None and place.next > low:
            log.warning("%s[%d]: the broker lost events; reading it again", *key)
    return found
