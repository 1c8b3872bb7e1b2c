"""What the documentation shows is what happens."""

import datetime as dt
import doctest

import pytest

from etf_pipeline.history.update import update_histories
from etf_pipeline.ingest.collect import collect
from etf_pipeline.ingest.simulated import SimulatedSource
from etf_pipeline.settings import Settings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.support import instrument

NOW = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)


def test_the_examples_of_the_provider_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = Layout(tmp_path / "data" / "demo")
    kinds = {"VAS": "australian_equity", "VGS": "international_equity",
             "VTS": "international_equity", "VAF": "fixed_income"}  # fmt: skip
    instruments = [instrument(t, asset_class=k) for t, k in kinds.items()]
    collect(
        layout, SimulatedSource(lambda: NOW), "XASX", instruments, Settings(), "docs",
        clock=lambda: NOW,
    )  # fmt: skip
    update_histories(layout, "XASX", instruments, 10)
    # a fence would be taken for output
    text = (ROOT / "docs" / "provider.md").read_text().replace("```python", "").replace("```", "")
    examples = doctest.DocTestParser().get_doctest(text, {}, "provider.md", "provider.md", 0)
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS
        | doctest.NORMALIZE_WHITESPACE
        | doctest.IGNORE_EXCEPTION_DETAIL
    )
    found = runner.run(examples)
    assert found.attempted > 20
    assert found.failed == 0


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"])
def test_links_lead_somewhere(page):
    import re

    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
