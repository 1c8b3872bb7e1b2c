"""What somebody says of a file that its cells do not say: the content of a sidecar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

from etf_pipeline.errors import UnreadableFileError

SUFFIX = ".json"
HOW = (
    'declare it in a file of the same name with .json after it: {"date_format": "%d/%m/%Y"}, or '
    "for all files in ETF_FILES_DATE_FORMAT"
)


@dataclass(frozen=True)
class Declared:
    """How to read one file.

    Attributes:
        date_format: of its dates, in the signs of `strptime`; tried first.
        usual_date_format: of files in general; used where it fits every date.
        decimal: the decimal sign, `.` or `,`.
        zone: IANA name of the zone of stamps that name none.
        currency: of the prices.
        prices: `adjusted` or `unadjusted` for distributions, of a file without `Adj Close`.
        exchange: MIC of the exchange, for a file that no universe speaks of.
    """

    date_format: str | None = None
    usual_date_format: str | None = None
    decimal: str | None = None
    zone: str | None = None
    currency: str | None = None
    prices: str | None = None
    exchange: str | None = None


def declared(text: bytes | None, origin: str, usual: str | None = None) -> Declared:
    """What a sidecar says.

    Args:
        text: its content, None without one.
        origin: its name, for errors.
        usual: the date format of files in general.

    Raises:
        UnreadableFileError: it is not a JSON object of the known fields, each text.
    """
    names = [f.name for f in fields(Declared) if f.name != "usual_date_format"]
    body = fields_of(text, origin, names)
    if body.get("prices", "adjusted") not in ("adjusted", "unadjusted"):
        raise UnreadableFileError(f"{origin}: prices must be 'adjusted' or 'unadjusted'")
    return Declared(**body, usual_date_format=usual)


def fields_of(text: bytes | None, origin: str, names: Sequence[str]) -> dict[str, str]:
    """The fields of a sidecar, of those that are known; none without one.

    Raises:
        UnreadableFileError: it is not a JSON object of these, each text.
    """
    try:
        body = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        raise UnreadableFileError(f"{origin}: not JSON") from None
    if not isinstance(body, dict) or not all(isinstance(v, str) for v in body.values()):
        raise UnreadableFileError(f"{origin}: a JSON object of texts is expected")
    if unknown := sorted(body.keys() - set(names)):
        raise UnreadableFileError(
            f"{origin}: {unknown[0]!r} is unknown; known are {', '.join(names)}"
        )
    if body.get("decimal", ".") not in (".", ","):
        raise UnreadableFileError(f"{origin}: decimal must be '.' or ','")
    return body
