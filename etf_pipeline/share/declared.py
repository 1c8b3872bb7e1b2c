"""Corrections of several machines: none undoes what another declared without knowing of it.

Each machine has a corrections file of its own, and the share has every version that a run kept,
each with the one that it followed. A machine may change what it knows: versions that it kept
itself, or that its file agreed with once. Of a version that another machine kept since, its file
has to have every line, and none that was taken out on the way there.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from etf_pipeline.errors import CorrectionsError
from etf_pipeline.model.corrections import ACCEPT, VOID, Correction
from etf_pipeline.model.schemas import CORRECTIONS
from etf_pipeline.share.copy import Copy
from etf_pipeline.store.corrections import Version, keep_corrections, versions_kept

_KNOWN = "corrections"
_TOLD = 3


def counting(
    copy: Copy, file: Path, corrections: Sequence[Correction], now: dt.datetime
) -> tuple[Correction, ...]:
    """The corrections as they count from now on, kept as a version if they are new.

    Args:
        copy: the working copy; the share's versions have been pulled.
        file: this machine's corrections file, which may not be there.
        corrections: what it declares.
        now: aware.

    Raises:
        CorrectionsError: another machine declared or took back what this file does not know of.
    """
    check_declared(copy, file, corrections)
    kept = keep_corrections(copy.store, corrections, now)
    copy.index.keep(_KNOWN, json.dumps([p.stem for p in copy.layout.files(CORRECTIONS)]))
    return kept


def check_declared(copy: Copy, file: Path, corrections: Sequence[Correction]) -> None:
    """Refuse a file that would undo what another machine declared; looks at the working copy only.

    Raises:
        CorrectionsError: naming what, who declared it and what to do.
    """
    versions = versions_kept(copy.layout)
    if not versions:
        return
    newest = versions[-1]
    if newest.corrections and not file.exists():
        raise CorrectionsError(
            f"there is no corrections file {file}, and the share {copy.url} has "
            f"{_in_words(newest.corrections)}: copy the file of the machine that declared it to "
            f"here; to take back everything, leave a file with its header alone"
        )
    theirs = _unknown(copy, versions)
    if theirs is None:
        return
    ours = {c.identity for c in corrections}
    lacking = [c for c in theirs.corrections if c.identity not in ours]
    if lacking:
        raise CorrectionsError(
            f"{file} lacks what another machine declared ({_since(theirs)}, share {copy.url}): "
            f"{_in_words(lacking)}; {_REMEDY}"
        )
    said = {c.identity for c in theirs.corrections}
    before = {c.identity for v in _ancestors(theirs, versions) for c in v.corrections}
    back = [c for c in corrections if c.identity in before - said]
    if back:
        raise CorrectionsError(
            f"{file} has what another machine took back ({_since(theirs)}, share {copy.url}): "
            f"{_in_words(back)}; {_REMEDY}"
        )


_REMEDY = (
    "bring the corrections files of all machines together, each line with the same reason and "
    "author, and run again; a line that is to go is taken out afterwards"
)


def _unknown(copy: Copy, versions: Sequence[Version]) -> Version | None:
    """The newest version that this machine neither kept, nor agreed with, nor built upon."""
    entries, fact = copy.index.entries(), copy.index.fact(_KNOWN)
    known = set[str]() if fact is None else set(json.loads(fact))
    newest = versions[-1]

    def is_known(one: Version) -> bool:
        # What is not in the index was neither pulled nor published yet: it was made here.
        return one.name in known or copy.names.of([one.path])[0] not in entries

    if not is_known(newest):
        return newest
    followed = {v.name for v in _ancestors(newest, versions)}
    left = [v for v in versions if not is_known(v) and v.name not in followed]
    return left[-1] if left else None


def _ancestors(one: Version, versions: Sequence[Version]) -> list[Version]:
    """The versions that one followed, the nearest first."""
    by_name, found = {v.name: v for v in versions}, list[Version]()
    while (before := by_name.get(one.after)) is not None and before.name < one.name:
        found.append(before)
        one = before
    return found


def _since(version: Version) -> str:
    return f"{version.kept_at:%Y-%m-%d %H:%M} UTC"


def _in_words(corrections: Iterable[Correction]) -> str:
    said = [_one_in_words(c) for c in corrections]
    more = f" and {len(said) - _TOLD} more" if len(said) > _TOLD else ""
    return "; ".join(said[:_TOLD]) + more


def _one_in_words(one: Correction) -> str:
    value = {ACCEPT: one.rule, VOID: str(one.before)}.get(one.field, f"{one.value:.10g}")
    return f"{one.ticker} {one.date} {one.field} {value} ({one.reason}, by {one.author})"
