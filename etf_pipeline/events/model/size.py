"""How large an event may be, and what is left of one that is larger: its facts.

Brokers take a megabyte at most, unless they are told otherwise. Of a larger event, long texts are
cut, and lists and objects with many entries left out, the whole of each; the payload's last field,
`shortened`, says so and names the file that has the whole payload, by its hash.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from etf_pipeline.events.model.envelope import LINEAGE_TYPE, Event

MAX_BYTES = 512 * 1024
FOLDER = "large"
_FIELD = "shortened"
_MARK = f'"{_FIELD}":{{'
# OpenLineage has facets for what is not its own.
_FACET, _PRODUCER = "etf_pipeline_shortened", "urn:etf_pipeline:event:shortened"
# Bytes that a text, and characters of JSON that anything within, may have: less each time.
_STEPS = ((16_384, 65_536), (4_096, 16_384), (1_024, 4_096), (256, 1_024))


class Shortened(NamedTuple):
    """What an event says of the payload that it was made from."""

    bytes: int
    sha256: str
    file: str
    fields: list[str]


def too_large(event: Event) -> bool:
    """Whether a payload has more bytes than may be sent."""
    # A character has four bytes at most.
    return len(event.data) > MAX_BYTES // 4 and len(event.data.encode()) > MAX_BYTES


def shorten(event: Event) -> Event | None:
    """The event with its facts only; None when they alone are too large."""
    whole = event.data.encode()
    digest = hashlib.sha256(whole).hexdigest()
    for most in _STEPS:
        cut: list[str] = []
        body = json.loads(event.data)
        body = _lineage(body, most, cut) if event.type == LINEAGE_TYPE else _plain(body, most, cut)
        told = Shortened(len(whole), digest, f"events/{FOLDER}/{digest}.json", sorted(set(cut)))
        if event.type == LINEAGE_TYPE:
            facets = body["run"].setdefault("facets", {})
            facets[_FACET] = {"_producer": _PRODUCER, "_schemaURL": _PRODUCER, **told._asdict()}
        else:
            body[_FIELD] = told._asdict()
        short = event._replace(data=_dump(body))
        if not too_large(short):
            return short
    return None


def shortened(event: Event) -> Shortened | None:
    """What an event that was shortened says of the whole; None for any other."""
    if (_FACET if event.type == LINEAGE_TYPE else _MARK) not in event.data:
        return None
    try:
        body = json.loads(event.data)
        told = body["run"]["facets"][_FACET] if event.type == LINEAGE_TYPE else body[_FIELD]
        return Shortened(*(told[name] for name in Shortened._fields))
    except (ValueError, KeyError, TypeError):
        return None


def _plain(body: dict[str, Any], most: tuple[int, int], cut: list[str]) -> dict[str, Any]:
    """A payload of ours: what is emptied of a field has the type that it had."""
    return {k: _less(v, most, k, cut) for k, v in body.items()}


def _less(value: Any, most: tuple[int, int], name: str, cut: list[str]) -> Any:
    if isinstance(value, str):
        # JSON can escape half a character.
        text = value.encode(errors="surrogatepass")
        if len(text) <= most[0]:
            return value
        cut.append(name)
        return text[: most[0]].decode(errors="ignore") + "…"
    if not isinstance(value, dict | list):
        return value
    if isinstance(value, dict):
        # Entries are few and large, or many and small: of many, none is told rather than some.
        value = {k: _less(v, most, f"{name}.{k[:100]}", cut) for k, v in value.items()}
    if len(json.dumps(value)) <= most[1]:
        return value
    within = f"{name}."
    cut[:] = [*(c for c in cut if c[: len(within)] != within), name]
    return type(value)()


def _lineage(body: dict[str, Any], most: tuple[int, int], cut: list[str]) -> dict[str, Any]:
    """A run event of OpenLineage, which is one still: facets and data sets may be left out."""
    for side in ("inputs", "outputs"):
        if side not in body:
            continue
        for dataset in body[side]:
            for facets in ("facets", f"{side[:-1]}Facets"):
                if len(json.dumps(dataset.get(facets, {}))) > most[1]:
                    cut.append(f"{side}.{facets}")
                    del dataset[facets]
        if len(json.dumps(body[side])) > most[1] * 4:
            cut.append(side)
            body[side] = []
    run = body["run"]
    run["facets"] = _texts(run.get("facets", {}), most[0], "run.facets", cut)
    body["job"]["facets"] = _texts(body["job"].get("facets", {}), most[0], "job.facets", cut)
    return body


def _texts(value: Any, most: int, name: str, cut: list[str]) -> Any:
    """The same with its texts cut."""
    if isinstance(value, dict):
        return {k: _texts(v, most, f"{name}.{k[:100]}", cut) for k, v in value.items()}
    if isinstance(value, list):
        return [_texts(v, most, name, cut) for v in value]
    return _less(value, (most, 0), name, cut)


def _dump(body: dict[str, Any]) -> str:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":"))
    return text
