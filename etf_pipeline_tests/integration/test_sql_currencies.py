"""SQL in another currency: against arithmetic, pandas, and what the library converts."""

import json
import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import QueryError
from etf_pipeline.model.currencies import route
from etf_pipeline.model.file_names import encode_ticker
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.risk.converting import converted
from etf_pipeline.steps.catalogue import ensure_catalogue, open_catalogue
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import World, bars, instrument, sessions_of, walk, yahoo_rows
from etf_pipeline_tests.yahoo_standin import MARKETS, StandIn

MACROS = ("prices_in", "returns_in")
FIRST, LAST = "2024-06-03", "2025-10-31"
TICKERS = {
    "VAS": "XASX",
    "SPY": "XNYS",
    "VOD": "XLON",
    "TOPX": "XTKS",
    "DAX": "XETR",
    "CHL": "XSGO",
}
LEVEL = {"VOD": 7000.0, "TOPX": 2500.0, "CHL": 15000.0}
# Levels of the pairs. Those of the euro and the Australian dollar meet directly too, and the yen's
# is there both ways round, one of which is not the market's and says something else.
PAIRS = {
    "AUDUSD=X": 0.65,
    "GBPUSD=X": 1.27,
    "EURUSD=X": 1.08,
    "EURAUD=X": 1.9,
    "USDJPY=X": 150.0,
    "JPYUSD=X": 0.5,
    "USDCLP=X": 950.0,
}
HOLE = ("2025-03-03", "2025-03-31")  # nobody has a rate of the Chilean peso in March


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store with six exchanges and seven pairs; dividends everywhere."""
    with StandIn() as yahoo:
        world = World(tmp_path_factory.mktemp("currencies") / "store", yahoo)
        for seed, (ticker, mic) in enumerate(TICKERS.items()):
            days = sessions_of(mic, FIRST, LAST)
            rows = bars(days, walk(len(days), seed, LEVEL.get(ticker, 100.0)))
            rows.loc[rows.index[[100, 200]], "dividends"] = 0.01 * rows["close"].iloc[0]
            world.partition = mic
            assert world.run(world.list_on(mic, ticker, rows))[ticker].good
        for seed, (pair, level) in enumerate(PAIRS.items()):
            days = pd.bdate_range("2024-01-01", LAST)
            if pair == "USDCLP=X":
                days = days[(days < HOLE[0]) | (days > HOLE[1])]
            run_pair(world, pair, bars(days.to_numpy(), walk(len(days), 10 + seed, level)))
        yield world


def run_pair(world, ticker, rows):
    rates = MARKETS["FX"].series(yahoo_rows(rows), instrument_type="CURRENCY", currency=ticker[3:6])
    world.yahoo.series[ticker] = rates
    world.partition = "FX"
    quote = ticker[3:6]
    one = instrument(ticker, symbol=ticker, exchange="FX", currency=quote, asset_class="currency")
    assert world.run(one)[ticker].good


@pytest.fixture
def copy(world, tmp_path):
    """A store that the test may change."""
    shutil.copytree(world.root, tmp_path / "store")
    return tmp_path / "store"


def ask(root, sql, universe="none.csv"):
    with open_catalogue(Store.at(root, 10), root / universe) as connection:
        return connection.query(sql)


def frame(root, sql, universe="none.csv"):
    answer = ask(root, sql, universe)
    table = pd.DataFrame(answer.rows, columns=answer.columns)
    table["date"] = pd.to_datetime(table["date"])
    return table.set_index("date").sort_index()


def by_pandas(world, ticker, target):
    """The factor of each session by `merge_asof`: another implementation of the same words."""
    own = MARKETS[TICKERS[ticker]].currency
    pence = 100.0 if own == "GBp" else 1.0
    source = own.upper()
    days = world.history(ticker).index
    factor = pd.Series(1.0 / pence, days)
    if source == target:
        return factor
    direct = [p for p in (f"{source}{target}=X", f"{target}{source}=X") if p in PAIRS]
    if "USD" in (source, target):
        other = target if source == "USD" else source
        usual = f"{other}USD=X" if other in ("AUD", "EUR", "GBP", "NZD") else f"USD{other}=X"
        direct = [usual]
    legs = direct[:1] or [
        p
        for c in (source, target)
        for p in ([f"{c}USD=X"] if c in ("AUD", "EUR", "GBP", "NZD") else [f"USD{c}=X"])
    ]
    at = source
    for pair in legs:
        rates = world.history(pair)["close"].rename("rate").reset_index()
        met = pd.merge_asof(
            pd.DataFrame({"date": days}), rates, on="date", tolerance=pd.Timedelta(days=5)
        )["rate"].to_numpy()
        forwards = pair.startswith(at)
        factor = factor * met if forwards else factor / met
        at = pair[3:6] if forwards else pair[:3]
    assert at == target
    return factor


def close_to(told, right, relative):
    return np.allclose(told.astype(float), right, rtol=relative, atol=1e-300, equal_nan=True)


@pytest.mark.parametrize("target", ["AUD", "USD", "GBP", "JPY", "EUR", "CLP"])
def test_prices_and_returns_are_those_of_pandas(world, target):
    prices, returns = (frame(world.root, f"FROM {m}('{target}')") for m in MACROS)
    for ticker in TICKERS:
        held, factor = world.history(ticker), by_pandas(world, ticker, target)
        told = prices[prices["ticker"] == ticker]
        assert told.index.equals(held.index)
        for name in ("open", "high", "low", "close", "adj_close", "dividends"):
            assert close_to(told[name], (held[name] * factor).to_numpy(), 1e-12), name
        assert told["volume"].tolist() == held["volume"].tolist()
        gross = held["adj_close"] * factor
        right = gross / gross.shift(1)
        assert close_to(1 + returns["return"][returns["ticker"] == ticker], right, 1e-12)
        lacks = (ticker == "CHL") != (target == "CLP")
        assert bool(factor.isna().any()) == lacks


@pytest.mark.parametrize("target", ["AUD", "USD", "GBP", "JPY"])
def test_it_is_what_the_library_converts(world, target):
    rates = {pair: load_prices(world.layout, pair) for pair in PAIRS}
    prices = frame(world.root, f"FROM prices_in('{target}')")
    for ticker in set(TICKERS) - {"CHL"}:
        right = converted(load_prices(world.layout, ticker), target, rates).prices
        told = prices["adj_close"][prices["ticker"] == ticker]
        assert told.index.equals(right.index)
        assert close_to(told, right, 1e-13)


def test_numbers_by_hand(world):
    """1.27 and 0.65 are the first closes of their pairs, of 1 January 2024."""
    first = {p: world.history(p)["close"] for p in ("AUDUSD=X", "GBPUSD=X")}
    day = "2024-06-03"
    pence = world.history("VOD").loc[day, "close"]
    (told,) = ask(
        world.root, f"SELECT close, rate FROM prices_in('AUD') WHERE ticker='VOD' AND date='{day}'"
    ).rows
    pounds = pence / 100
    dollars = pounds * first["GBPUSD=X"].loc[day]
    assert told[0] == pytest.approx(dollars / first["AUDUSD=X"].loc[day], rel=1e-13)
    assert told[1] == pytest.approx(told[0] / pence, rel=1e-13)
    (told,) = ask(
        world.root, f"SELECT close FROM prices_in('GBp') WHERE ticker='VOD' AND date='{day}'"
    ).rows
    assert told[0] == pence


def test_a_rate_is_good_for_five_days_and_no_longer(world):
    """The last rate before the hole is of Friday, 28 February 2025: Wednesday is five days on."""
    rows = ask(
        world.root,
        "SELECT date, rate IS NULL, close IS NULL, adj_close IS NULL FROM prices_in('USD') "
        "WHERE ticker = 'CHL' AND date BETWEEN '2025-02-27' AND '2025-04-02' ORDER BY date",
    ).rows
    for date, *lacks in rows:
        assert lacks == ["2025-03-06" <= str(date) <= "2025-03-31"] * 3
    returns = ask(
        world.root,
        "SELECT date FROM returns_in('USD') WHERE ticker = 'CHL' AND return IS NULL ORDER BY date",
    ).rows
    # the very first, those in the hole, and the first after it, which has nothing before it
    assert [str(r[0]) for r in returns][-1] == "2025-04-01"
    assert len(returns) == 1 + sum(r[1] for r in rows) + 1


def test_rates(world):
    rows = ask(world.root, "SELECT DISTINCT pair, base, quote FROM fx_rates ORDER BY pair").rows
    assert rows == [(p, p[:3], p[3:6]) for p in sorted(PAIRS)]
    held = world.history("USDJPY=X")["close"]
    told = frame(world.root, "FROM fx_rates WHERE pair = 'USDJPY=X'")["rate"]
    assert told.tolist() == held.tolist()


def test_currencies_are_the_footers_or_else_the_universes(copy):
    days = pd.date_range("2025-01-06", periods=3, name="Date")
    for name in ("MINE", "OTHER"):
        pd.DataFrame({"Close": [4.0, 5, 6]}, index=days).to_parquet(
            copy / f"historical/{name}.parquet"
        )
    (copy / "u.csv").write_text(
        "ticker,symbol,exchange,name,asset_class,issuer,currency,management_fee\n"
        "MINE,MINE,XNYS,Mine,equity,Me,USD,\nVAS,VAS.AX,XASX,VAS,equity,Vanguard,USD,\n"
    )
    told = dict(ask(copy, "SELECT ticker, currency FROM currencies", "u.csv").rows)
    assert told == {t: MARKETS[m].currency for t, m in TICKERS.items()} | {
        p: p[3:6] for p in PAIRS
    } | {"MINE": "USD"}  # VAS is in what its history says
    rows = ask(
        copy,
        "SELECT ticker, close, own_currency FROM prices_in('USD') "
        "WHERE ticker IN ('MINE', 'OTHER') AND date = '2025-01-06' ORDER BY ticker",
        "u.csv",
    ).rows
    assert rows == [("MINE", 4.0, "USD"), ("OTHER", None, None)]  # never as if it were dollars


def test_a_store_of_users_files_alone(tmp_path):
    (tmp_path / "historical").mkdir()
    days = pd.date_range("2025-01-06", periods=3, name="Date")
    pd.DataFrame({"Close": [4.0, 5, 6]}, index=days).to_parquet(tmp_path / "historical/A.parquet")
    assert ask(tmp_path, "SELECT DISTINCT close FROM prices_in('AUD')").rows == [(None,)]
    assert ask(tmp_path, "FROM currencies").rows == []


def test_without_rates_only_what_needs_none_has_a_price(copy):
    for pair in PAIRS:
        (copy / f"historical/{pair.replace('=', '%3D')}.parquet").unlink()
    rows = ask(
        copy, "SELECT DISTINCT ticker, close IS NULL FROM prices_in('GBP') ORDER BY ticker"
    ).rows
    assert rows == [(t, t != "VOD") for t in sorted(TICKERS)]


def test_what_is_newer_than_the_catalogue_is_right_for_any_client(copy):
    """A new ticker, and one that was collected anew in another currency."""
    path = ensure_catalogue(Store.at(copy, 10), copy / "none.csv")
    with duckdb.connect(str(path), read_only=True) as db:
        before = db.execute(
            "SELECT count(*), sum(adj_close) FROM prices_in('AUD') WHERE ticker = 'SPY'"
        ).fetchone()
    historical = copy / "historical"
    shutil.copy(historical / "SPY.parquet", historical / "NEW.parquet")
    shutil.copy(historical / "DAX.parquet", historical / "VAS.parquet")
    with duckdb.connect(str(path), read_only=True) as db:
        for old, new in (("SPY", "NEW"), ("DAX", "VAS")):
            one, other = (
                db.execute(
                    "SELECT count(*), sum(adj_close), sum(rate) FROM prices_in('AUD') "
                    "WHERE ticker = ?",
                    [t],
                ).fetchone()
                for t in (old, new)
            )
            assert one == other
        assert (
            db.execute(
                "SELECT count(*), sum(adj_close) FROM prices_in('AUD') WHERE ticker = 'SPY'"
            ).fetchone()
            == before
        )


@pytest.mark.parametrize("wrong", ["aud", "XYZ", "", "AUDUSD=X"])
def test_what_is_no_currency_is_refused_by_name(world, wrong):
    with pytest.raises(QueryError, match=f"no currency '{wrong}'"):
        ask(world.root, f"FROM prices_in('{wrong}')")


@pytest.mark.parametrize("target", ["AUD", "USD", "GBP", "EUR", "JPY", "CLP"])
def test_the_pair_that_is_taken_is_the_librarys(world, target):
    """From every currency, against `route`, which decides for the library."""
    day = "2025-06-03"
    rates = dict(ask(world.root, f"SELECT pair, rate FROM fx_rates WHERE date = '{day}'").rows)
    told = dict(
        ask(world.root, f"SELECT ticker, rate FROM prices_in('{target}') WHERE date='{day}'").rows
    )
    for ticker, mic in TICKERS.items():
        factor = 0.01 if ticker == "VOD" else 1.0
        for leg in route(MARKETS[mic].currency.upper(), target, PAIRS):
            rate = rates[leg.pair.ticker]
            factor = factor / rate if leg.divide else factor * rate
        assert told[ticker] == pytest.approx(factor, rel=1e-13)


def test_users_files_are_in_the_currency_that_is_declared_of_them(tmp_path):
    """As the library has it, whatever universe.csv says; what nothing declares is as it says."""
    days = pd.bdate_range("2024-01-01", periods=400)
    prices = {t: walk(400, i, level) for i, (t, level) in enumerate(OWN.items())}
    layout = Layout(tmp_path)
    folder = layout.folder(HISTORY)
    folder.mkdir(parents=True)
    for ticker, values in prices.items():
        frame = pd.DataFrame({"Close": values}, days.rename("Date"))
        frame.to_parquet(folder / f"{encode_ticker(ticker)}.parquet")
    for ticker, currency in (("UUU", "USD"), ("AAA", "AUD")):
        said = folder / f"{ticker}.parquet.json"
        said.write_text(json.dumps({"currency": currency}))
    (tmp_path / "universe.csv").write_text(
        "ticker,symbol,exchange,name,asset_class,issuer,currency\n"
        "UUU,U,XNYS,U,x,y,EUR\nWWW,W,XNYS,W,x,y,USD\n"
    )
    found = ask(tmp_path, "FROM currencies ORDER BY ticker", "universe.csv")
    assert [r for r in found.rows if r[0] in prices and "=" not in r[0]] == [
        ("AAA", "AUD", None, None),
        ("UUU", "USD", None, "its file says USD, and universe.csv EUR: correct one of them"),
        ("WWW", "USD", None, None),
    ]
    rates = prices["AUDUSD=X"]
    for ticker, factor in (("AAA", 1.0), ("UUU", 1 / rates), ("WWW", 1 / rates)):
        got = frame_of(tmp_path, f"FROM prices_in('AUD') WHERE ticker = '{ticker}'")
        np.testing.assert_allclose(got["close"], prices[ticker] * factor, rtol=1e-13)
    assert frame_of(tmp_path, "FROM prices_in('AUD') WHERE ticker = 'NNN'")["close"].isna().all()
    mine = converted(
        load_prices(layout, "UUU"), "AUD", {"AUDUSD=X": load_prices(layout, "AUDUSD=X")}
    )
    got = frame_of(tmp_path, "FROM prices_in('AUD') WHERE ticker = 'UUU'")
    np.testing.assert_allclose(got["close"], mine.prices, rtol=1e-13)
    # one that is declared anew is so at the next query
    (folder / "NNN.parquet.json").write_text('{"currency": "USD"}')
    got = frame_of(tmp_path, "FROM prices_in('AUD') WHERE ticker = 'NNN'")
    np.testing.assert_allclose(got["close"], prices["NNN"] / rates, rtol=1e-13)


def users_own(root, frames):
    """Users' own files of daily closes, each said to be in a currency."""
    folder = Layout(root).folder(HISTORY)
    folder.mkdir(parents=True)
    for ticker, (currency, closes) in frames.items():
        name = encode_ticker(ticker)
        closes.rename("Close").rename_axis("Date").to_frame().to_parquet(folder / f"{name}.parquet")
        (folder / f"{name}.parquet.json").write_text(json.dumps({"currency": currency}))


DAYS = pd.bdate_range("2022-01-03", periods=700)


def walked(seed, level, first=0, last=700):
    return pd.Series(walk(700, seed, level), DAYS).iloc[first:last]


@pytest.mark.parametrize("missing", ["direct begins late", "direct ended", "inverse is whole"])
def test_the_pair_that_says_most_is_taken_as_the_library_does(tmp_path, missing):
    """An incomplete pair of the market's is no reason to lose years, or to refuse."""
    euro, aussie = walked(1, 1.1), walked(2, 0.65)
    direct = euro / aussie * 1.001
    rates = {"EURUSD=X": ("USD", euro), "AUDUSD=X": ("USD", aussie)}
    expected = euro / aussie
    if missing == "direct begins late":
        rates["EURAUD=X"] = ("AUD", direct.iloc[500:])
    elif missing == "direct ended":
        rates["EURAUD=X"] = ("AUD", direct.iloc[:600])
    else:
        rates = {"EURAUD=X": ("AUD", direct.iloc[:600]), "AUDEUR=X": ("EUR", aussie / euro)}
    prices = walked(3, 80.0)
    users_own(tmp_path, rates | {"EEE": ("EUR", prices)})
    got = frame_of(tmp_path, "FROM prices_in('AUD') WHERE ticker = 'EEE'")
    np.testing.assert_allclose(got["close"], prices * expected, rtol=1e-12)
    layout = Layout(tmp_path)
    held = {pair: load_prices(layout, pair) for pair in rates}
    mine = converted(load_prices(layout, "EEE"), "AUD", held)
    np.testing.assert_allclose(mine.prices, prices * expected, rtol=1e-12)


OWN = {"AAA": 50.0, "UUU": 80.0, "WWW": 20.0, "NNN": 10.0, "AUDUSD=X": 0.65}


def frame_of(root, sql):
    return frame(root, sql, "universe.csv")
