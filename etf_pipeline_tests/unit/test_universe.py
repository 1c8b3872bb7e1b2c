import datetime as dt
from pathlib import Path

import pytest

from etf_pipeline.errors import UniverseError, UnknownTickerError
from etf_pipeline.model.universe import load_universe

HEADER = "ticker,symbol,exchange,name,asset_class,issuer,currency,management_fee"
GOOD = "VAS,VAS.AX,XASX,Vanguard Australian Shares,australian_equity,Vanguard,AUD,0.07"
ROOT = Path(__file__).parents[2]


def write(path, *lines, header=HEADER):
    file = path / "universe.csv"
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def test_a_good_file(tmp_path):
    universe = load_universe(write(tmp_path, "# a comment", GOOD))
    vas = universe.get("VAS")
    assert (vas.symbol, vas.exchange, vas.management_fee) == ("VAS.AX", "XASX", 0.07)
    assert universe.partitions() == ["XASX"]


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x0c"])
def test_a_name_may_hold_what_ends_lines_elsewhere(tmp_path, sign):
    name = f"Two{sign}lines"
    universe = load_universe(write(tmp_path, GOOD.replace("Vanguard Australian Shares", name)))
    assert universe.get("VAS").name == name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD.replace("XASX", "ASX"), "exchange 'ASX' is not an ISO 10383 MIC"),
        (GOOD.replace("XASX", "ASEX"), "exchange 'ASEX'"),
        (GOOD.replace("AUD", "aud"), "currency 'aud'"),
        (GOOD.replace("0.07", "cheap"), "management_fee 'cheap'"),
        (GOOD.replace("0.07", "70"), "between 0 and 20"),
        (GOOD.replace("VAS.AX", ""), "symbol is empty"),
        (GOOD + ",extra", "9 cells where the header has 8"),
        (GOOD.replace("VAS.AX", "OTHER.AX"), "ticker 'VAS' is already on line 2"),
        (GOOD.replace("VAS,", "VA2,"), "symbol 'VAS.AX' is already on line 2"),
    ],
)
def test_one_bad_line_is_quoted_by_number(tmp_path, line, words):
    file = write(tmp_path, GOOD, "# comments count as lines", line)
    with pytest.raises(UniverseError) as caught:
        load_universe(file)
    assert "line 4" in str(caught.value)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_every_bad_line_is_reported_at_once(tmp_path):
    bad = GOOD.replace("XASX", "NOPE")
    with pytest.raises(UniverseError, match=r"line 2.*line 3"):
        load_universe(write(tmp_path, bad, bad))


def test_a_misspelt_column_gets_a_hint(tmp_path):
    with pytest.raises(UniverseError, match=r"unknown column 'tiker' \(did you mean ticker\?\)"):
        load_universe(write(tmp_path, header=HEADER.replace("ticker", "tiker")))


@pytest.mark.parametrize("lines", [(), ("# nothing but comments",)])
def test_a_shrink_to_nothing_is_refused(tmp_path, lines):
    with pytest.raises(UniverseError, match="no instruments"):
        load_universe(write(tmp_path, *lines))


def test_an_absent_file_names_the_remedy(tmp_path):
    with pytest.raises(UniverseError, match="ETF_UNIVERSE_FILE"):
        load_universe(tmp_path / "none.csv")


def test_aliases_are_looked_up_and_may_not_collide(tmp_path):
    header = HEADER + ",aliases"
    universe = load_universe(write(tmp_path, GOOD + ",OLD;OLDER", header=header))
    assert universe.get("OLDER").ticker == "VAS"
    clash = GOOD.replace("VAS", "OLD") + ","
    with pytest.raises(UniverseError, match="ticker 'OLD' is already on line 2"):
        load_universe(write(tmp_path, GOOD + ",OLD", clash, header=header))


def test_an_unknown_ticker_is_named_with_the_nearest(tmp_path):
    universe = load_universe(write(tmp_path, GOOD))
    with pytest.raises(UnknownTickerError, match=r"'VSA'.*did you mean VAS\?"):
        universe.get("VSA")


def test_shards_split_an_exchange_by_a_stable_hash(tmp_path):
    header = HEADER + ",shards"
    lines = [GOOD.replace("VAS", f"V{i:02d}") + ",3" for i in range(30)]
    universe = load_universe(write(tmp_path, *lines, header=header))
    keys = universe.partitions()
    assert keys == ["XASX-00", "XASX-01", "XASX-02"]
    spread = [len(universe.in_partition(k)) for k in keys]
    assert sum(spread) == 30
    assert min(spread) > 0
    mixed = [lines[0], lines[1].replace(",3", ",2")]
    with pytest.raises(UniverseError, match="2 shards here and 3 on line 2"):
        load_universe(write(tmp_path, *mixed, header=header))


@pytest.mark.parametrize("text", ["3.0", "3.", "03"])
def test_a_whole_number_is_one_however_it_is_written(tmp_path, text):
    """pandas writes a column of them with decimals as soon as one row has none."""
    file = write(tmp_path, f"{GOOD},{text}", header=HEADER + ",shards")
    assert load_universe(file).get("VAS").shards == 3


@pytest.mark.parametrize("text", ["0.0", "1.5", "101.0", "1e1", "inf", "nan", "\u00b2", "\u0663"])
def test_shards_are_a_whole_number(tmp_path, text):
    file = write(tmp_path, f"{GOOD},{text}", header=HEADER + ",shards")
    with pytest.raises(UniverseError, match="is not a whole number from 1 to 100"):
        load_universe(file)


def test_listed_since_is_a_date(tmp_path):
    header = HEADER + ",listed_since"
    universe = load_universe(write(tmp_path, GOOD + ",2022-06-09", header=header))
    assert universe.get("VAS").listed_since == dt.date(2022, 6, 9)
    with pytest.raises(UniverseError, match="line 2: listed_since 'June' is not a date"):
        load_universe(write(tmp_path, GOOD + ",June", header=header))


def test_what_has_no_exchange_has_a_pseudo_mic(tmp_path):
    pair = "AUDUSD=X,AUDUSD=X,FX,Australian dollar in US dollars,currency,none,USD,"
    index = "SP500,^GSPC,INDX,S&P 500,index,S&P,USD,"
    universe = load_universe(write(tmp_path, GOOD, pair, index))
    assert universe.partitions() == ["FX", "INDX", "XASX"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("AUDUSD,AUDUSD=X,FX,a,currency,none,USD,", "ticker of the currency pair AUDUSD=X"),
        ("AUDUSD=X,AUDUSD=X,FX,a,currency,none,AUD,", "currency of the currency pair"),
        ("AUDUSD=X,AUDUSD=X,FX,a,equity,none,USD,", "asset_class of the currency pair"),
        ("AUDUSD=X,AUDUSD=X,XASX,a,currency,none,USD,", "its exchange is FX"),
        ("VTS,VTS.AX,FX,a,equity,none,USD,", "no currency pair such as AUDUSD=X"),
        ("AUDAUD=X,AUDAUD=X,FX,a,currency,none,AUD,", "a pair of one currency"),
        ("VTS,VTS.AX,XASX,a,equity,none,XYZ,", "'XYZ' is not an ISO 4217 code such as AUD"),
        ("VTS,VTS.AX,XASX,a,equity,none,GBx,", "nor a unit of one"),
    ],
)
def test_a_currency_pair_is_one_in_every_column(tmp_path, line, words):
    with pytest.raises(UniverseError, match=words) as error:
        load_universe(write(tmp_path, GOOD, line))
    assert "line 3" in str(error.value)


def test_the_committed_universe_is_valid():
    universe = load_universe(ROOT / "data" / "universe.csv")
    assert {"VAS", "VGS", "VTS", "VAF"} <= {i.ticker for i in universe}
    assert universe.get("EINC").last_session == dt.date(2025, 1, 29)
    assert all(i.symbol == f"{i.ticker}.AX" and i.exchange == "XASX" for i in universe)


def test_what_a_market_weighs_and_a_fund_costs_are_facts_of_those_that_say_so(tmp_path):
    header = HEADER + ",market_weight"
    other = GOOD.replace("VAS", "VGS").replace("0.07", "")
    none = GOOD.replace("VAS", "VAF").replace("0.07", "0")
    file = write(tmp_path, GOOD + ",1.9e3", other + ",0", none + ",", header=header)
    facts = load_universe(file).facts()
    assert facts["market_weight"] == {"VAS": 1900.0, "VGS": 0.0}
    assert facts["management_fee"] == {"VAS": 0.07, "VAF": 0.0}
    assert facts["currency"] == {"VAS": "AUD", "VGS": "AUD", "VAF": "AUD"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("big", "is not a number"), ("-1", "0 or more"), ("inf", "0 or more"), ("nan", "0 or more")],
)
def test_a_market_weight_is_a_size(tmp_path, text, words):
    file = write(tmp_path, f"{GOOD},{text}", header=HEADER + ",market_weight")
    with pytest.raises(UniverseError, match=f"line 2: market_weight .*{words}"):
        load_universe(file)
