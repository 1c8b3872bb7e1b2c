"""The report of more ETFs than a page shows each of; pages are made again only if needed."""

import base64
import dataclasses
import datetime as dt
import hashlib
import html
import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.model.schemas import CORRELATIONS, HISTORY, RISK_METRICS
from etf_pipeline.report.inputs import Inputs, Origin
from etf_pipeline.report.many import overview
from etf_pipeline.report.portfolio import portfolio_report
from etf_pipeline.report.seal import made_from
from etf_pipeline.report.universe import universe_report
from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.steps.reports import reports
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline_tests.many_support import GONE, HOSTILE, HOSTILE_NAMED, NOW, SPOILT, LargeStore
from etf_pipeline_tests.stored_support import damage_rows
from etf_pipeline_tests.support import instrument, walk

MANY = 120


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return LargeStore(tmp_path_factory.mktemp("many"), MANY)


@pytest.fixture(scope="module")
def page(large):
    return universe_report(large.inputs())


class Page(HTMLParser):
    """Tables by caption: rows of cells; and what tags there are."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.tags, self.scripts = {}, [], []
        self._text, self._row, self._caption, self._in_script = "", None, None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self._row = []
        if tag in ("caption", "th", "td"):
            self._text = ""
        self._in_script = tag == "script"

    def handle_data(self, data):
        self._text += data
        if self._in_script:
            self.scripts.append(data)

    def handle_endtag(self, tag):
        if tag == "caption":
            self._caption = self._text
            self.tables[self._caption] = []
        if tag in ("th", "td"):
            self._row.append(self._text)
        if tag == "tr":
            self.tables[self._caption].append(self._row)
        self._in_script = False


def metrics(large):
    table = read_table(large.store.layout.newest(RISK_METRICS)).to_pandas()
    return table[table["window"] == "1y"].set_index("ticker")


def told(page):
    return json.loads(Page(page).scripts[0])


def test_every_etf_is_in_the_list_with_its_own_numbers(large, page):
    data = told(page)
    columns = {c["title"]: c for c in data["columns"]}
    assert columns["ETF"]["values"] == large.tickers
    assert columns["name"]["values"][int(HOSTILE_NAMED[1:])] == HOSTILE
    found = metrics(large).loc[large.tickers]
    for title, metric, unit in (
        ("return 1y", "total_return", 1000),
        ("volatility 1y", "volatility", 1000),
        ("drawdown 1y", "max_drawdown", 1000),
        ("Sharpe 1y", "sharpe_ratio", 100),
    ):
        values = np.array(columns[title]["values"], dtype="float64")
        assert np.abs(values - found[metric].to_numpy() * unit).max() <= 0.5 + 1e-9
    sessions = columns["newest session"]
    ends = [str(large.histories.facts[t].last_date) for t in large.tickers]
    assert [sessions["among"][i] for i in sessions["values"]] == ends
    findings = dict(zip(large.tickers, columns["findings"]["values"], strict=True))
    assert {t for t, n in findings.items() if n} == {SPOILT}


def test_the_first_rows_stand_there_without_a_script(large, page):
    (rows,) = (t for caption, t in Page(page).tables.items() if caption == f"{MANY} ETFs")
    assert [row[0] for row in rows[1:]] == large.tickers[:25]
    assert rows[1 + int(HOSTILE_NAMED[1:])][1] == HOSTILE
    assert "The first 25 of 120 are listed" in page
    assert rows[1][5] == f"{metrics(large).loc['T000', 'total_return']:.1%}"


def test_nearest_and_farthest_are_those_of_the_table_of_correlations(large, page):
    data = told(page)["alike"]
    table = read_table(large.store.layout.newest(CORRELATIONS)).to_pandas()
    table = table[(table["window"] == "1y") & (table["ticker"] != table["other"])]
    count = data["count"]
    for i, ticker in enumerate(large.tickers):
        row = table[table["ticker"] == ticker].dropna(subset="correlation")
        row = row.set_index("other")["correlation"]
        for name, best in (("nearest", row.nlargest(count)), ("farthest", row.nsmallest(count))):
            at = slice(i * count, (i + 1) * count)
            found = [large.tickers[j] for j in data[name][at] if j >= 0]
            assert found == list(best.index)
            shown = [v / 100 for v in data[f"{name}By"][at] if v is not None]
            assert shown == pytest.approx(best.to_list(), abs=0.005 + 1e-9)
        assert len(row) > 0 or ticker == GONE


@pytest.mark.parametrize(
    ("caption", "metric", "rising"),
    [
        ("Highest total return, 1y", "total_return", False),
        ("Lowest total return, 1y", "total_return", True),
        ("Lowest volatility, 1y", "volatility", True),
        ("Highest volatility, 1y", "volatility", False),
        ("Shallowest maximum drawdown, 1y", "max_drawdown", False),
        ("Deepest maximum drawdown, 1y", "max_drawdown", True),
        ("Highest Sharpe ratio, 1y", "sharpe_ratio", False),
        ("Lowest Sharpe ratio, 1y", "sharpe_ratio", True),
    ],
)
def test_the_highest_and_the_lowest_are_named_in_order(large, page, caption, metric, rising):
    expected = metrics(large).drop(GONE)[metric].sort_values(ascending=rising).index[:10]
    rows = Page(page).tables[caption][1:]
    assert [row[0] for row in rows] == list(expected)


def test_what_trades_no_more_is_in_no_ranking(large):
    inputs = large.inputs()
    found = overview(inputs, large.tickers)
    gone = large.tickers.index(GONE)
    assert np.isfinite(found.metrics["volatility"][gone])
    assert all(gone not in found.ranked(metric) for metric in found.metrics)
    assert "1 that no longer trade are left out." in universe_report(inputs)


def test_pairs_at_the_ends_are_those_of_all_pairs(large, page):
    """Of a matrix of its own; a pair need not be the first of either of its tickers."""
    closes = {t: large.histories.series[t].prices for t in large.tickers if t != GONE}
    day = max(prices.index[-1] for prices in closes.values())
    start = pd.Timestamp(day) - pd.DateOffset(years=1)
    prices = pd.DataFrame(closes).dropna()
    prices = prices[prices.index >= prices.index[prices.index <= start][-1]]
    matrix = prices.pct_change().dropna().corr()
    places = np.triu_indices(len(matrix), 1)
    values = matrix.to_numpy()[places]
    for caption, order in (
        ("Most alike", np.argsort(-values)),
        ("Least alike", np.argsort(values)),
    ):
        expected = [
            (matrix.index[places[0][i]], matrix.index[places[1][i]], f"{values[i]:.2f}")
            for i in order[:10]
        ]
        assert [tuple(row) for row in Page(page).tables[f"{caption}, 1y"][1:]] == expected


def test_the_command_for_those_who_run_no_script_is_one_of_a_shell(large, page):
    (command,) = re.findall(r"All of them without it: <code>(.*?)</code>", page)
    program, verb, query = shlex.split(html.unescape(command))
    assert (program, verb) == ("etf", "sql")
    with open_catalogue(large.store, large.store.layout.root / "universe.csv") as db:
        assert len(db.query(query).rows) == MANY


def test_what_has_no_price_is_named(made):
    """Nothing else on the page would tell that it is in the universe."""
    inputs = made.inputs()
    assert "has no price here" not in universe_report(inputs)
    made.universe = Universe((*made.universe, instrument("NEW"), instrument("XX", exchange="FX")))
    assert again(made) == {"universe"}
    page = made.store.layout.report(None).read_text()
    assert "1 of the universe has no price here, and so no number on this page: NEW." in page


def test_findings_are_counted_and_the_worst_named(page):
    tables = Page(page).tables
    assert tables["Findings by rule"][1:] == [["level_shift", "quarantined", "1", "1"]]
    (worst,) = (rows for caption, rows in tables.items() if caption.startswith("Findings, in"))
    assert [row[:2] for row in worst[1:]] == [[SPOILT, "1"]]


def test_the_hash_over_all_is_that_of_the_files_and_of_what_sql_lists(large, page):
    layout = large.store.layout
    each = {t: file_info(layout.of(HISTORY, t)).content_hash for t in large.tickers}
    over = hashlib.sha256("".join(f"{t}\t{h}\n" for t, h in sorted(each.items())).encode())
    assert Page(page).tables["Over all"][1] == ["histories", over.hexdigest()]
    queries = [html.unescape(q) for q in re.findall(r"`etf sql (?:&#34;|&#39;)(.*?)`", page)]
    (query,) = (q.rstrip("\"'") for q in queries if "sha256" in q)
    with open_catalogue(large.store, layout.root / "universe.csv") as db:
        assert db.query(query).rows == [(over.hexdigest(),)]
        listed = db.query("SELECT ticker, content_hash FROM histories").rows
        assert dict(listed) == each


def test_it_runs_its_own_script_and_nothing_else(page):
    parsed = Page(page)
    kinds = [attributes.get("type") for tag, attributes in parsed.tags if tag == "script"]
    assert kinds == ["application/json", None]
    (policy,) = (
        a["content"] for _, a in parsed.tags if "Content-Security" in a.get("http-equiv", "")
    )
    digest = re.search(r"script-src 'sha256-([^']+)'$", policy).group(1)
    ran = parsed.scripts[1]
    assert base64.b64encode(hashlib.sha256(ran.encode()).digest()).decode() == digest
    assert policy.startswith("default-src 'none'")
    assert not [a for _, a in parsed.tags if any(k.startswith("on") for k in a)]


def test_a_heat_map_is_of_the_members_of_the_largest_portfolio(page):
    (said,) = re.findall(r"Correlation matrix of ([^<]*), similar ones together", page)
    assert said == "T000, T001, T002"
    assert "Of the members of calm; each portfolio" in page


def test_young_etfs_have_no_numbers_and_that_is_said(large):
    inputs = large.inputs()
    none = inputs.tables["risk_metrics"].slice(0, 0)
    young = dataclasses.replace(
        inputs,
        tables={n: t for n, t in inputs.tables.items() if n == "summary"} | {"risk_metrics": none},
    )
    text = universe_report(young)
    assert "No ETF has a history that covers a window of a year." in text
    assert "There is nothing to count yet." in text
    assert "nan" not in text.lower().replace("nance", "")


def test_what_cannot_be_read_is_named_on_the_page(tmp_path):
    large = LargeStore(tmp_path, 101)
    best = metrics(large).drop(GONE)["total_return"].idxmax()
    damage_rows(large.store.layout.of(HISTORY, best))
    damage_rows(large.store.layout.of(HISTORY, "T001"))
    inputs = large.inputs()
    assert f"Prices of {best} are not on this page: " in universe_report(inputs)
    assert "Prices of T001 are not on this page: " in portfolio_report(inputs, "calm")
    path = large.store.layout.newest(CORRELATIONS)
    damage_rows(path)
    with pytest.raises(CorruptFileError, match=re.escape(str(path))):
        universe_report(large.inputs())


@pytest.fixture
def made(tmp_path):
    large = LargeStore(tmp_path, 101)
    first = reports(large.store, large.inputs())
    assert {o.outcome for o in first.outcomes} == {OutcomeKind.UPDATED}
    return large


def files(large):
    """Bytes and times of the pages."""
    folder = large.store.layout.reports
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def again(large):
    """Make reports a day later; the names of those that were made anew."""
    before = files(large)
    result = reports(large.store, large.inputs(NOW + dt.timedelta(days=1)))
    after = files(large)
    changed = {o.subject for o in result.outcomes if o.outcome == OutcomeKind.UPDATED}
    anew = {
        n.removeprefix("portfolio-").removesuffix(".html") for n in after if after[n] != before[n]
    }
    assert anew == changed
    return changed


def test_pages_that_show_the_same_are_left_alone(made):
    assert again(made) == set()
    (content, _) = files(made)["universe.html"]
    assert f"made on {NOW:%Y-%m-%d %H:%M} UTC".encode() in content
    assert made_from(content) is not None


def test_a_changed_page_is_made_anew_whatever_was_done_to_it(made):
    folder = made.store.layout.reports
    page = folder / "universe.html"
    whole = page.read_bytes()
    for spoilt in (whole[:-100], whole.replace(b"T000", b"T999"), b"", whole + b" "):
        page.write_bytes(spoilt)
        assert again(made) == {"universe"}
    page.unlink()
    reports(made.store, made.inputs())
    assert made_from(page.read_bytes()) == made_from(whole)


def test_what_a_page_shows_decides_which_are_made_anew(made):
    made.specs[1] = made.specs[1].model_copy(update={"description": "The same weight for both."})
    assert again(made) == {"universe", "even"}
    assert again(made) == set()
    made.publish("T090", walk(420, seed=999))
    assert again(made) == {"universe"}  # no portfolio has it, and the tables are as they were
    made.publish("T001", walk(420, seed=998))
    assert again(made) == {"universe", "calm"}
    made.derive()
    assert again(made) == {"universe", "calm", "even"}
    assert again(made) == set()


def test_one_portfolio_reads_its_own_prices_alone(made):
    for ticker in ("T003", "T050"):
        damage_rows(made.store.layout.of(HISTORY, ticker))
    text = portfolio_report(made.inputs(), "calm")
    assert "are not on this page" not in text


def test_ten_thousand_are_less_than_two_megabytes():
    """With names as long as funds have, and every number and correlation there."""
    many, rng = 10_000, np.random.default_rng(0)
    tickers = [f"{i:05d}.{'LDNSX'[i % 5]}" for i in range(many)]
    day = dt.date(2025, 6, 2)
    windows = [
        pa.table(
            {
                "ticker": tickers,
                "window": [window] * many,
                **{n: rng.normal(size=many) for n in ("total_return", "volatility")},
                **{n: rng.normal(size=many) for n in ("max_drawdown", "sharpe_ratio")},
            }
        )
        for window in ("1y", "5y")
    ]
    others = rng.integers(0, many, (many, 12))
    pairs = pa.table(
        {
            "ticker": np.repeat(tickers, 12),
            "other": np.array(tickers)[others.ravel()],
            "window": ["3y"] * many * 12,
            "period": ["daily"] * many * 12,
            "correlation": rng.uniform(-1, 1, many * 12),
        }
    )
    inputs = Inputs(
        series={},
        origins={t: Origin(dt.date(2005, 1, 3), day, "yahoo", "EUR") for t in tickers},
        specs={},
        names={t: f"Issuer Core World Equity Index {t} UCITS ETF (Acc)" for t in tickers},
        tables={"risk_metrics": pa.concat_tables(windows), "correlations": pairs},
        findings={},
        contents={t: hashlib.sha256(t.encode()).hexdigest() for t in tickers},
        hashes={},
        outdated_tables=(),
        lookback_years=5,
        conversion=Conversion(Rates(), {}, None),
        made_at=NOW,
        facts={"asset_class": dict.fromkeys(tickers, "international_equity")},
    )
    page = universe_report(inputs)
    assert len(page.encode()) < 2_000_000
    columns = {c["title"]: c["values"] for c in told(page)["columns"]}
    assert all(len(values) == many for values in columns.values())
    assert None not in columns["Sharpe 5y"]
