"""What a file says besides its prices: adjusted or not, whose, in what; or a refusal, by name."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import RejectedDataError
from etf_pipeline.history.adjust import adjusted_close
from etf_pipeline.ingest.answers import check_identity
from etf_pipeline_tests.support import asx_days, instrument
from etf_pipeline_tests.unit.test_files_of_any_origin import read, refused

N = 300
DAYS = asx_days("2024-01-02", N)
EX = [40, 105, 170, 235, 290]
PAID = np.zeros(N)
PAID[EX] = [0.9, 0.7, 1.1, 0.8, 0.85]
MOVES = np.random.default_rng(5).normal(3e-4, 0.004, N)


def closes():
    """Ticks of a cent; each ex-date's falls by what is paid."""
    out = np.empty(N)
    out[0] = 90.0
    for i in range(1, N):
        out[i] = round((out[i - 1] - PAID[i]) * np.exp(MOVES[i]), 2)
    return out


CLOSE = closes()
FACTOR = adjusted_close(pd.Series(CLOSE, DAYS), pd.Series(PAID, DAYS)) / CLOSE


def text(columns):
    return pd.DataFrame({"Date": DAYS, **columns}).to_csv(index=False)


def rows_of(answer):
    assert not hasattr(answer, "reason"), answer.reason
    return answer.rows


ADJUSTED = [
    *("Adj Close", "AdjClose", "adj_close", "Adjusted Close", "AdjustedClose", "Close (adj.)"),
    *("Close Adj", "Adj Close Price", "5. adjusted close", "adjClose", "Adj. Close", "Adj Close**"),
]
PAYING = [
    *("Dividends", "Dividend", "Div", "Distribution", "Distributions", "dividend_amount"),
    *("divCash", "Cash Dividend", "Dividend Amount", "7. dividend amount", "Ex-Dividend"),
    *("Dividends (AUD)",),
]
UNKNOWN = [
    *("Adj", "Adjusted", "Total Return Close", "TotalReturn", "DPS", "Dividends (cents)"),
    *("Adj Factor", "Gross Dividend", "Unadjusted Close", "Close (unadj.)", "Reinvested Dividend"),
    *("Adj Open", "Split Adjusted"),
]


@pytest.mark.parametrize("name", ADJUSTED)
def test_an_adjusted_close_under_any_of_its_names(tmp_path, name):
    rows = rows_of(read(tmp_path, text({"Close": CLOSE, name: CLOSE * FACTOR})))
    assert rows["dividends"].to_numpy() == pytest.approx(PAID, abs=1e-6)
    assert rows["close"].tolist() == CLOSE.tolist()


@pytest.mark.parametrize("name", PAYING)
def test_distributions_under_any_of_their_names(tmp_path, name):
    """Closes that are adjusted, as yfinance writes them: the ticks come back."""
    rows = rows_of(read(tmp_path, text({"Close": CLOSE * FACTOR, name: PAID})))
    assert rows["dividends"].tolist() == PAID.tolist()
    assert rows["close"].to_numpy() == pytest.approx(CLOSE, rel=1e-9)


@pytest.mark.parametrize("name", ["Stock Splits", "splitFactor", "Split Ratio", "Split"])
def test_splits_under_any_of_their_names(tmp_path, name):
    ratios = np.ones(N)
    ratios[100] = 2.0
    rows = rows_of(read(tmp_path, text({"Close": CLOSE, "Adj Close": CLOSE, name: ratios})))
    assert np.flatnonzero(rows["stock_splits"]).tolist() == [100]
    assert rows["stock_splits"].iloc[100] == 2.0


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_column_that_may_tell_of_distributions_is_never_passed_over(tmp_path, name):
    refused(read(tmp_path, text({"Close": CLOSE, name: CLOSE})), repr(name), "VAS.csv")


@pytest.mark.parametrize("name", ["Dividend Yield", "Ex-Dividend Date", "Change %", "Trades"])
def test_other_facts_are_left_out(tmp_path, name):
    assert len(rows_of(read(tmp_path, text({"Close": CLOSE, name: CLOSE})))) == N


def test_adjusted_bars_beside_an_adjusted_close_are_left_out(tmp_path):
    """Tiingo's columns."""
    names = ("adjHigh", "adjLow", "adjOpen", "adjVolume")
    columns = {"close": CLOSE, "adjClose": CLOSE * FACTOR, **dict.fromkeys(names, CLOSE)}
    columns |= {"divCash": PAID, "splitFactor": np.ones(N)}
    rows = rows_of(read(tmp_path, text(columns)))
    assert rows["dividends"].tolist() == PAID.tolist()
    assert not rows["stock_splits"].any()


def test_closes_that_fall_by_the_amounts_are_not_adjusted(tmp_path):
    content = text({"Close": CLOSE, "Dividends": PAID})
    refused(read(tmp_path, content), "they fall by the amounts", str(DAYS[290]), "line 292")
    rows = rows_of(read(tmp_path, content, sidecar={"prices": "unadjusted"}))
    assert rows["close"].tolist() == CLOSE.tolist()
    assert rows["dividends"].tolist() == PAID.tolist()
    assert rows["adj_close_source"].isna().all()


def test_an_adjusted_close_that_is_the_close_tells_nothing(tmp_path):
    """Both adjusted, as some exports have it, or neither."""
    adjusted = CLOSE * FACTOR
    rows = rows_of(
        read(tmp_path, text({"Close": adjusted, "Adj Close": adjusted, "Dividends": PAID}))
    )
    assert rows["close"].to_numpy() == pytest.approx(CLOSE, rel=1e-9)
    answer = read(tmp_path, text({"Close": CLOSE, "Adj Close": CLOSE, "Dividends": PAID}))
    refused(answer, "they fall by the amounts")


@pytest.mark.parametrize("decimals", [6, 2])
def test_adjusted_closes_are_known_by_their_moves_even_when_rounded(tmp_path, decimals):
    content = text({"Close": np.round(CLOSE * FACTOR, decimals), "Dividends": PAID})
    rows = rows_of(read(tmp_path, content))
    assert rows["close"].to_numpy() == pytest.approx(CLOSE, abs=0.6 * 10.0**-decimals)


def test_ticks_with_distributions_that_are_lost_in_other_moves_are_asked_about(tmp_path):
    small = np.where(PAID > 0, 0.12, 0.0)
    content = text({"Close": CLOSE, "Dividends": small})
    refused(read(tmp_path, content), "nothing tells", '{"prices": "adjusted"}')
    undone = rows_of(read(tmp_path, content, sidecar={"prices": "adjusted"}))
    assert undone["close"].iloc[0] > CLOSE[0]
    refused(read(tmp_path, content, sidecar={"prices": "raw"}), "prices must be")


@pytest.mark.parametrize("factor", [100.0, 10.0, 0.1, 0.01])
def test_amounts_of_another_unit_than_adjusted_closes(tmp_path, factor):
    """Too much is refused; too little does not bring the ticks back but changes little."""
    content = text({"Close": CLOSE * FACTOR, "Dividends": PAID * factor})
    answer = read(tmp_path, content)
    if factor > 1:
        refused(answer, "in a year", "another unit or currency")
    else:
        assert len(rows_of(answer)) == N


def test_a_distribution_where_adj_close_is_missing(tmp_path):
    """It may be of that day or of the next."""
    adjusted = pd.Series(CLOSE * FACTOR)
    adjusted[105] = np.nan
    answer = read(tmp_path, text({"Close": CLOSE, "Adj Close": adjusted}))
    refused(answer, "which day", str(DAYS[106]))
    adjusted[106:110] = adjusted[105:110].to_numpy()[1:]
    adjusted = pd.Series(CLOSE * FACTOR)
    adjusted[110] = np.nan
    rows = rows_of(read(tmp_path, text({"Close": CLOSE, "Adj Close": adjusted})))
    assert rows["dividends"].to_numpy() == pytest.approx(PAID, abs=1e-6)


def test_a_file_without_distributions_says_so(tmp_path):
    answer = read(tmp_path, text({"Close": CLOSE}))
    assert [r.code for r in answer.remarks] == ["no_distributions"]
    for columns in ({"Close": CLOSE, "Adj Close": CLOSE}, {"Close": CLOSE, "Dividends": 0.0}):
        assert read(tmp_path, text(columns)).remarks == ()


PLAIN = text({"Close": CLOSE})
USD = {
    "column": text({"Close": CLOSE, "Currency": "USD"}),
    "ccy": text({"Close": CLOSE, "ccy": "usd"}),
    "on one row": text({"Close": CLOSE, "Currency": ["AUD"] * (N - 1) + ["USD"]}),
    "yahoo": "Currency in USD\n" + PLAIN,
    "comment": "# Currency: USD\n" + PLAIN,
    "cells": "Currency,USD\n" + PLAIN,
    "words": "Vanguard, prices in USD\n" + PLAIN,
    "header": text({"Close (USD)": CLOSE}),
}


@pytest.mark.parametrize("kind", USD)
def test_the_currency_that_a_file_states(tmp_path, kind):
    with pytest.raises(RejectedDataError, match=r"prices are in (?i:usd), the universe says AUD"):
        check_identity(read(tmp_path, USD[kind]))
    check_identity(read(tmp_path, USD[kind].replace("USD", "AUD").replace("usd", "AUD")))


@pytest.mark.parametrize(
    ("said", "currency", "same"),
    [
        ("GBX", "GBp", True),
        ("GBp", "GBp", True),
        ("GBX", "GBP", False),
        ("GBp", "GBP", False),
        ("GBP", "GBp", False),
        ("ILA", "ILS", False),
        ("ZAc", "ZAc", True),
    ],
)
@pytest.mark.parametrize("where", ["column", "header", "preamble"])
def test_minor_units(tmp_path, said, currency, same, where):
    content = {
        "column": text({"Close": CLOSE, "Currency": said}),
        "header": text({f"Close ({said})": CLOSE}),
        "preamble": f"Currency: {said}\n" + PLAIN,
    }[where]
    answer = read(tmp_path, content, asked=instrument("VAS", currency=currency))
    if same:
        check_identity(answer)
    else:
        with pytest.raises(RejectedDataError, match=f"prices are in {said}"):
            check_identity(answer)


OTHERS = {
    **{
        n: text({"Close": CLOSE, n: "VGS.AX"})
        for n in ("Symbol", "Code", "RIC", "Instrument", "Security", "ISIN", "Name", "Stock")
    },
    "plain code": text({"Close": CLOSE, "ASX Code": "VGS"}),
    "before, named": "Symbol: VGS.AX\n" + PLAIN,
    "before, in cells": "Ticker,VGS.AX\n" + PLAIN,
    "before, in words": "VGS.AX - Vanguard Intl\n" + PLAIN,
    "comment": "# VGS.AX daily\n" + PLAIN,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_security_named_in_the_file(tmp_path, kind):
    with pytest.raises(RejectedDataError, match="got VGS"):
        check_identity(read(tmp_path, OTHERS[kind]))
    check_identity(read(tmp_path, OTHERS[kind].replace("VGS", "VAS")))


@pytest.mark.parametrize(
    "content",
    [
        text({"Close": CLOSE, "Name": "Vanguard Australian Shares"}),
        text({"Close": CLOSE, "Code": "12345"}),
        text({"Close": CLOSE, "Security": "ETF"}),
        text({"Close": CLOSE, "ISIN": "AU000000VAS1"}),
        text({"Close": CLOSE, "RIC": "VAS.CHA"}),
        text({"Close": CLOSE, "Ticker": "VAS", "RIC": "VAS.AX"}),
        "VAS.AX against ^AXJO.AX, U.S. dollars not in it\n" + PLAIN,
        "Prices of VAS\nCode list 7\nCurrency risk in the fund\n" + PLAIN,
    ],
)
def test_what_names_no_other_security_for_certain(tmp_path, content):
    check_identity(read(tmp_path, content))


def test_two_securities_in_one_file(tmp_path):
    isins = ["IE00B3RBWM25"] * 200 + ["IE00BK5BQT80"] * (N - 200)
    with pytest.raises(RejectedDataError, match="IE00B3RBWM25 and IE00BK5BQT80"):
        check_identity(read(tmp_path, text({"Close": CLOSE, "ISIN": isins})))


def german(number):
    return f"{number:,.0f}".replace(",", ".")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_dots_that_may_be_thousands(tmp_path, delimiter):
    """2.345 is 2345 in Germany; a volume of 12000 beside it proves nothing."""
    lines = [delimiter.join(("Date", "Close", "Volume"))]
    lines += [
        delimiter.join((str(d), german(25 * c), "12000")) for d, c in zip(DAYS, CLOSE, strict=True)
    ]
    content = "\n".join(lines)
    refused(read(tmp_path, content), "may be thousands or decimals")
    rows = rows_of(read(tmp_path, content, sidecar={"decimal": ","}))
    assert rows["close"].tolist() == [float(f"{25 * c:.0f}") for c in CLOSE]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_998_beside_1003(tmp_path, delimiter):
    units = np.round(CLOSE * 11).astype(int)
    assert units.min() < 1000 < units.max()
    lines = [delimiter.join(("Date", "Close"))]
    lines += [delimiter.join((str(d), german(u))) for d, u in zip(DAYS, units, strict=True)]
    refused(read(tmp_path, "\n".join(lines)), "may be thousands or decimals")
    rows = rows_of(read(tmp_path, "\n".join(lines), sidecar={"decimal": ","}))
    assert rows["close"].tolist() == units.tolist()


def test_three_decimals_between_commas_are_decimals(tmp_path):
    lines = ["Date,Close,Volume", *(f"{d},{c:.3f},12000" for d, c in zip(DAYS, CLOSE, strict=True))]
    assert rows_of(read(tmp_path, "\n".join(lines)))["close"].tolist() == CLOSE.tolist()


@pytest.mark.parametrize("first", ["#N/A", "#n/a", "#NA", "#VALUE!", "#DIV/0!", "#REF!", "#NAME?"])
def test_a_row_that_begins_with_an_error_of_a_spreadsheet_is_no_comment(tmp_path, first):
    content = f"Volume,Date,Close\n7,2024-01-02,5\n{first},2024-01-03,5.1\n9,2024-01-04,5\n"
    answer = read(tmp_path, content)
    if first.lower() == "#n/a":
        assert rows_of(answer)["close"].tolist() == [5, 5.1, 5]
    else:
        refused(answer, "line 3", first)
