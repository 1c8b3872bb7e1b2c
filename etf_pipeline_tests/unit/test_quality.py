from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build
from etf_pipeline.history.peers import NOBODY
from etf_pipeline.history.quality import assess
from etf_pipeline.model.calendars import sessions
from etf_pipeline.store.basis import basis_of
from etf_pipeline.store.batches import BatchReader
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.peers import RawPeers
from etf_pipeline_tests.support import Others, asx_days, bars, instrument, walk

BASIS = Basis(sessions("XASX"))
DAYS = asx_days("2024-01-02", 300)
PRICES = ("open", "high", "low", "close")


def clean():
    return bars(DAYS, walk(300, seed=3))


def found(rows):
    return {(str(f.date), f.rule): f for f in assess(rows, BASIS)}


def rules(rows):
    return {f.rule for f in assess(rows, BASIS)}


def scaled(rows, part, factor):
    rows = rows.copy()
    rows.loc[rows.index[part], list(PRICES)] *= factor
    return rows


def test_clean_rows_have_no_finding():
    assert assess(clean(), BASIS) == []


@pytest.mark.parametrize("factor", [10, 15, 1 / 10, 1 / 15, 7])
def test_a_segment_on_another_level_is_found_whole(factor):
    shifted = found(scaled(clean(), slice(0, 80), factor))
    assert {d for d, r in shifted if r == "level_shift"} == {str(d) for d in DAYS[:80]}
    assert all("no split explains it" in f.evidence for f in shifted.values())


def test_pence_and_pounds_are_a_unit_change():
    """609.6 then 5.85: the new row is on the other unit, not a fall of 99 %."""
    rows = clean()
    rows.loc[rows.index[-1], list(PRICES)] /= 100
    one = found(rows)
    assert list(one) == [(str(DAYS[-1]), "unit_change")]
    assert one[(str(DAYS[-1]), "unit_change")].severity == "quarantined"


def test_a_split_not_applied_to_old_rows_quotes_the_split():
    rows = scaled(clean(), slice(0, 100), 10)
    rows.loc[rows.index[200], "stock_splits"] = 10.0
    shifted = found(rows)
    assert "split of 10" in shifted[(str(DAYS[0]), "level_shift")].evidence
    assert (str(DAYS[200]), "inverted_split") not in shifted


def test_a_split_stored_upside_down_is_flagged():
    rows = scaled(clean(), slice(0, 100), 10)
    rows.loc[rows.index[200], "stock_splits"] = 0.1
    flag = found(rows)[(str(DAYS[200]), "inverted_split")]
    assert flag.severity == "flagged"
    assert "the ratio is 10" in flag.evidence


def test_levels_that_flip_back_and_forth():
    rows = clean()
    bad = np.random.default_rng(1).choice(np.arange(5, 150), 40, replace=False)
    rows.iloc[bad, :4] *= 10
    assert {d for d, r in found(rows) if r == "level_shift"} == {str(DAYS[i]) for i in bad}


def test_a_small_factor_that_is_undone_is_a_fault_and_a_lasting_one_is_kept():
    undone = scaled(clean(), slice(100, 103), 2)
    assert {d for d, r in found(undone) if r == "level_shift"} == {str(d) for d in DAYS[100:103]}
    lasting = found(scaled(clean(), slice(100, None), 0.45))
    assert {r for _, r in lasting} == {"large_move"}
    assert next(iter(lasting.values())).severity == "flagged"


def judged(rows, peers=NOBODY):
    return {(str(f.date), f.rule): f for f in assess(rows, replace(BASIS, peers=peers))}


def test_a_crash_and_a_recovery_of_markets_are_no_fault():
    rows = scaled(scaled(clean(), slice(100, None), 0.7), slice(110, None), 1.25)
    assert judged(rows, Others(0.2)) == {}
    # Where nobody else moved, or nobody else is known, both are worth a word.
    for peers in (Others(0.01), NOBODY):
        told = judged(rows, peers)
        assert set(told) == {(str(DAYS[100]), "large_move"), (str(DAYS[110]), "large_move")}
        assert {f.severity for f in told.values()} == {"flagged"}


@pytest.mark.parametrize(
    ("factor", "split"),
    [(1.25, "5:4"), (1.5, "3:2"), (1.75, "7:4"), (0.65, None), (4 / 3, "4:3"), (0.5, "1:2")],
)
@pytest.mark.parametrize("peers", [Others(0.008), NOBODY], ids=["peers", "alone"])
def test_a_lasting_jump_in_a_calm_fund_is_flagged_and_names_the_split(factor, split, peers):
    rows = scaled(clean(), slice(0, 150), factor)
    ((key, flag),) = judged(rows, peers).items()
    assert key == (str(DAYS[150]), "large_move")
    move = rows["close"].iloc[150] / rows["close"].iloc[149] - 1
    assert f"{move:+.1%}" in flag.evidence
    assert ("declare stock_splits" in flag.evidence) == (split is not None)
    assert split is None or f"split of {split}:" in flag.evidence


def test_what_the_price_falls_for_is_no_jump():
    """A special distribution of a quarter of the price; without it in the data, a jump."""
    rows = scaled(clean(), slice(150, None), 0.75)
    rows.loc[rows.index[150], "dividends"] = rows["close"].iloc[149] / 4
    assert judged(rows, Others(0.008)) == {}
    assert set(judged(rows.assign(dividends=0.0), Others(0.008))) == {
        (str(DAYS[150]), "large_move")
    }


def test_a_jump_over_a_pause_is_measured_by_the_sessions_in_between():
    """−15 % in a month, in a fund that moves by 0.8 % a day, is 4 deviations of a month."""
    rows = scaled(clean(), slice(150, None), 0.85)
    assert (str(DAYS[150]), "large_move") in judged(rows)
    paused = rows.drop(rows.index[130:150])
    assert "large_move" not in {rule for _, rule in judged(paused)}


def test_a_geared_fund_s_own_moves_are_the_measure():
    rows = bars(DAYS, 100 * np.cumprod(1 + np.random.default_rng(1).normal(0, 0.035, len(DAYS))))
    fallen = scaled(rows, slice(100, None), 0.751)
    assert judged(fallen, Others(0.06)) == {}
    assert judged(fallen) == {}


def test_a_zero_open():
    rows = clean()
    rows.iloc[7, 0] = 0.0
    assert found(rows)[(str(DAYS[7]), "zero_open")].severity == "quarantined"


def test_a_close_outside_its_range():
    rows = clean()
    rows.iloc[7, 1] = rows.iloc[7, 3] * 0.999
    assert rules(rows) == {"close_out_of_range"}


def test_impossible_prices():
    rows = clean()
    rows.iloc[7, 3] = -1.0
    rows.iloc[9, 1], rows.iloc[9, 2] = rows.iloc[9, 2], rows.iloc[9, 1]
    assert (str(DAYS[7]), "impossible_price") in found(rows)
    assert (str(DAYS[9]), "high_below_low") in found(rows)


def test_a_bar_on_a_holiday_is_removed_only_when_nobody_traded():
    rows = pd.concat([clean(), bars(["2024-12-25"], [100.0])]).sort_index()
    assert found(rows)[("2024-12-25", "unscheduled_session")].severity == "flagged"
    rows.loc["2024-12-25", "volume"] = 0.0
    assert found(rows)[("2024-12-25", "holiday_bar")].severity == "quarantined"


WEEKDAYS = pd.bdate_range(DAYS[0].astype("datetime64[D]"), DAYS[-1].astype("datetime64[D]"))
NO_SESSIONS = sorted(set(map(str, WEEKDAYS.date)) - {str(d.astype("datetime64[D]")) for d in DAYS})


@pytest.mark.parametrize("fill", ["ffill", "interpolate"])
def test_holidays_that_somebody_filled_are_removed_though_volume_was_filled_too(fill):
    rows = clean()
    rows["volume"] = np.round(np.exp(np.random.default_rng(2).normal(10, 0.5, len(rows))))
    filled = getattr(rows.reindex(WEEKDAYS.rename("date").as_unit("s")), fill)()
    assert len(NO_SESSIONS) > 3
    told = found(filled)
    assert set(told) == {(day, "holiday_bar") for day in NO_SESSIONS}
    assert {f.severity for f in told.values()} == {"quarantined"}


def test_a_bar_on_a_holiday_that_is_nearly_the_one_before_is_a_session_of_some_kind():
    rows = clean().reindex(WEEKDAYS.rename("date").as_unit("s")).ffill()
    rows.loc[NO_SESSIONS, "volume"] += 1
    assert {rule for _, rule in found(rows)} == {"unscheduled_session"}


def test_a_missing_session_is_recorded():
    rows = clean().drop(pd.Timestamp(DAYS[50]))
    assert found(rows)[(str(DAYS[50]), "missing_session")].severity == "missing"


def test_a_flat_run_is_only_flagged():
    rows = clean()
    rows.iloc[20:26, :4] = rows.iloc[20, :4].to_numpy()
    flag = found(rows)[(str(DAYS[20]), "stale_run")]
    assert flag.severity == "flagged"
    assert "on 6 sessions" in flag.evidence


def test_weekly_bars_are_not_full_of_missing_sessions():
    assert rules(clean()[::5]) == set()


def test_an_event_without_a_price_is_pending():
    rows = clean()
    rows.iloc[-1, :5] = np.nan
    rows.iloc[-1, 5] = 0.395
    pending = found(rows)[(str(DAYS[-1]), "event_without_price")]
    assert pending.severity == "pending"
    assert "dividends 0.395" in pending.evidence


def test_rows_do_not_need_to_be_many():
    assert assess(clean()[:1], BASIS) == []
    assert assess(clean()[:0], BASIS) == []


def weekday_basis(mic):
    """As the store has it, of nobody else."""
    nowhere = Layout(Path("nowhere"))
    return basis_of(instrument(exchange=mic), RawPeers(nowhere, BatchReader(nowhere)), ())


def weekdays(first, n):
    days = np.arange(np.datetime64(first), np.datetime64(first) + 2 * n)
    return days[np.is_busday(days)][:n]


@pytest.mark.parametrize("mic", ["FX", "INDX"])
def test_what_has_no_exchange_may_rest_on_any_weekday(mic):
    """Christmas, New Year, Easter, and the eight weekdays of a Golden Week: no finding."""
    basis = weekday_basis(mic)
    days = weekdays("2023-12-01", 300)
    rest = [np.datetime64(d) for d in ("2023-12-25", "2024-01-01", "2024-03-29", "2024-04-01")]
    rest += list(np.arange(np.datetime64("2024-10-01"), np.datetime64("2024-10-11")))
    rows = bars(days, walk(len(days)), volume=0.0)
    assert assess(rows[~np.isin(days, rest)], basis) == []
    # A month without a bar is a gap all the same.
    gap = (days >= np.datetime64("2024-06-03")) & (days < np.datetime64("2024-07-01"))
    missing = [str(f.date) for f in assess(rows[~gap], basis) if f.rule == "missing_session"]
    assert missing == [str(d) for d in days[gap]]


@pytest.mark.parametrize(("mic", "rule"), [("FX", "holiday_bar"), ("INDX", "unscheduled_session")])
def test_only_currencies_rest_on_every_sunday(mic, rule):
    days = np.sort(np.r_[weekdays("2024-01-01", 30), np.datetime64("2024-01-21")])
    rows = bars(days, walk(len(days)), volume=0.0)
    (one,) = assess(rows, weekday_basis(mic))
    assert (str(one.date), one.rule) == ("2024-01-21", rule)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("high", np.inf, "impossible_bar"),
        ("low", -5.0, "impossible_bar"),
        ("low", 0.0, "impossible_bar"),
        ("low", -np.inf, "impossible_bar"),
        ("volume", -5.0, "impossible_volume"),
        ("volume", np.inf, "impossible_volume"),
        ("stock_splits", -2.0, "impossible_split"),
        ("stock_splits", 1e9, "impossible_split"),
        ("stock_splits", np.inf, "impossible_split"),
    ],
)
def test_what_no_bar_can_have_is_a_finding_and_the_close_stays(column, value, rule):
    rows = clean()
    rows.loc[rows.index[100], column] = value
    ((key, finding),) = found(rows).items()
    assert key == (str(DAYS[100]), rule)
    assert finding.severity == "flagged"
    assert f"{value:g}" in finding.evidence


@pytest.mark.parametrize(
    ("factor", "rules_found"),
    [(3.0, {"open_out_of_range"}), (0.5, {"open_out_of_range"}), (1.03, set()), (0.97, set())],
)
def test_an_open_far_outside_the_range(factor, rules_found):
    """The high is 1 % over the close, the low 1 % under it."""
    rows = clean()
    rows.loc[rows.index[100], "open"] = rows["close"].iloc[100] * factor
    assert rules(rows) == rules_found


def test_what_is_not_known_is_not_wrong():
    rows = clean()
    rows.loc[rows.index[100:110], ["open", "high", "low", "volume"]] = np.nan
    assert assess(rows, BASIS) == []


@pytest.mark.parametrize("peers", [Others(-0.06), NOBODY], ids=["peers", "alone"])
@pytest.mark.parametrize(
    ("factors", "volume"),
    [
        ({200: 1 - 0.249, 203: 1.234}, 1.5),  # geared four times, shares fell by 6 %
        ({200: 0.06}, 30.0),  # overnight, and it never came back
    ],
    ids=["geared", "wound up"],
)
def test_real_crashes_take_no_row_with_them(factors, volume, peers):
    """All rows are in the history that is built, whatever is said of them."""
    rng = np.random.default_rng(6)
    moves = 1 + rng.normal(0, 0.03, 300)
    for i, factor in factors.items():
        moves[i] = factor
    traded = np.exp(rng.normal(10, 0.4, 300))
    traded[200] = volume * np.exp(10)
    rows = bars(DAYS, 30 * np.cumprod(moves), volume=np.round(traded))
    built = build(rows, replace(BASIS, peers=peers))
    assert built.history.column("close").to_pylist() == rows["close"].tolist()
    assert "quarantined" not in built.quarantine.column("severity").to_pylist()
    assert built.history.column("adj_close").to_pylist() == rows["close"].tolist()
