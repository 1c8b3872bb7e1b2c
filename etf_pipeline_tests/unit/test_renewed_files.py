"""A file that is renewed between two runs: the whole of it is the answer, nothing known is lost."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.history.adjust import adjusted_close
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.model.rows import to_frame
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.settings import Settings
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
N = 150
DAYS = asx_days("2025-02-03", N)
VAS = instrument("VAS")
ROWS = bars(DAYS, walk(N))
EX = [30, 90, 140]
ROWS.loc[ROWS.index[EX], "dividends"] = [0.9, 0.7, 1.1]


def table(rows=ROWS, adj=True, dividends=True):
    """As yfinance writes it with auto_adjust off."""
    out = pd.DataFrame(
        {
            "Date": [f"{d:%Y-%m-%d}" for d in rows.index],
            **{n.title(): rows[n].to_numpy() for n in ("open", "high", "low", "close", "volume")},
        }
    )
    if adj:
        out["Adj Close"] = adjusted_close(rows["close"], rows["dividends"])
    if dividends:
        out["Dividends"] = rows["dividends"].to_numpy()
    return out


class Runs:
    def __init__(self, folder):
        self.folder = folder
        self.store = Store.at(folder / "store", 5.0)
        self.count = 0

    def __call__(self, content, full=False):
        content.to_csv(self.folder / "VAS.csv", index=False)
        self.count += 1
        now = NOW + dt.timedelta(minutes=self.count)
        run = Run(f"run{self.count:05d}", now, "XASX")
        source = FilesSource(self.folder, lambda: now)
        terms = Terms.of(Settings(), full)
        (got,) = download(self.store, run, source, [VAS], terms, clock=lambda: now).outcomes
        (made,) = update_histories(self.store, run, [VAS]).outcomes
        return got, made

    def history(self):
        return to_frame(read_table(self.store.layout.of(HISTORY, "VAS")))

    def batches(self):
        return sorted(self.store.layout.batches("XASX").glob("*.parquet"))


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def is_right(runs, rows=ROWS):
    history = runs.history()
    assert history.index.equals(rows.index)
    assert history["close"].to_numpy() == pytest.approx(rows["close"].to_numpy(), rel=1e-12)
    assert history["dividends"].to_numpy() == pytest.approx(rows["dividends"].to_numpy(), abs=1e-6)
    right = adjusted_close(rows["close"], rows["dividends"])
    assert history["adj_close"].to_numpy() == pytest.approx(right, rel=1e-6)


def test_yahoos_old_csv_keeps_its_adjusted_close(runs):
    """Date,Open,High,Low,Close,Adj Close,Volume: what was paid is implied, and said to be."""
    content = table(dividends=False)
    content = content[["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]]
    assert runs(content)[0].outcome == "collected"
    history = runs.history()
    assert history["adj_close"].to_numpy() == pytest.approx(content["Adj Close"], rel=1e-9)
    paid = np.zeros(N)
    paid[EX] = [0.9, 0.7, 1.1]
    assert history["dividends"].to_numpy() == pytest.approx(paid, abs=1e-6)
    found = read_table(runs.store.layout.of(QUARANTINE, "VAS")).to_pylist()
    assert [(r["date"], r["rule"]) for r in found] == [
        (DAYS[i].astype(object), "implied_distribution") for i in EX
    ]


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_adjusted_closes_with_a_day_missing_lose_that_day_only(runs, bad):
    """9.8, 9.8, -, 10, 10 and a dividend of .2 on day 4: the closes were 10 throughout."""
    closes = np.r_[9.8, 9.8, bad, 10.0, 10.0]
    content = pd.DataFrame(
        {"Date": [str(d) for d in DAYS[:5]], "Close": closes, "Dividends": [0, 0, 0, 0.2, 0]}
    ).assign(Open=closes, High=closes, Low=closes, Volume=1000)
    runs(content)
    history = runs.history()
    assert list(history.index) == list(pd.DatetimeIndex(DAYS[[0, 1, 3, 4]]))
    assert history["close"].to_numpy() == pytest.approx([10.0] * 4, rel=1e-9)
    assert history["adj_close"].to_numpy() == pytest.approx([9.8, 9.8, 10, 10], rel=1e-9)
    assert history["dividends"].tolist() == [0, 0, 0.2, 0]


def test_the_same_again_writes_no_batch(runs):
    runs(table())
    got, _ = runs(table())
    assert (got.outcome, got.reason) == ("unchanged", None)
    assert len(runs.batches()) == 1
    is_right(runs)


def test_new_rows_alone_enter_a_batch_as_a_window(runs):
    runs(table(ROWS[:145]))
    got, _ = runs(table())
    assert (got.outcome, got.rows_added, got.rows_revised) == ("updated", 5, 0)
    assert len(read_table(runs.batches()[-1])) < 40
    is_right(runs)


def restated(rows):
    out = rows.copy()
    out.loc[out.index[50], ["open", "high", "low", "close"]] *= 1.05
    return out


def other_amount(rows):
    out = rows.copy()
    out.loc[out.index[30], "dividends"] *= 1.1
    return out


MENDED = {
    "an old close": (table(), restated(ROWS)),
    "an old distribution": (table(), other_amount(ROWS)),
    "older rows": (table(ROWS[60:]), ROWS),
    "holes": (table(ROWS.drop(ROWS.index[[70, 71, 145]])), ROWS),
    "distributions": (table(adj=False, dividends=False), ROWS),
    "the older adjusted closes alone": (table(ROWS.assign(dividends=0.0), dividends=False), ROWS),
}


@pytest.mark.parametrize("what", MENDED)
def test_what_is_mended_anywhere_is_taken(runs, what):
    before, rows = MENDED[what]
    runs(before)
    got, made = runs(table(rows))
    assert (got.outcome, made.outcome) == ("updated", "updated")
    is_right(runs, rows)
    assert runs(table(rows))[0].outcome == "unchanged"


@pytest.mark.parametrize("full", [False, True])
def test_rows_that_went_missing_stay_and_are_told(runs, full):
    runs(table())
    gone = [DAYS[60], DAYS[145]]
    got, _ = runs(table(ROWS.drop(ROWS.index[[60, 145]])), full)
    assert got.outcome == "unchanged"
    assert got.reason_code == "rows_gone"
    for day in gone:
        assert str(day) in got.reason
    is_right(runs)


def test_an_older_file_is_told(runs):
    runs(table())
    got, _ = runs(table(ROWS[:100]))
    assert (got.outcome, got.reason_code) == ("unchanged", "rows_gone")
    assert f"50 known sessions are not in the file any more ({DAYS[100]}" in got.reason
    is_right(runs)


def test_a_file_of_new_rows_only_is_no_loss(runs):
    runs(table(ROWS[:135]))
    got, _ = runs(table(ROWS[130:]))
    assert (got.outcome, got.rows_added, got.reason) == ("updated", 15, None)
    is_right(runs)


@pytest.mark.parametrize("full", [False, True])
def test_a_column_that_is_not_there_is_not_a_zero(runs, full):
    """Unadjusted closes without distributions: what is known of these stays."""
    runs(table())
    got, _ = runs(table(adj=False, dividends=False), full)
    assert got.outcome == "unchanged"
    is_right(runs)


def test_new_rows_without_the_column_keep_the_known_distributions(runs):
    runs(table(ROWS[:145]))
    got, _ = runs(table(adj=False, dividends=False))
    assert (got.outcome, got.rows_added, got.rows_revised) == ("updated", 5, 0)
    is_right(runs)


def test_a_gain_stays_apart_from_the_dividend_that_holds_it(runs):
    """7.857 of which 6.42 is gain, known from a file with both columns; the next lacks one."""
    rows = ROWS.assign(dividends=0.0)
    rows.loc[rows.index[90], "dividends"] = 7.857
    rows.loc[rows.index[:90], ["open", "high", "low", "close"]] += 7.857  # which they fall by
    both = table(rows)
    both["Capital Gains"] = np.where(np.arange(N) == 90, 6.42, 0.0)
    runs(both)
    got, _ = runs(table(rows), full=True)
    assert got.outcome == "unchanged"
    history = runs.history()
    assert history["dividends"].iloc[90] == pytest.approx(7.857 - 6.42)
    assert history["capital_gains"].iloc[90] == 6.42


def test_adjusted_closes_without_distributions_do_not_replace_what_is_known(runs):
    """yfinance's default without its actions: its closes are those of total returns."""
    runs(table())
    adjusted = ROWS.assign(close=adjusted_close(ROWS["close"], ROWS["dividends"]))
    got, _ = runs(table(adjusted, adj=False, dividends=False))
    assert (got.outcome, got.reason_code) == ("rejected", "other_level")
    assert "no distributions" in got.reason
    is_right(runs)


def test_a_file_without_distributions_says_so_once(runs):
    content = table(adj=False, dividends=False)
    got, _ = runs(content)
    assert (got.outcome, got.reason_code) == ("collected", "no_distributions")
    assert runs(content)[0].reason is None


def test_new_rows_whose_distributions_are_implied_begin_on_a_known_session(runs):
    """The file begins on the ex-date: its Adj Close is its close, and nothing shows."""
    runs(table(ROWS[:140]))
    got, _ = runs(table(ROWS[140:], dividends=False))
    assert (got.outcome, got.reason_code) == ("rejected", "no_overlap")
    assert f"{DAYS[140]}" in got.reason
    is_right(runs, ROWS[:140])
    assert runs(table(ROWS[139:], dividends=False))[0].rows_added == 10
    is_right(runs)
