from pathlib import Path

import pytest

from etf_pipeline.errors import PortfolioFileError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolio_file import load_portfolios, universe_with_rates
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline_tests.support import instrument

UNIVERSE = Universe(
    (*tuple(instrument(t) for t in ("VAS", "VGS")), instrument("VAF", aliases=("OLD",)))
)
HEAD = "portfolios:\n  - name: a\n    tickers: [VAS, VGS]\n"


def load(tmp_path, text):
    path = tmp_path / "portfolios.yaml"
    path.write_text(text)
    return load_portfolios(path, UNIVERSE)


def test_a_good_file(tmp_path):
    (spec,) = load(
        tmp_path,
        HEAD + "    objective: max_return\n    risk_budget: 0.1\n    max_weight: 0.8\n"
        "    bounds:\n      VAS: [0.2, 0.5]\n",
    )
    assert spec.limits("VAS") == (0.2, 0.5)
    assert spec.limits("VGS") == (0.0, 0.8)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD + "    objective: max_shape\n", 4, "objective"),
        (HEAD + "    objective: max_return\n    risk_budget: lots\n", 5, "risk_budget"),
        (HEAD + "    objective: max_return\n    risk_bugdet: 0.1\n", 5, "risk_bugdet"),
        (HEAD + "    objective: min_volatility\n    risk_budget: 0.1\n", 2, "max_return"),
        (HEAD + "    objective: target_return\n", 2, "target_return"),
        (HEAD + "    objective: max_sharpe\n    max_weight: 0.3\n", 2, "cannot sum to 1"),
        (
            "portfolios:\n  - name: a\n    tickers:\n    - VAS\n    - VGX\n"
            "    objective: max_sharpe\n",
            5,
            "did you mean VGS",
        ),
        (
            "portfolios:\n  - name: a\n    tickers: [VAS, VAS]\n    objective: max_sharpe\n",
            3,
            "VAS is listed twice",
        ),
        (
            "portfolios:\n  - name: a\n    tickers:\n    - VAF\n    - OLD\n"
            "    objective: max_sharpe\n",
            5,
            "OLD is VAF, which is listed twice",
        ),
        (
            HEAD
            + "    objective: max_sharpe\n"
            + HEAD.partition("\n")[2]
            + "    objective: max_sharpe\n",
            5,
            "already on line 2",
        ),
        (HEAD + "    objective: hrp\n    objective: hrp\n", 5, "'objective' is already on line 4"),
        (
            HEAD + "    objective: hrp\n    bounds: {VAS: [0, 1], VAS: [0, 1]}\n",
            5,
            "'VAS' is already",
        ),
        (HEAD + "    objective: hrp\nportfolios: []\n", 5, "'portfolios' is already on line 1"),
        ("portfolios:\n  - name: [\n", 3, "not YAML"),
        ("portfolio:\n", 1, "list `portfolios:`"),
        ("", 1, "list `portfolios:`"),
    ],
)
def test_a_problem_is_quoted_by_line(tmp_path, text, line, words):
    with pytest.raises(PortfolioFileError) as caught:
        load(tmp_path, text)
    assert f"line {line}" in str(caught.value)
    assert words in str(caught.value)


def test_an_alias_becomes_the_ticker(tmp_path):
    text = "portfolios:\n  - name: a\n    tickers: [VAS, OLD]\n    objective: max_sharpe\n"
    assert load(tmp_path, text)[0].tickers == ["VAS", "VAF"]


def test_what_a_backtest_is_asked_for_is_by_ticker_too(tmp_path):
    text = HEAD + "    objective: hrp\n    half_spreads: {VAS: 4}\n    compare_with: "
    (spec,) = load(tmp_path, text + "{VAS: 0.5, OLD: 0.5}\n")
    assert spec.comparison == {"VAS": 0.5, "VAF": 0.5}
    assert spec.half_spreads == {"VAS": 4.0}
    assert load(tmp_path, text + "OLD\n")[0].comparison == {"VAF": 1.0}
    assert load(tmp_path, HEAD + "    objective: hrp\n")[0].comparison == {}
    for wrong, words in (
        ("{OLD: 0.5, VAF: 0.5}", "line 6: compare_with names VAF twice"),
        ("{VAS: 0.5, NOPE: 0.5}", "line 6: compare_with: ticker 'NOPE' is not in"),
        ("{VAS: 0.5}", "line 2: compare_with: weights sum to 0.5, not to 1"),
    ):
        with pytest.raises(PortfolioFileError) as caught:
            load(tmp_path, text + wrong + "\n")
        assert words in str(caught.value)


def test_the_committed_portfolios_are_valid():
    from etf_pipeline.model.universe import load_universe

    data = Path(__file__).parents[2] / "data"
    specs = load_portfolios(data / "portfolios.yaml", load_universe(data / "universe.csv"))
    assert len(specs) >= 4
    core = next(s for s in specs if set(s.tickers) == {"VAS", "VGS", "VTS", "VAF"})
    assert core.risk_budget is not None


def test_a_portfolio_rests_on_its_own_years_else_on_those_of_the_settings():
    one = PortfolioSpec(name="one", tickers=["A", "B"], objective="hrp")
    assert one.lookback(5) == 5
    assert one.model_copy(update={"lookback_years": 3}).lookback(5) == 3


def test_a_portfolio_may_name_its_currency(tmp_path):
    (spec,) = load(tmp_path, HEAD + "    objective: max_sharpe\n    base_currency: USD\n")
    assert spec.base_currency == "USD"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("AUX", "not an ISO 4217 code"),
        ("GBp", "use GBP"),
        ("aud", "did you mean"),
        ("1", "must be a text"),
    ],
)
def test_a_currency_that_is_none_is_quoted_with_its_line(tmp_path, value, words):
    with pytest.raises(PortfolioFileError, match=rf"line 5: base_currency: .*{words}"):
        load(tmp_path, HEAD + f"    objective: max_sharpe\n    base_currency: {value}\n")


def test_a_currency_pair_is_no_member(tmp_path):
    path = tmp_path / "portfolios.yaml"
    path.write_text(
        "portfolios:\n  - name: a\n    tickers:\n    - VAS\n    - AUDUSD=X\n"
        "    objective: max_sharpe\n"
    )
    with pytest.raises(PortfolioFileError, match="line 5: AUDUSD=X is a currency pair"):
        load_portfolios(path, UNIVERSE.with_rates(["USD"]))


def test_the_universe_gains_the_rates_of_the_portfolios(tmp_path):
    universe = tmp_path / "universe.csv"
    universe.write_text(
        "ticker,symbol,exchange,name,asset_class,issuer,currency\n"
        "VAS,VAS.AX,XASX,a,b,c,AUD\nVGS,VGS.AX,XASX,a,b,c,AUD\n"
    )
    path = tmp_path / "portfolios.yaml"
    path.write_text(HEAD + "    objective: max_sharpe\n")
    assert [i.ticker for i in universe_with_rates(universe, path)] == ["VAS", "VGS"]
    assert universe_with_rates(universe, path, "AUD").partitions() == ["XASX"]
    assert universe_with_rates(universe, path, "NZD").partitions() == ["FX", "XASX"]
    path.write_text(HEAD + "    objective: max_sharpe\n    base_currency: JPY\n")
    found = universe_with_rates(universe, path)
    assert [i.ticker for i in found if i.is_rate] == ["AUDUSD=X", "USDJPY=X"]
    path.write_text("portfolios: none\n")  # said by whoever reads the portfolios
    assert universe_with_rates(universe, path).partitions() == ["XASX"]
