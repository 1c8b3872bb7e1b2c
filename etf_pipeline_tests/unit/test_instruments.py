"""Instruments and the universe of them, without a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import UnknownTickerError
from etf_pipeline.model.currencies import Pair
from etf_pipeline.model.instruments import Instrument, Universe, repeated, shard_keys
from etf_pipeline_tests.support import instrument

VAS = instrument("VAS", aliases=("OLD", "OLDER"))
VGS = instrument("VGS", asset_class="international_equity", issuer="Other")
UNIVERSE = Universe((VGS, VAS), origin="the file")


def test_an_instrument_is_found_by_any_of_its_names():
    for name in ("VAS", "OLD", "OLDER"):
        assert UNIVERSE.get(name) is VAS
        assert name in UNIVERSE
    assert VAS.names == ("VAS", "OLD", "OLDER")
    assert "vas" not in UNIVERSE
    assert len(UNIVERSE) == 2


def test_a_ticker_goes_before_somebody_elses_alias():
    taken = Universe((instrument("VGS", aliases=("VAS",)), instrument("VAS")))
    assert taken.get("VAS").ticker == "VAS"


def test_an_unknown_ticker_is_named_with_where_and_the_nearest():
    with pytest.raises(
        UnknownTickerError, match=r"'VSA' is not in the file; did you mean VGS, VAS"
    ):
        UNIVERSE.get("VSA")


def test_what_portfolios_may_group_by():
    columns = UNIVERSE.columns()
    assert columns["asset_class"] == {
        "VAS": "australian_equity",
        "VGS": "international_equity",
    }
    assert columns["issuer"]["VGS"] == "Other"
    assert columns.keys() == {"asset_class", "issuer", "currency", "exchange"}


def test_partitions_are_exchanges_and_their_shards():
    us = instrument("123456789", exchange="XNYS", shards=3)
    universe = Universe((VAS, us))
    assert universe.partitions() == ["XASX", "XNYS-00", "XNYS-01", "XNYS-02"]
    assert shard_keys("XNYS", 1) == ["XNYS"]
    # the published check value of CRC-32, 0xCBF43926, is 3,421,780,262, which leaves 2
    assert us.partition == "XNYS-02"


def test_a_partition_is_in_order_of_ticker_and_may_be_narrowed():
    assert UNIVERSE.in_partition("XASX") == [VAS, VGS]
    assert UNIVERSE.in_partition("XASX", ["VGS"]) == [VGS]
    assert UNIVERSE.in_partition("XASX", ["OLD", "VAS"]) == [VAS]
    assert UNIVERSE.in_partition("XNYS") == []
    with pytest.raises(UnknownTickerError):
        UNIVERSE.in_partition("XASX", ["VSA"])


@given(st.lists(st.text("ABCDEFG", min_size=1, max_size=4), unique=True), st.integers(1, 100))
def test_every_instrument_is_in_one_partition(tickers, shards):
    universe = Universe(tuple(instrument(t, shards=shards) for t in tickers))
    found = [i.ticker for key in universe.partitions() for i in universe.in_partition(key)]
    assert sorted(found) == sorted(tickers)


@given(st.lists(st.sampled_from("ABC")))
def test_repeated_tickers(tickers):
    assert repeated(tickers) == sorted(t for t in "ABC" if tickers.count(t) > 1)


VTS = instrument("VTS", currency="USD", exchange="XNYS")
ISF = instrument("ISF", currency="GBp", exchange="XLON")


def rates(universe):
    return [i.ticker for i in universe if i.is_rate]


def test_a_universe_gains_the_rates_that_its_currencies_need():
    assert UNIVERSE.with_rates() is UNIVERSE
    assert UNIVERSE.with_rates(["AUD"]) is UNIVERSE
    assert rates(UNIVERSE.with_rates(["USD"])) == ["AUDUSD=X"]
    whole = Universe((VAS, VTS, ISF)).with_rates(["JPY"])
    assert rates(whole) == ["AUDUSD=X", "GBPUSD=X", "USDJPY=X"]
    assert whole.etfs == [VAS, VTS, ISF]
    assert whole.partitions() == ["FX", "XASX", "XLON", "XNYS"]
    yen = whole.get("USDJPY=X")
    assert (yen.symbol, yen.exchange, yen.currency) == ("USDJPY=X", "FX", "JPY")
    assert yen.asset_class == "currency"
    assert whole.with_rates(["JPY"]) is whole


def test_a_rate_that_the_user_listed_is_used_either_way_round():
    listed = Instrument.of_pair(Pair("USD", "AUD"), shards=2)
    universe = Universe((VAS, VTS, ISF, listed)).with_rates()
    assert rates(universe) == ["USDAUD=X", "GBPUSD=X"]
    assert {i.shards for i in universe if i.is_rate} == {2}


def test_the_rates_that_a_ticker_needs():
    whole = Universe((VAS, VTS, ISF)).with_rates()
    assert whole.rates_for(["VAS"]) == ["AUDUSD=X", "GBPUSD=X"]
    assert Universe((VAS, VTS)).with_rates().rates_for(["VTS"]) == ["AUDUSD=X"]
    assert UNIVERSE.rates_for(["VAS", "VGS"]) == []
    assert UNIVERSE.with_rates(["USD"]).rates_for(["VAS"], ["USD"]) == ["AUDUSD=X"]
    # a rate itself needs none
    assert whole.rates_for(["GBPUSD=X"]) == []
