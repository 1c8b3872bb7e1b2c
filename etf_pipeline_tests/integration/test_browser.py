"""A real headless Chromium on the real Dagster UI and on the reports."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from etf_pipeline.model.schemas import RISK_METRICS
from etf_pipeline.report.universe import universe_report
from etf_pipeline.steps.reports import reports
from etf_pipeline.store.reader import read_table
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.many_support import HOSTILE, HOSTILE_NAMED, LargeStore
from etf_pipeline_tests.pipeline.support import PORTFOLIOS, write_universe

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
PICTURES = os.environ.get("ETF_TEST_PICTURES")  # read before the tests' own environment is cleared
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """`dagster dev`, as `make dev` starts it, on simulated prices; its address and store."""
    folder = tmp_path_factory.mktemp("ui")
    universe = write_universe(folder, dict.fromkeys(("VAS", "VGS", "VAF"), "XASX"))
    (folder / "portfolios.yaml").write_text(PORTFOLIOS)
    port = free_port()
    environ = os.environ | {
        "DAGSTER_HOME": str(folder / "home"),
        "ETF_DATA_DIR": str(folder / "store"),
        "ETF_UNIVERSE_FILE": str(universe),
        "ETF_SOURCE": "simulated",
        "ETF_PORTFOLIOS_FILE": str(folder / "portfolios.yaml"),
        "EVENT_STORE_TYPE": "embedded",
    }
    prepare = [sys.executable, "-m", "etf_pipeline.orchestration.instance"]
    subprocess.run(prepare, env=environ, check=True, capture_output=True)
    program = str(Path(sys.executable).with_name("dagster"))
    log = (folder / "dev.log").open("wb")
    process = subprocess.Popen(
        [program, "dev", "-w", str(ROOT / "workspace.yaml"), "-p", str(port)],
        env=environ,
        cwd=folder,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 300
        while not answers(f"{address}/server_info"):
            assert process.poll() is None
            assert time.monotonic() < deadline, (folder / "dev.log").read_text()[-2000:]
            time.sleep(0.3)
        yield address, folder / "store"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=10).read()
    except OSError:
        return False
    return True


def watched(chromium, **options):
    """A page, with what it complained of and what it asked of others."""
    page = chromium.new_page(**options)
    errors, outside = [], []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on(
        "request",
        lambda r: (
            outside.append(r.url)
            if not r.url.startswith(("http://127.0.0.1", "file:", "data:", "blob:"))
            else None
        ),
    )
    return page, errors, outside


def picture(page, name):
    """A screenshot, kept where ETF_TEST_PICTURES says."""
    if PICTURES:
        page.wait_for_timeout(2_000)  # until everything that moves has come to rest
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def test_materialise_everything_and_look_at_it(chromium, ui):
    address, store = ui
    page, _, _ = watched(chromium, viewport={"width": 1440, "height": 900})
    page.goto(f"{address}/asset-groups")
    page.get_by_role("button", name="Materialize all").click(timeout=120_000)
    launch = page.get_by_role("button", name=re.compile("^Launch"))
    page.get_by_role("button", name="All", exact=True).click(timeout=120_000)
    launch.click(timeout=120_000)
    deadline = time.monotonic() + 400
    while not (store / "reports" / "universe.html").exists():
        assert time.monotonic() < deadline, "the reports were not made"
        page.wait_for_timeout(500)
    page.goto(f"{address}/runs")
    page.get_by_text("Success").first.wait_for(timeout=120_000)
    page.goto(f"{address}/asset-groups")
    page.get_by_text("serving").first.wait_for(timeout=120_000)
    picture(page, "lineage")
    page.goto(f"{address}/assets/optimised_portfolios")
    page.get_by_text("weights_pair").first.wait_for(timeout=120_000)
    page.locator("img[src^='data:image/svg+xml']").first.wait_for(timeout=120_000)
    picture(page, "asset")
    page.goto(f"{address}/assets/optimised_portfolios?view=checks")
    page.get_by_text("weights_add_up").first.wait_for(timeout=120_000)
    page.goto(f"{address}/assets/reports")
    page.get_by_text("report_universe").first.wait_for(timeout=120_000)


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_reports_at_every_width_and_in_both_schemes(chromium, ui, tmp_path, width, scheme):
    _, store = ui
    files = sorted((store / "reports").glob("*.html"))
    assert len(files) == 3
    for file in files:
        page, errors, outside = watched(
            chromium, viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        page.goto(file.as_uri())
        assert errors == []
        assert outside == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        drawn = page.locator("figure svg")
        assert drawn.count() >= 4
        for i in range(drawn.count()):
            box = drawn.nth(i).bounding_box()
            assert box["width"] > 0.8 * min(width, 820) - 40
            assert box["height"] > 60
        style = "getComputedStyle(document.body)"
        ink, paper = page.evaluate(f"[{style}.color, {style}.backgroundColor]")
        assert ink != paper
        pdf = tmp_path / "report.pdf"
        page.pdf(path=str(pdf))
        assert pdf.read_bytes().startswith(b"%PDF")
        assert pdf.stat().st_size > 20_000
        picture(page, f"{file.stem}-{width}-{scheme}")
        page.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The universe's report of 120 ETFs, as a file, and its table of metrics."""
    large = LargeStore(tmp_path_factory.mktemp("many") / "store", 120)
    reports(large.store, large.inputs())
    table = read_table(large.store.layout.newest(RISK_METRICS)).to_pandas()
    return large, table[table["window"] == "1y"].set_index("ticker")


def tickers_shown(page):
    return page.locator("#listing-rows th").all_text_contents()


def test_one_long_name_leaves_the_numbers_in_sight(chromium, many):
    large, _ = many
    long = {"T000": "N" * 200, "T001": "Fund of a very long name " * 8}
    inputs = large.inputs()
    text = universe_report(dataclasses.replace(inputs, names=dict(inputs.names) | long))
    page, errors, _ = watched(chromium, viewport={"width": 1440, "height": 900})
    page.set_content(text)
    for cell in page.locator("#listing-rows tr").first.locator("th, td").all():
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= 1440
    assert not errors


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_list_of_many_is_searched_sorted_and_turned_over(chromium, many, width, scheme, tmp_path):
    large, metrics = many
    page, errors, outside = watched(
        chromium, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page.goto(large.store.layout.report(None).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert tickers_shown(page) == large.tickers[:25]
    assert page.get_by_text("The first 25 of 120 are listed").is_hidden()
    status = page.locator("#listing-status")
    assert status.text_content() == "1 to 25 of 120"
    page.get_by_role("button", name="Next").click()
    assert tickers_shown(page) == large.tickers[25:50]
    search = page.get_by_label("Search by ticker, name, class or currency")
    search.fill("FUND fixed 11")
    odd = [t for t in large.tickers if int(t[-1]) % 2]
    expected = [t for t in odd if "11" in f"{t} {int(t[1:])}"]
    assert tickers_shown(page) == [t for t in expected if t != HOSTILE_NAMED]
    search.fill("nothing of the kind")
    assert status.text_content() == "None of 120 has all of these words."
    search.fill("")
    # with the keyboard alone: highest first, then lowest
    head = page.get_by_role("button", name="volatility 1y", exact=True)
    head.focus()
    shown = metrics["volatility"].mul(1000).round()
    for rising in (False, True):
        page.keyboard.press("Enter")
        found = [shown[t] for t in tickers_shown(page)]
        assert found == sorted(shown, reverse=not rising)[:25]
        way = "ascending" if rising else "descending"
        assert page.locator(f"th[aria-sort={way}]").text_content() == "volatility 1y"
    search.fill(HOSTILE_NAMED)
    page.get_by_role("button", name=f"{HOSTILE_NAMED}: show").focus()
    page.keyboard.press("Enter")
    one = page.get_by_role("region", name="One ETF")
    assert page.evaluate("document.activeElement.id") == "listing-one"
    assert HOSTILE.replace("\u2028", "") in one.text_content().replace("\u2028", "")
    nearest = one.locator("ol").first.get_by_role("button")
    assert nearest.count() == 5
    other = nearest.first.text_content()
    nearest.first.click()
    assert one.locator("h3").text_content() == other
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"many-{width}-{scheme}")
    one.get_by_role("button", name="Close").click()
    assert one.is_hidden()
    assert page.evaluate("document.activeElement.id") == "listing-search"
    page.pdf(path=str(tmp_path / "many.pdf"))
    page.emulate_media(media="print")
    assert page.locator("#listing-controls").is_hidden()
    assert errors == []
    assert outside == []
    page.close()


def test_a_list_of_many_is_of_use_without_a_script(chromium, many):
    large, _ = many
    page, errors, outside = watched(chromium, java_script_enabled=False)
    page.goto(large.store.layout.report(None).as_uri())
    assert tickers_shown(page) == large.tickers[:25]
    assert page.get_by_text("The first 25 of 120 are listed").is_visible()
    assert page.locator("#listing-search").is_hidden()
    assert page.get_by_text("Highest total return, 1y").is_visible()
    assert errors == []
    assert outside == []
    page.close()
