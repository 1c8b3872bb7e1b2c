"""What the documentation shows is what happens."""

import datetime as dt
import doctest
import re
import shlex

import dagster as dg
import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.simulated import SimulatedSource
from etf_pipeline.model.schemas import HISTORY, MANIFEST
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.store import Store
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.pipeline.support import PORTFOLIOS, execute, make_pipeline
from etf_pipeline_tests.support import instrument

NOW = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)


def simulated_store(root):
    """Four simulated histories below `root`; the batch and the outcomes have their manifests."""
    store, run = Store.at(root, 10), Run("docs", NOW, "XASX")
    kinds = {
        "VAS": "australian_equity",
        "VGS": "international_equity",
        "VTS": "international_equity",
        "VAF": "fixed_income",
    }
    instruments = [instrument(t, asset_class=k) for t, k in kinds.items()]
    source = SimulatedSource(lambda: NOW)
    download(store, run, source, instruments, Terms(), clock=lambda: NOW)
    update_histories(store, run, instruments)
    return store.layout


def commands(page):
    """The `etf` commands of a page's console blocks, without their comments."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.S):
        for line in block.splitlines():
            if line.startswith("$ etf "):
                yield line.removeprefix("$ etf ").partition("#")[0].strip()


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory):
    """Every table, made by the real graph on simulated prices."""
    folder = tmp_path_factory.mktemp("docs")
    tickers = dict.fromkeys(("VAS", "VGS", "VTS", "VAF"), "XASX")
    portfolios = PORTFOLIOS.replace("name: calm", "name: balanced")
    pipeline = make_pipeline(folder, tickers, portfolios=portfolios)
    (folder / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "home")) as instance:
        assert execute(pipeline, instance, "ingest", "XASX").success
        assert execute(pipeline, instance, "derive").success
    return pipeline.settings


def at(settings, monkeypatch):
    for name in ("data_dir", "universe_file", "portfolios_file"):
        monkeypatch.setenv(f"ETF_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("ETF_SOURCE", "simulated")


@pytest.fixture
def memory_limit_kept():
    """`etf sql` bounds the memory of its process for good; here the process is not its own."""
    try:
        import resource
    except ImportError:  # Windows, where nothing is bounded
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


QUESTIONS = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "sql.md").read_text(), re.S)
# What asks for sessions without a rate, quarantined rows, stale tickers, failures and revisions:
# there are none here.
FIND_NOTHING_WRONG = {16, 23, 24, 25, 26}


def test_there_are_enough_questions():
    assert len(QUESTIONS) == 27


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_every_question_has_an_answer(whole_store, number):
    with open_catalogue(
        Store.at(whole_store.data_dir, 10), whole_store.universe_file
    ) as connection:
        answer = connection.query(QUESTIONS[number])
    assert answer.columns
    assert bool(answer.rows) == (number not in FIND_NOTHING_WRONG)


@pytest.mark.parametrize("page", ["docs/sql.md", "docs/operations.md", "README.md"])
def test_the_commands_of_a_page(whole_store, monkeypatch, tmp_path, memory_limit_kept, page):
    at(whole_store, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    done = [c for c in commands(ROOT / page) if "files:/my/prices" not in c]
    assert len(done) >= 4
    for command in done:
        result = CliRunner().invoke(app, shlex.split(command), catch_exceptions=False)
        assert result.exit_code == 0, (command, result.output)


@pytest.mark.parametrize(
    "name", sorted(c.name or c.callback.__name__ for c in app.registered_commands)
)
def test_every_command_has_an_example_and_json(name):
    text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
    assert "--json" in text
    if name not in ("status", "demo", "selftest"):
        assert "Example: etf " in text


def test_the_commands_of_the_events_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    layout = simulated_store(tmp_path / "data" / "etf")
    recorder = open_events(layout.root, load_event_settings())
    for asset in ("raw_prices", "price_history"):
        path = layout.of(MANIFEST, asset, "docs", "XASX")
        recorder.append(events_of_manifest(layout, path, recorder.instance))
    recorder.close()
    done = list(commands(ROOT / "docs" / "events.md"))
    assert len(done) == 10
    for command in done:
        result = CliRunner().invoke(app, shlex.split(command), catch_exceptions=False)
        assert result.exit_code == 0, (command, result.output)
    assert (tmp_path / "rebuilt" / "historical" / "VAS.parquet").read_bytes() == (
        layout.of(HISTORY, "VAS").read_bytes()
    )


def test_the_examples_of_the_provider_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulated_store(tmp_path / "data" / "demo")
    # a fence would be taken for output
    text = (ROOT / "docs" / "provider.md").read_text().replace("```python", "").replace("```", "")
    examples = doctest.DocTestParser().get_doctest(text, {}, "provider.md", "provider.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    found = runner.run(examples)
    assert found.attempted > 20
    assert found.failed == 0


PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING")),
]
TESTS = {p.name: p.read_text() for p in (ROOT / "etf_pipeline_tests").rglob("test_*.py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_tests_that_a_page_names_are_there(page):
    text = page.read_text()
    assert set(re.findall(r"\b(test_\w+\.py)\b", text)) <= TESTS.keys()
    for name, cut in re.findall(r"`(test_\w+)(…?)`", text):
        defined = re.compile(rf"def {name}" + ("" if cut else r"\("))
        assert any(defined.search(t) for t in TESTS.values()), name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
