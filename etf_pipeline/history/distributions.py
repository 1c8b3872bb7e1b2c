"""Rules on distributions: which amounts may be used, each doubt with its evidence. Pure.

What an amount is held against: the fall of the price on its ex-date, the ticker's other
distributions in proportion to their prices, what the source itself took off its adjusted close, the
splits near it, and its own currency. Real distributions vary tenfold and more from quarter to
quarter, so size alone never convicts one; and where prices are too noisy to tell, it is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.history.corrections import Key
from etf_pipeline.history.evidence import Evidence
from etf_pipeline.history.judgement import Court, Judged
from etf_pipeline.history.payments import LARGE, Payments
from etf_pipeline.model.rows import values_of
from etf_pipeline.model.schemas import VALUE_COLUMNS

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
IMPLIED = "implied"

# How many units of the one make a unit of the other.
_MINOR = {("GBp", "GBP"): 100.0, ("ZAc", "ZAR"): 100.0, ("ILA", "ILS"): 100.0}
_UNITS = _MINOR | {(b, a): 1.0 / f for (a, b), f in _MINOR.items()}

# Natural logarithms of how much likelier the price's course is without the amount than with it.
_CERTAIN = 18.0
_PLAIN = 6.0  # for an amount so large that a wrong one does harm
_LIKELY = 4.0
_SLIGHT = 0.5
_DOUBTFUL = 3.0
_NOT_SEEN = -1.0
_DIGITS = 1e-6
_SEEN = -4.0  # the price fell as it should: the amount is real
_FAR = 20.0  # times the scale
_NOTABLE, _VISIBLE = 0.02, 0.005  # of the price
_ALIKE = 1.8
_SAME_FACTOR = 0.03
_NEARLY = 0.15  # the same, on the next session
_EXACTLY = 1e-6
_SOON = 12  # sessions, from the ex-date to when it is paid


def judge(
    rows: pd.DataFrame,
    clean: Mask,
    evidence: Evidence,
    declared: frozenset[np.datetime64] = frozenset(),
    accepted: Mapping[Key, str] = MappingProxyType({}),
) -> Judged:
    """Judge every distribution of a ticker.

    Args:
        rows: every known row, as `model.rows` has them; income and gains do not overlap.
        clean: which rows have a price that may be used, shape (n,).
        evidence: what the source said besides.
        declared: dates whose amounts somebody has declared; only what is impossible is still
            refused there.
        accepted: by date and rule, why somebody accepts what the rule objects to.

    Returns:
        Amounts that count, and a finding for each that does not or is not as published.
    """
    values = values_of(rows)
    income = values[:, VALUE_COLUMNS.index("dividends")].copy()
    gains = values[:, VALUE_COLUMNS.index("capital_gains")].copy()
    judged = Judged(income, gains, explained=np.zeros(len(rows), np.bool_))
    if not (np.any(income != 0) or np.any(gains != 0)):
        return judged
    court = Court(rows, clean, evidence, judged, declared, accepted)
    for rule in _RULES:
        rule(court)
    return judged


def _units(court: Court) -> None:
    """Amounts in another currency are not taken; pence and pounds are turned into each other."""
    own = court.evidence.currency
    for day, note in court.evidence.notes.items():
        row = int(np.searchsorted(court.days, np.datetime64(day)))
        there = row < len(court.days) and court.days[row] == np.datetime64(day)
        amount = _total(court, row) if there else 0.0
        if amount == 0 or note == own:
            continue
        if note == IMPLIED:
            text = f"{amount:g} is implied by the ratio of the source's adjusted close"
            court.flag(row, "implied_distribution", text)
        elif (factor := _UNITS.get((own or "", note))) is not None:
            text = f"{amount:g} is in {note}, prices are in {own}: taken as {amount * factor:g}"
            court.restate(row, factor, "dividend_unit", text)
        else:
            text = f"{amount:g} is in {note}, prices are in {own}: not taken as {own}"
            court.withhold(row, "dividend_currency", text)


def _impossible(court: Court) -> None:
    total = court.judged.dividends + court.judged.capital_gains
    odd = ~np.isfinite(total) | (court.judged.dividends < 0) | (court.judged.capital_gains < 0)
    for row in np.flatnonzero(odd):
        text = (
            f"dividend {court.judged.dividends[row]:g}, "
            f"capital gain {court.judged.capital_gains[row]:g}"
        )
        court.withhold(int(row), "negative_distribution", text)
    paid = court.paid
    for k in np.flatnonzero(paid.amount >= paid.before):
        text = f"{paid.amount[k]:g} is not below the close {paid.before[k]:g} before it"
        court.withhold(int(paid.row[k]), "distribution_above_price", text)


def _apart(court: Court) -> None:
    """Whether a gain is part of the dividend or comes on top of it, where the source tells."""
    paid = court.paid
    for k in np.flatnonzero(court.judged.capital_gains[paid.row] > 0):
        row = int(paid.row[k])
        income, gain = court.judged.dividends[row], court.judged.capital_gains[row]
        theirs = paid.theirs[k]
        if _near(theirs, income + gain) or not np.isfinite(theirs):
            continue
        if _near(theirs, income + 2 * gain) and income + 2 * gain < paid.before[k]:
            text = (
                f"gain {gain:g} is not part of the dividend {income + gain:g}: the source took "
                f"{theirs:.6g} off its adjusted close"
            )
            court.replace(row, income + gain, gain, "capital_gain_apart", text)
        elif income > 0 and _near(theirs, gain):
            text = (
                f"dividend {income:g} is part of the gain {gain:g}: the source took "
                f"{theirs:.6g} off its adjusted close"
            )
            court.replace(row, 0.0, gain, "capital_gain_overlap", text)


def _bases(court: Court) -> None:
    """Amounts on the basis of before a split, which no longer is that of the prices."""
    at = np.flatnonzero((court.splits > 0) & (court.splits != 1.0))
    if len(at) == 0:
        return
    paid = court.paid
    before: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for k in range(len(paid.row)):
        row = int(paid.row[k])
        near = [i for i in at if abs(i - row) <= 1]
        found = [court.splits[i] for i in near if _is_older(paid, k, court.splits[i])]
        if found:
            split, amount = float(found[0]), paid.amount[k]
            text = (
                f"{amount:g} beside a split of {split:g} is {100 * paid.shares[k]:.3g} % of the "
                f"price where {100 * paid.scales[k]:.3g} % is usual: {amount / split:g} on the "
                "basis of after it"
            )
            court.restate(row, 1.0 / split, "distribution_basis", text)
        else:
            before[tuple(at[at > row].tolist())].append(k)
    for later, members in before.items():
        _before_splits(court, paid, later, members)


def _is_older(paid: Payments, k: int, split: float) -> bool:
    """Whether an amount beside a split fits the others only when divided by it."""
    off = _times(paid.shares[k], paid.scales[k])
    fits = _times(paid.shares[k] / split, paid.scales[k])
    # Where all others are alike, a smaller split shows.
    others = np.delete(paid.shares, k)
    if len(others) > 2 and others.max() < 1.3 * others.min():
        return bool(fits < 1.3 < off / fits and paid.odds_of(k, 1 / split) > _SEEN)
    return bool(fits < _ALIKE and off > max(2.0, 1.5 * fits) and paid.doubt(k) > _SEEN)


def _before_splits(
    court: Court, paid: Payments, later: tuple[int, ...], members: list[int]
) -> None:
    """Amounts that the source's adjusted close and the later yields have over the later splits.

    The source tells of each amount, the yields of all of them together, as single ones vary.
    """
    if not later:
        return
    ratio, after = float(np.prod(court.splits[list(later)])), paid.scale_since(later[-1])
    told = [k for k in members if _near(paid.theirs[k], paid.amount[k] / ratio)]
    if ratio == 1.0 or after is None or not told:
        return
    share = float(np.median(paid.shares[told]))
    if _times(share / ratio, after) >= _times(share, after):
        return
    for k in told:
        amount = paid.amount[k]
        text = (
            f"{amount:g}: the source took {paid.theirs[k]:.6g} off its adjusted close, which is "
            f"{amount:g} over the split of {ratio:g} since, as the yields after it say "
            f"({100 * after:.3g} %)"
        )
        court.restate(int(paid.row[k]), 1.0 / ratio, "distribution_basis", text)


def _twice(court: Court) -> None:
    """The same amount within a few sessions, or nearly on the next, with one fall at most."""
    paid = court.paid
    if not np.any(np.diff(paid.position) <= _SOON):
        return
    usual = paid.usual_gap()
    k = 1
    while k < len(court.paid.row):
        paid = court.paid
        one, two = k - 1, k
        apart = int(paid.position[two] - paid.position[one])
        limit = _NEARLY if apart == 1 else _EXACTLY
        same = abs(paid.amount[two] / paid.amount[one] - 1.0) <= limit
        k += 1
        if not same or not 0 < apart <= _SOON or (usual is not None and apart * 3 > usual):
            continue
        doubts = paid.doubt(one), paid.doubt(two)
        # A new fund may pay the same each week: then only the price tells.
        if max(doubts) < (_SLIGHT if usual is None and apart > 1 else _SEEN):
            continue
        # Which of both is the copy shows only where prices are quiet; else the later one is.
        out = one if doubts[0] > doubts[1] + _LIKELY else two
        kept = one + two - out
        text = (
            f"{paid.amount[out]:g} repeats {paid.amount[kept]:g} of "
            f"{court.days[paid.row[kept]]}, {apart} sessions apart; "
            f"the price moved by {100 * paid.move[out]:.3g} %"
        )
        if court.withhold(int(paid.row[out]), "distribution_twice", text):
            k = max(1, k - 1)


def _out_of_scale(court: Court) -> None:
    """Amounts that the price did not fall for, though it should have shown."""
    paid = court.paid
    for k in paid.unseen():
        doubt = paid.doubt(k)
        if doubt <= _SLIGHT or paid.seen_nearby(k):
            continue
        scale, largest, share = paid.scales[k], paid.largest(k), paid.shares[k]
        far = share > _FAR * scale  # never, where there is no scale
        limit = _PLAIN if share > LARGE else _CERTAIN
        if share > LARGE and paid.beyond(k):
            limit = _LIKELY
        if far and share > 4 * largest:
            limit = _SLIGHT if share > _FAR * largest else _LIKELY
        if doubt > limit:
            rule = "distribution_scale" if far else "distribution_without_fall"
            court.withhold(int(paid.row[k]), rule, _against_the_price(paid, k))


def _against_the_price(paid: Payments, k: int | np.intp) -> str:
    """An amount, what the price did, and what is usual, in words."""
    scale = paid.scales[k]
    text = (
        f"{paid.amount[k]:g} is {100 * paid.shares[k]:.3g} % of the close {paid.before[k]:g}, "
        f"which moved by {100 * paid.move[k]:.3g} % (usually {100 * paid.noise[k]:.2g} %)"
    )
    return text + (f"; usual distributions are {100 * scale:.3g} %" if scale > 0 else "")


def _pooled(court: Court) -> None:
    """Many amounts at once that prices do not fall for: another unit throughout."""
    paid = court.paid
    share = paid.shares
    visible = np.flatnonzero((share > 1.5 * paid.noise) & np.isfinite(paid.noise))
    if len(visible) < 3:
        return
    # None counts for more than half of them do: a few wrong amounts are not all of them.
    weight = (share[visible] / paid.noise[visible]) ** 2
    weight = np.minimum(weight, np.median(weight))
    power = float(np.sum(weight))
    # Beyond twice the amount, either way, a move says no more of it.
    falls = np.clip(-paid.move[visible] / share[visible], -2.0, 2.0)
    fell = float(np.sum(weight * falls)) / power
    if fell > 0.3 or (0.6 - fell) * np.sqrt(power) < 5.0:
        return
    for k in visible:
        if paid.doubt(k) > _SEEN:
            text = (
                f"{paid.amount[k]:g} is {100 * share[k]:.3g} % of the close {paid.before[k]:g}; "
                f"on {len(visible)} ex-dates prices fell by {fell:.2g} of the amounts only"
            )
            court.withhold(int(paid.row[k]), "distribution_scale", text)


def _hundredfold(court: Court) -> None:
    """A hundredth, or a hundred times, of what the source itself took off its adjusted close."""
    paid = court.paid
    for times in (100.0, 0.01):
        meant = times * paid.amount
        told = np.isfinite(paid.theirs) & (np.abs(paid.theirs - meant) <= _SAME_FACTOR * meant)
        for k in np.flatnonzero(told):
            text = (
                f"{paid.amount[k]:g}, yet the source took {paid.theirs[k]:.6g} off its adjusted "
                f"close: perhaps {meant[k]:g}"
            )
            court.withhold(int(paid.row[k]), "distribution_scale", text)


def _too_small(court: Court) -> None:
    """A hundredth of what is usual, if the price says so."""
    paid = court.paid
    share, scales = paid.shares, paid.scales
    low = (share * _FAR < scales) & (100 * share > 0.25 * scales) & (100 * share < 4 * scales)
    for k in np.flatnonzero(low):
        odds = ((paid.move[k] + share[k]) ** 2 - (paid.move[k] + 100 * share[k]) ** 2) / (
            2 * paid.noise[k] ** 2
        )
        if odds > _LIKELY:
            text = (
                f"{paid.amount[k]:g} is {100 * share[k]:.3g} % of the price where "
                f"{100 * scales[k]:.3g} % is usual, and the price fell by "
                f"{-100 * paid.move[k]:.3g} %: perhaps {100 * paid.amount[k]:g}"
            )
            court.withhold(int(paid.row[k]), "distribution_scale", text)


def _doubtful(court: Court) -> None:
    """Amounts that are kept, and that the price rather did not fall for.

    Or that are larger by far than all others, and that it did not clearly fall for.
    """
    paid = court.paid
    near = paid.suspicions > _NOT_SEEN - _DIGITS  # the lower of both limits
    for k in np.flatnonzero((paid.shares > _VISIBLE) & near):
        suspicion = paid.suspicion(k)
        unlikely = suspicion > _DOUBTFUL and paid.shares[k] > _NOTABLE
        unlikely |= suspicion > _NOT_SEEN and paid.beyond(k)
        if unlikely and not paid.seen_nearby(k):
            text = _against_the_price(paid, k)
            if paid.shares[k] > paid.largest(k) > 0:
                text += f", the largest other {100 * paid.largest(k):.3g} %"
            court.doubt(int(paid.row[k]), f"{text}: kept")


_RULES = (
    _units,
    _impossible,
    _apart,
    _bases,
    _twice,
    _out_of_scale,
    _pooled,
    _hundredfold,
    _too_small,
    _doubtful,
)


def _total(court: Court, row: int) -> float:
    return float(court.judged.dividends[row] + court.judged.capital_gains[row])


def _near(theirs: float, amount: float) -> bool:
    return bool(np.isfinite(theirs) and abs(theirs - amount) <= _SAME_FACTOR * amount)


def _times(share: float, scale: float) -> float:
    """How many times two shares are apart, either way."""
    return float(np.exp(abs(np.log(share / scale))))
