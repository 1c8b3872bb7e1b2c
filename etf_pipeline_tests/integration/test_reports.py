"""Reports: right numbers, nothing loaded, readable, and honest about what they are."""

import dataclasses
import datetime as dt
import html
import re
import shutil
from html.parser import HTMLParser

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.schemas import CORRELATIONS, HISTORY, RISK_METRICS, SUMMARY
from etf_pipeline.report.backtest import _measured_against
from etf_pipeline.report.charts import clustered
from etf_pipeline.report.courses import calendar_years, volatility_section
from etf_pipeline.report.portfolio import portfolio_report
from etf_pipeline.report.universe import universe_report
from etf_pipeline.steps.derived import Assumptions, read_histories
from etf_pipeline.steps.report_inputs import report_inputs
from etf_pipeline.steps.reports import pages_of, reports
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.store import Store
from etf_pipeline_tests.pipeline.support import PORTFOLIOS, execute, make_pipeline
from etf_pipeline_tests.support import leftover

HARD = (
    PORTFOLIOS
    + """  - name: impossible
    tickers: [VAS, VGS]
    objective: max_return
    risk_budget: 0.0001
  - name: "<script>alert(1)</script> & co"
    tickers: [VAS, VAF]
    objective: risk_parity
    resamples: 20
  - name: geared
    tickers: [VAS, VGS, VAF]
    objective: min_volatility
    min_weight: -0.3
    gross_exposure: 1.6
  - name: viewed
    tickers: [VAS, VGS, VAF]
    objective: max_sharpe
    resamples: 20
    expected_returns:
      method: black_litterman
      market_weights: {VAS: 1, VGS: 2, VAF: 1}
      views:
        - {ticker: VAF, over: VAS, return: 0.0, confidence: 0.5}
"""
)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    made = make_pipeline(folder, portfolios=HARD)
    (folder / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "home")) as instance:
        assert execute(made, instance, "ingest", "XASX").success
        assert execute(made, instance, "derive").success
    return made


@pytest.fixture(scope="module")
def inputs(pipeline):
    return report_inputs(
        pipeline.store,
        pipeline.histories(),
        pipeline.portfolios(),
        pipeline.universe,
        Assumptions.of(pipeline.settings),
        pipeline.clock(),
    )


def with_rows(inputs, **rows):
    """The same with other rows in some tables, whose columns are those that the rows have."""
    changed = {}
    for name, told in rows.items():
        columns = inputs.tables[name].schema
        kept = pa.schema([c for c in columns if not told or c.name in told[0]])
        changed[name] = pa.Table.from_pylist(told, schema=kept)
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | changed)


class Page(HTMLParser):
    """Tags, their attributes, and text, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def pages(inputs):
    names = [r["portfolio"] for r in inputs.rows("summary")]
    return {"universe": universe_report(inputs), **{n: portfolio_report(inputs, n) for n in names}}


def test_the_asset_wrote_every_report(pipeline):
    files = {p.name for p in (pipeline.layout.root / "reports").glob("*.html")}
    assert {"universe.html", "portfolio-pair.html", "portfolio-calm.html"} <= files
    assert len(files) == 7


def test_a_report_rests_on_the_expected_returns_of_its_portfolio(inputs):
    """Not on past means, and it says why a backtest of them is no evidence."""
    page = portfolio_report(inputs, "viewed")
    assert "Expected returns are those of equilibrium (risk aversion 2.5" in page
    assert "with 1 view." in page
    known = "hindsight: the views and market weights are today&#39;s at every past rebalance"
    assert f"each rebalance was decided on earlier prices with {known}." in page
    assert "each rebalance was decided on earlier prices alone." in portfolio_report(inputs, "pair")
    (summary,) = inputs.rows("summary", portfolio="viewed")
    rows = inputs.rows("weights", portfolio="viewed")
    # what the market is expected to earn is rf + 2.5·w'Σw: never what it did
    assert summary["expected_return"] == pytest.approx(
        sum(r["weight"] * r["expected_return"] for r in rows)
    )
    others = {r["ticker"]: r["expected_return"] for r in inputs.rows("weights", portfolio="pair")}
    assert all(r["expected_return"] != others.get(r["ticker"]) for r in rows)


def test_a_report_of_short_positions_says_what_its_backtest_leaves_out(inputs):
    assert "prices alone. What is lent and borrowed costs" in portfolio_report(inputs, "geared")
    assert "lent and borrowed" not in portfolio_report(inputs, "pair")


def test_nothing_is_loaded_and_nothing_runs(inputs):
    for name, text in pages(inputs).items():
        page = Page(text)
        assert len(text) < 2_000_000
        kinds = {tag for tag, _ in page.tags}
        assert not kinds & {"script", "iframe", "object", "embed", "form", "base"}, name
        for tag, attributes in page.tags:
            for key in ("src", "href", "xlink:href", "action", "srcset", "data"):
                value = attributes.get(key)
                assert value is None or value.startswith(("#", "data:")), (name, tag, value)
        assert not re.search(r"url\((?!#)", text)
        assert "@import" not in text


def test_they_are_accessible(inputs):
    for text in pages(inputs).values():
        page = Page(text)
        assert ("html", {"lang": "en"}) in page.tags
        assert [t for t, _ in page.tags].count("h1") == 1
        ids = [a["id"] for _, a in page.tags if a.get("id")]
        assert len(ids) == len(set(ids))
        for tag, attributes in page.tags:
            if tag == "svg":
                assert attributes["role"] == "img"
                assert set(attributes["aria-labelledby"].split()) <= set(ids)
            if tag == "th":
                assert attributes.get("scope") in ("col", "row")
        assert [t for t, _ in page.tags].count("caption") == [t for t, _ in page.tags].count(
            "table"
        )


def test_simulated_prices_are_called_so_at_both_ends(inputs):
    for text in pages(inputs).values():
        assert "Simulated prices: nothing on this page is real market data." in text
        assert text.rstrip().endswith("Simulated prices.</p></footer>\n</body>\n</html>")


def test_names_are_escaped(inputs):
    name = "<script>alert(1)</script> & co"
    text = portfolio_report(inputs, name)
    assert "<script>" not in text
    assert html.escape(name, quote=False) in text


def test_a_portfolio_that_failed_says_why_and_shows_no_number_of_it(inputs):
    text = portfolio_report(inputs, "impossible")
    assert "Not optimised: risk budget 0.0001 is below" in text
    assert "<dl" not in text
    assert "this portfolio</text>" not in text


def test_an_unknown_portfolio_names_those_there_are(inputs):
    with pytest.raises(InsufficientDataError, match="pair"):
        portfolio_report(inputs, "nothing")


def test_weights_and_risk_shares_are_right(inputs, pipeline):
    from etf_pipeline.library.provider import ETFDataProvider

    provider = ETFDataProvider(pipeline.layout.root)
    weights = {r["ticker"]: r["weight"] for r in inputs.rows("weights", portfolio="calm")}
    tickers = ["VAS", "VGS", "VAF"]
    matrix = provider.calculate_covariance_matrix(tickers).to_numpy()
    w = np.array([weights[t] for t in tickers])
    shares = w * (matrix @ w) / (w @ matrix @ w)
    text = portfolio_report(inputs, "calm")
    rows = dict(
        re.findall(r'<th scope="row">(V\w+)</th><td>V\w+</td>(<td class="n">.*?)</tr>', text)
    )
    for ticker, weight, share in zip(tickers, w, shares, strict=True):
        assert re.findall(r">([\d.-]+%)<", rows[ticker]) == [f"{weight:.2%}", f"{share:.2%}"]


def test_weekly_correlations_are_called_so(inputs):
    """Of a portfolio whose exchanges differ, and of the table where it says so."""
    assert "Of simple daily returns" in portfolio_report(inputs, "pair")
    one = inputs.series["VAS"]
    abroad = dict(inputs.series) | {"VAS": dataclasses.replace(one, exchange="XNYS")}
    page = portfolio_report(dataclasses.replace(inputs, series=abroad), "pair")
    assert "Of simple weekly returns" in page
    assert "Correlations are of weekly returns, as the calendars of XASX and XNYS differ." in page
    rows = [r | {"period": "weekly"} for r in inputs.rows("correlations")]
    weekly = with_rows(inputs, correlations=rows)
    assert "Of simple daily returns" in universe_report(inputs)
    assert "Of simple weekly returns" in universe_report(weekly)


def test_what_is_not_compared_takes_no_heat_map_away(inputs):
    """Neither a fund that does not move, nor a young one, nor one of another currency."""
    rows = inputs.rows("correlations")
    tickers = sorted({r["ticker"] for r in rows})
    flat, *others = tickers
    why = f"the returns of {flat} do not vary"
    still = [
        r | {"correlation": None, "reason": why} if flat in (r["ticker"], r["other"]) else r
        for r in rows
    ]
    page = universe_report(with_rows(inputs, correlations=still))
    assert f"Correlation matrix of {', '.join(others)}, similar ones together" in page
    assert f"Not compared: {why}." in page
    young = [r for r in rows if flat not in (r["ticker"], r["other"])]
    page = universe_report(with_rows(inputs, correlations=young))
    assert f"Correlation matrix of {', '.join(others)}, similar ones together" in page
    assert f"do not cover the window or have ended: {flat}." in page


def test_each_currency_has_a_heat_map(inputs):
    pairs = [("A", "B"), ("C", "D")]
    rows = [
        {
            "ticker": one,
            "other": two,
            "window": "3y",
            "period": "daily",
            "correlation": float(one == two) or 0.5 if same else None,
            "reason": None if same else "A is in AUD and C in USD",
        }
        for one in "ABCD"
        for two in "ABCD"
        for same in [any({one, two} <= set(pair) for pair in pairs)]
    ]
    origin = inputs.origins["VAS"]
    mixed = dataclasses.replace(
        with_rows(inputs, correlations=rows), origins=dict.fromkeys("ABCD", origin)
    )
    page = universe_report(mixed)
    assert re.findall(r"Correlation matrix of ([^<]*), similar", page) == ["A, B", "C, D"]


def test_tables_of_an_earlier_release_lack_columns(pipeline, inputs, tmp_path):
    new = {"total_return", "period", "correlation_period"}
    shutil.copytree(pipeline.layout.root, tmp_path / "store")
    store = Store.at(tmp_path / "store", 10)
    for table in (SUMMARY, RISK_METRICS, CORRELATIONS):
        path = store.layout.newest(table)
        made = pq.read_table(path, partitioning=None)
        pq.write_table(made.select([c for c in made.column_names if c not in new]), path)
    histories = read_histories(store, available_tickers(store.layout))
    before = report_inputs(
        store,
        histories,
        pipeline.portfolios(),
        pipeline.universe,
        Assumptions.of(pipeline.settings),
        pipeline.clock(),
    )
    assert "total return" in universe_report(before)
    assert "total return" in portfolio_report(before, "pair")
    said = "The tables summary, risk_metrics, correlations were made by an earlier release"
    for page in (universe_report(before), portfolio_report(before, "pair")):
        assert said in page
    for page in (universe_report(inputs), portfolio_report(inputs, "pair")):
        assert "earlier release" not in page


def test_a_portfolio_that_could_not_be_is_not_told_to_be_too_young(inputs):
    (told,) = [r["message"] for r in inputs.rows("summary") if r["portfolio"] == "impossible"]
    assert inputs.not_backtested["impossible"]
    page = Page(portfolio_report(inputs, "impossible"))
    (said,) = [t for t in page.texts if t.startswith("There is no backtest of this portfolio")]
    assert inputs.not_backtested["impossible"].rstrip(".") in said
    assert "too short" not in said, told
    text = portfolio_report(with_rows(inputs, backtests=[]), "pair")
    assert "There is no backtest of this portfolio: none has been made." in text


def test_what_a_backtest_was_compared_with_and_what_was_not_traded_is_shown(inputs):
    rows = [dict(r) for r in inputs.rows("backtests", portfolio="pair")]
    for i, row in enumerate(rows):
        row |= {
            "comparison_wealth": None if i < 9 else 1 + i / 1000,
            "cash": 0.125 if i == 5 else 0,
        }
    day = rows[3]["date"]
    told = [
        (day, "skipped", "pair", None, "no such <thing>"),
        (day, "nearest", "pair", rows[4]["date"], "too much turnover"),
        (day, "within_band", "pair", None, None),
        (day, "left", "VGS", None, "its prices end"),
    ]
    columns = ("date", "event", "subject", "traded_on", "reason")
    events = [
        {"portfolio": "pair", "code": None, "source": "x"} | dict(zip(columns, e, strict=True))
        for e in told
    ]
    spec = inputs.specs["pair"].model_copy(update={"compare_with": {"VGS": 0.6, "VAF": 0.4}})
    changed = dataclasses.replace(
        with_rows(inputs, backtests=rows, backtest_events=events),
        specs=dict(inputs.specs) | {"pair": spec},
    )
    text = portfolio_report(changed, "pair")
    page = Page(text)
    assert "VGS 60%, VAF 40%" in text
    assert "At most 12.50% of the wealth was in cash." in page.texts
    assert (
        "Decisions: 1 the nearest that could be had was traded; 1 within the band, not traded; "
        "1 skipped, what was held was kept." in page.texts
    )
    for words in ("no such <thing>", "too much turnover", "its prices end", str(rows[4]["date"])):
        assert words in page.texts
    assert "nan" not in text.lower().replace("nance", "")
    # an earlier release had none of that
    older = [{k: v for k, v in r.items() if k not in ("cash", "comparison_wealth")} for r in rows]
    before = with_rows(inputs, backtests=older, backtest_events=[])
    assert "Growth of 10,000" in portfolio_report(before, "pair")


def test_the_course_of_a_portfolio_benchmark_stands_beside(inputs):
    """From the same start, on the same sessions; in another currency it would be no comparison."""
    spec = inputs.specs["pair"].model_copy(
        update={"benchmark": "calm", "objective": "min_tracking_error"}
    )
    changed = dataclasses.replace(inputs, specs=dict(inputs.specs) | {"pair": spec})
    mine, theirs = (
        pd.Series({r["date"]: r["wealth"] for r in inputs.rows("backtests", portfolio=n)})
        for n in ("pair", "calm")
    )
    wealth = mine.set_axis(pd.DatetimeIndex(mine.index))
    drawn = _measured_against(changed, "pair", wealth)
    shared = [d for d in theirs.index if d in mine.index]
    first = theirs[shared[0]] if shared[0] != theirs.index[0] else 1.0  # 1 was paid in
    start = 1.0 if shared[0] == mine.index[0] else mine[shared[0]]
    assert drawn["calm"].iloc[0] == start
    expected = (theirs[shared[1:]] / first * start).to_numpy()
    assert drawn["calm"].to_numpy()[1:] == pytest.approx(expected, rel=1e-12)
    assert "calm" in Page(portfolio_report(changed, "pair")).texts
    abroad = [
        r | ({"base_currency": "USD"} if r["portfolio"] == "calm" else {})
        for r in inputs.rows("summary")
    ]
    assert _measured_against(with_rows(changed, summary=abroad), "pair", wealth) == {}
    assert _measured_against(inputs, "pair", wealth) == {}


def test_rolling_volatility_is_by_the_returns_a_year_of_the_course():
    """Weekly and daily courses of the same risk a year are drawn at the same height."""
    moves = np.random.default_rng(0).choice([-0.01, 0.01], 600)
    daily = pd.Series(np.cumprod(1 + moves), pd.bdate_range("2020-01-01", periods=600))
    weeks = pd.date_range("2010-01-01", periods=600, freq="W-FRI")
    text = volatility_section({"A": daily, "B": daily.set_axis(weeks)}, 252.0)
    free = volatility_section({"A": daily, "B": daily.set_axis(weeks)})
    assert text.chart != free.chart
    assert volatility_section({"A": daily.iloc[:60]}).texts == ["Too short a course."]


def test_calendar_years_link_up():
    days = pd.to_datetime(["2023-12-29", "2024-01-02", "2024-12-31", "2025-06-30"])
    found = calendar_years(pd.Series([100.0, 101.0, 110.0, 121.0], days))
    assert found == {2023: 0.0, 2024: pytest.approx(0.10), 2025: pytest.approx(0.10)}


def test_the_deepest_falls_are_listed_worst_first(inputs):
    """Against the drawdowns that the backtest itself published."""
    found = pd.DataFrame(inputs.rows("backtests", portfolio="calm"))
    worst = found.loc[found["drawdown"].idxmin()]
    before = found[found["date"] < worst["date"]]
    peak = before.loc[before["wealth"].idxmax(), "date"]
    text = portfolio_report(inputs, "calm")
    table = text[text.index("The deepest falls") :]
    first = table[table.index("<tbody><tr>") : table.index("</tr>", table.index("<tbody>"))]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", first)
    assert cells[:2] == [str(peak), str(worst["date"])]
    assert cells[3] == f"{worst['drawdown']:.1%}"


def test_similar_assets_become_neighbours():
    matrix = np.array(
        [[1, 0.1, 0.9, 0.1], [0.1, 1, 0.1, 0.8], [0.9, 0.1, 1, 0.1], [0.1, 0.8, 0.1, 1]]
    )
    order = clustered(matrix)
    assert sorted(order) == [0, 1, 2, 3]
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}
    assert clustered(np.eye(2)) == [0, 1]


def test_the_same_inputs_give_the_same_file(inputs):
    assert portfolio_report(inputs, "pair") == portfolio_report(inputs, "pair")


def test_provenance_names_the_hashes(inputs, pipeline):
    from etf_pipeline.store.reader import file_info

    digest = file_info(pipeline.layout.of(HISTORY, "VAS")).content_hash
    assert f"<code>{digest}</code>" in portfolio_report(inputs, "pair")


def test_only_one_on_request(inputs, tmp_path):
    store = Store.at(tmp_path, 10)
    expected = Layout(tmp_path).report("pair")
    leftover(expected.parent)
    assert pages_of(store, reports(store, inputs, ["pair"])) == {"pair": expected}
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [expected]


def test_made_at_is_told(inputs):
    assert f"made on {inputs.made_at:%Y-%m-%d}" in universe_report(inputs)
    assert inputs.made_at.tzinfo is dt.UTC


def test_bands_stand_beside_the_weights_of_a_portfolio_that_asks_for_them(inputs):
    name = "<script>alert(1)</script> & co"
    page = Page(portfolio_report(inputs, name))
    rows = inputs.rows("uncertainty", portfolio=name, kind="weight")
    assert {r["name"] for r in rows} == {"VAS", "VAF"}
    for row in rows:
        at = page.texts.index(f"{row['q05']:.2%} to {row['q95']:.2%}")
        assert f"{row['held']:.2%}" in page.texts[at + 1 : at + 5]
        assert f"{row['q25']:.2%} to {row['q75']:.2%}" in page.texts[at - 5 : at]
    assert any(t.startswith("Resampled 20 times from the history's own") for t in page.texts)
    assert not any("Resampled" in t for t in Page(portfolio_report(inputs, "calm")).texts)


def test_active_weights_and_cash_stand_beside_the_weights(inputs):
    """They are the weights less the benchmark's, whose other tickers are listed too."""
    against = {"VAF": 0.25, "VGS": 0.5}  # the rest of it is cash
    update = {"benchmark": against, "max_tracking_error": 0.5, "net_exposure": (0.5, 1.0)}
    spec = inputs.specs["pair"].model_copy(update=update)
    held = {r["ticker"]: r["weight"] for r in inputs.rows("weights", portfolio="pair")}
    outside = next(t for t in against if t not in held)
    rows = inputs.rows("summary", portfolio="pair")
    band = dict.fromkeys(("estimate", "mean", "q25", "q50", "q75"), 0.15) | {
        "q05": 0.0123,
        "q95": 0.3456,
    }
    drawn = [
        r | {"portfolio": "pair"} | (band | {"kind": "cash", "name": "cash"} if not i else {})
        for i, r in enumerate([*inputs.rows("uncertainty")[:1], *inputs.rows("uncertainty")])
    ]
    told = with_rows(inputs, summary=[rows[0] | {"cash": 0.1234}], uncertainty=drawn)
    specs = dict(inputs.specs) | {"pair": spec}
    page = Page(portfolio_report(dataclasses.replace(told, specs=specs), "pair"))
    at = page.texts.index("active weight")
    cells = [t.strip() for t in page.texts[at:] if t.strip()]
    for ticker, mine, theirs in (
        *((t, w, against.get(t, 0.0)) for t, w in held.items()),
        ("cash", 0.1234, 0.25),
        (outside, None, against[outside]),
    ):
        row = cells[cells.index(ticker) : cells.index(ticker) + 6]
        assert f"{theirs:.2%}" in row
        assert f"{(mine or 0.0) - theirs:.2%}" in row
        assert mine is None or f"{mine:.2%}" in row
    assert "1.23% to 34.56%" in cells
    named = specs | {"pair": spec.model_copy(update={"benchmark": "calm"})}
    page = Page(portfolio_report(dataclasses.replace(told, specs=named), "pair"))
    theirs = {r["ticker"]: r["weight"] for r in inputs.rows("weights", portfolio="calm")}
    assert theirs
    assert any(t.startswith("Measured against calm: as it is decided now") for t in page.texts)
    at = page.texts.index("active weight")
    cells = [t.strip() for t in page.texts[at:] if t.strip()]
    for ticker, weight in theirs.items():
        if weight:
            row = cells[cells.index(ticker) : cells.index(ticker) + 6]
            assert f"{weight:.2%}" in row
            assert f"{held.get(ticker, 0.0) - weight:.2%}" in row
    assert "active weight" not in Page(portfolio_report(inputs, "pair")).texts


def test_active_risk_short_positions_and_cash_are_shown(inputs):
    """Of a portfolio that has them; its risk rests on the estimates with its benchmark beside."""
    spec = inputs.specs["pair"].model_copy(update={"benchmark": "VAF", "max_tracking_error": 0.5})
    assert spec.beside == ["VAF"]
    asked = {"tracking_error": 0.0456, "beta": 0.87, "cash": 0.1234, "gross_exposure": 1.5}
    summary = [r | (asked if r["portfolio"] == "pair" else {}) for r in inputs.rows("summary")]
    first = spec.tickers[0]
    weights = [
        r | ({"weight": -0.2} if (r["portfolio"], r["ticker"]) == ("pair", first) else {})
        for r in inputs.rows("weights")
    ]
    told = with_rows(inputs, summary=summary, weights=weights)
    specs = dict(inputs.specs) | {"pair": spec}
    page = portfolio_report(dataclasses.replace(told, specs=specs), "pair")
    for shown in ("tracking error, a year", "4.56%", "beta to the benchmark", "0.87", "12.34%"):
        assert shown in page
    assert f"{first} -20.0%" in page
    assert "share of risk" in page
    assert "tracking error, a year" not in portfolio_report(inputs, "pair")
