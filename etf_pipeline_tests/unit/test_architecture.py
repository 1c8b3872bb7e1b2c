"""Which room may import what, what no room does, and how large things may be.

The rules themselves are in `etf_pipeline_tests.architecture`. Each is run on the package, and on a
few lines of text that break it: a rule that cannot fail says nothing.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable

import pytest

from etf_pipeline_tests import architecture as rules
from etf_pipeline_tests.architecture import Module

FOUND = rules.package()

# Room by room, from the ground: what it may import of ours.
MAY = {
    room: frozenset(others.split())
    for room, others in {
        "_version": "",
        "errors": "",
        "model": "errors",
        "settings": "errors model",
        "history": "errors model",
        "risk": "errors model",
        "sql": "errors model",
        "portfolio": "errors model risk",
        "store": "errors model history risk",
        "share": "errors model store",
        "ingest": "errors model settings history",
        "report": "errors model risk _version",
        "events": "errors model settings history store _version",
        "steps": "errors model settings history risk sql portfolio store ingest report _version",
        "library": "errors model settings risk portfolio store share events",
        "orchestration": "errors model settings store share ingest events steps",
        "cli": "errors model settings risk sql store share events steps library orchestration "
        "_version",
        "definitions": "settings events orchestration",
        "__init__": "library _version",
    }.items()
}
MOST_FLOORS = 7
# The same inside events/, by folder or module.
MAY_IN_EVENTS = {
    part: frozenset(others.split())
    for part, others in {
        "__init__": "",
        "model": "",
        "settings": "",
        "orchestrator": "",
        "schemas": "model",
        "log": "model",
        "protocol": "model settings log",
        "kafka": "model settings log",
        "proof": "model settings log protocol facts",
        "modes": "model settings log protocol kafka proof",
        "factory": "settings protocol kafka modes",
        "cursor": "orchestrator",
        "cursors": "model log orchestrator protocol cursor",
        "ownership": "log orchestrator",
        "failed": "model orchestrator",
        "facts": "model orchestrator failed",
        "retelling": "model log orchestrator protocol facts",
        "untold": "log orchestrator protocol facts",
        "unrecorded": "model settings log factory cursors facts untold",
        "datasets": "model orchestrator",
        "lineage": "model orchestrator datasets failed",
        "tailer": "model orchestrator protocol cursor cursors ownership facts retelling untold "
        "lineage proof",
        "status": "settings log factory tailer proof",
        "calls": "model log protocol proof factory",
    }.items()
}

# Libraries that belong in one place, by the name that is imported.
ONLY = {
    "celery": ("orchestration/",),
    "clarabel": ("portfolio/solvers/conic.py",),
    "cloudevents": ("events/model/",),
    "cryptography": ("events/proof/keys.py", "events/proof/signing.py"),
    "confluent_kafka": ("events/kafka/",),
    "curl_cffi": ("ingest/sources/yahoo.py",),
    "cycler": ("report/charts.py",),
    "dagster": ("orchestration/",),
    "dagster_celery": ("orchestration/",),
    "dagster_postgres": ("orchestration/",),
    "dagster_shared": ("orchestration/",),
    "duckdb": (
        "sql/",
        "steps/catalogue.py",
        "steps/catalogue_building.py",
        "steps/catalogue_freshness.py",
    ),
    "exchange_calendars": ("model/calendars.py",),
    "filelock": ("store/writer.py",),
    "jinja2": ("report/html.py",),
    "matplotlib": ("report/charts.py",),
    # Only where a bucket is the share: nothing else may wait for its import.
    "obstore": ("share/remote.py",),
    "openlineage": ("events/lineage.py", "events/datasets.py"),
    "prompt_toolkit": ("sql/prompt.py",),
    "psutil": ("store/processes.py",),
    "pydantic_settings": ("settings/", "events/settings.py"),
    # SQL answers are rendered beside the code that makes them.
    "rich": ("cli/", "sql/output.py"),
    "scipy": ("portfolio/", "report/charts.py"),
    "typer": ("cli/",),
    "sqlalchemy": ("orchestration/",),
    "yaml": (
        "model/portfolio_file.py",
        "model/portfolio_yaml.py",
        "orchestration/instance_file.py",
    ),
    "yfinance": ("ingest/sources/yahoo.py",),
}
# What is imported under another name than it is installed by.
INSTALLED_AS = {"yaml": "pyyaml", "openlineage": "openlineage-python"}

SETTINGS = ("settings/environment.py", "events/settings.py")
PATHS = ("store/layout.py",)
# Where the word for how events are recorded is turned into an object, once.
MODES = ("events/settings.py", "events/factory.py", "settings/environment.py")
LONGEST_FUNCTION, LONGEST_ASSET = 60, 15
LONG_FUNCTIONS: tuple[str, ...] = ()

Rule = Callable[[list[Module]], list[str]]


def circles(found: list[Module]) -> list[str]:
    return [" and ".join(c) + " import each other" for c in rules.circles(rules.edges(found))]


def typed_circles(found: list[Module]) -> list[str]:
    graph = rules.edges(found, typing_only=True)
    return [" and ".join(c) + " know each other's types" for c in rules.circles(graph)]


def room_circles(found: list[Module]) -> list[str]:
    graph = rules.room_graph(rules.edges(found, typing_only=True))
    return [" and ".join(c) + " import each other" for c in rules.circles(graph)]


def strangers_in_events(found: list[Module]) -> list[str]:
    """Imports from a part of events/ that the table does not allow; the table has no circle."""
    table = {part: dict.fromkeys(others, 0) for part, others in MAY_IN_EVENTS.items()}
    out = [" and ".join(c) + " may import each other" for c in rules.circles(table)]
    graph = rules.edges(found, typing_only=True)
    for module in found:
        own = part_of_events(module.name)
        for target, line in graph[module.name].items():
            part = part_of_events(target)
            if own and part and own != part and part not in MAY_IN_EVENTS.get(own, ()):
                out.append(module.at(line, f"{own} may not import {part} ({target})"))
    return out


def part_of_events(name: str) -> str | None:
    """The folder or module of events/ that a module is in; None for modules elsewhere."""
    names = [*name.split("."), "__init__"]
    return names[2] if names[1] == "events" else None


def too_high(found: list[Module]) -> list[str]:
    graph = rules.room_graph(rules.edges(found, typing_only=True))
    if rules.circles(graph):
        return ["no floors while rooms import each other"]
    return [f"{r} is on floor {n}" for r, n in rules.floors(graph).items() if n > MOST_FLOORS]


def undeclared(found: list[Module]) -> list[str]:
    return rules.undeclared(found, declared() | {"etf-pipeline"}, INSTALLED_AS)


def declared() -> set[str]:
    """Names of the distributions that pyproject.toml asks for, whatever the extra."""
    text = (rules.FOLDER.parent / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    asked = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        asked += extra
    return {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower().replace("_", "-") for one in asked}


RULES: dict[str, Rule] = {
    "libraries": lambda found: rules.misplaced(found, ONLY),
    "declared libraries": undeclared,
    "formatter": rules.unformatted,
    "rooms": lambda found: rules.strangers(found, MAY),
    "parts of events": strangers_in_events,
    "circles": circles,
    "circles of types": typed_circles,
    "circles of rooms": room_circles,
    "floors": too_high,
    "pure rooms": rules.impure,
    "private names": rules.private_imports,
    "paths": lambda found: rules.paths(found, PATHS),
    "environment": lambda found: rules.environment(found, SETTINGS),
    "modes": lambda found: rules.mode_strings(found, MODES),
    "sentences": rules.sentences,
    "probes": rules.probes,
    "long functions": lambda found: rules.long_functions(found, LONGEST_FUNCTION, LONG_FUNCTIONS),
    "long assets": lambda found: rules.long_assets(found, LONGEST_ASSET),
}

LINES = "\n".join(f"    x = {i}" for i in range(70))

# A rule, a package in small that breaks it, and words of the finding.
BAD: list[tuple[str, dict[str, str], str]] = [
    ("libraries", {"store/x.py": "def f():\n    import dagster"}, "store/x.py:2: dagster"),
    ("libraries", {"events/kafkaesque.py": "from confluent_kafka import Producer"}, "confluent"),
    ("declared libraries", {"risk/x.py": "import quantstats.stats"}, "quantstats"),
    ("formatter", {"cli/x.py": "x = [1,2]  # fmt: skip"}, "cli/x.py:1: opts out"),
    ("formatter", {"cli/x.py": "# fmt: off\nx = [1,2]"}, "opts out"),
    ("rooms", {"store/x.py": "def f():\n    from etf_pipeline.steps import y"}, "store/x.py:2:"),
    ("rooms", {"risk/x.py": "from etf_pipeline.history.adjust import y"}, "may not import history"),
    (
        "rooms",
        {"risk/x.py": "if TYPE_CHECKING:\n    from etf_pipeline.store.x import y"},
        "may not import store",
    ),
    ("rooms", {"attic/x.py": ""}, "not in the table"),
    ("rooms", {"cli/x.py": "from etf_pipeline import ETFDataProvider"}, "may not import __init__"),
    (
        "parts of events",
        {"events/log/x.py": "def f():\n    from etf_pipeline.events.proof.y import z"},
        "log may not import proof",
    ),
    (
        "parts of events",
        {"events/protocol.py": "if TYPE_CHECKING:\n    from etf_pipeline.events.proof.y import z"},
        "protocol may not import proof",
    ),
    ("parts of events", {"events/x.py": "from etf_pipeline.events.log.y import z"}, "x may not"),
    (
        "circles",
        {
            "model/a.py": "def f():\n    from etf_pipeline.model import b",
            "model/b.py": "from etf_pipeline.model.a import f",
        },
        "etf_pipeline.model.a and etf_pipeline.model.b",
    ),
    (
        "circles of types",
        {
            "model/a.py": "if typing.TYPE_CHECKING:\n    from etf_pipeline.model.b import B",
            "model/b.py": "from etf_pipeline.model.a import A",
        },
        "know each other's types",
    ),
    (
        "circles of rooms",
        {
            "model/a.py": "import etf_pipeline.risk.b",
            "risk/b.py": "import etf_pipeline.store.c",
            "store/c.py": "from importlib import import_module\n"
            "import_module('etf_pipeline.model.d')",
        },
        "model and risk and store",
    ),
    (
        "floors",
        {
            "errors.py": "",
            "model/x.py": "import etf_pipeline.errors",
            "risk/x.py": "import etf_pipeline.model.x",
            "store/x.py": "import etf_pipeline.risk.x",
            "events/x.py": "import etf_pipeline.store.x",
            "library/x.py": "import etf_pipeline.events.x",
            "orchestration/x.py": "import etf_pipeline.library.x",
            "cli/x.py": "import etf_pipeline.orchestration.x",
        },
        "cli is on floor 8",
    ),
    ("pure rooms", {"risk/x.py": "from pathlib import Path"}, "imports pathlib.Path"),
    ("pure rooms", {"history/x.py": "import pyarrow.parquet as pq"}, "pyarrow.parquet"),
    ("pure rooms", {"history/x.py": "from pyarrow import parquet"}, "pyarrow.parquet"),
    ("pure rooms", {"portfolio/x.py": "def f():\n    import time"}, "imports time"),
    ("pure rooms", {"portfolio/x.py": "n = dt.datetime.now(dt.UTC)"}, "reads the clock"),
    ("pure rooms", {"history/x.py": "open('a')"}, "opens a file"),
    ("pure rooms", {"risk/x.py": "def f(s: Settings): ..."}, "settings object"),
    ("pure rooms", {"risk/x.py": "rng = np.random.default_rng()"}, "seed"),
    ("private names", {"cli/x.py": "from dagster._core.x import Y"}, "private to dagster"),
    ("paths", {"steps/x.py": "p = root / 'historical' / name"}, "'historical'"),
    ("paths", {"sql/x.py": "p = root / f'{name}.parquet'"}, "'.parquet'"),
    ("paths", {"sql/x.py": "p = root.glob('as_of=*/part')"}, "as_of="),
    ("paths", {"sql/x.py": "p = f'{root}/log/*.parquet'"}, ".parquet"),
    ("paths", {"events/x.py": "p = root.joinpath('events', 'events.sqlite')"}, "events.sqlite"),
    ("environment", {"cli/x.py": "x = os.environ.get('A')"}, "os.environ"),
    ("environment", {"cli/x.py": "from os import getenv"}, "imports os.getenv"),
    ("modes", {"cli/x.py": "if system.mode == 'kafka': pass"}, "'kafka'"),
    ("modes", {"cli/x.py": "x = mode in ('none', 'auto')"}, "'none'"),
    ("modes", {"cli/x.py": "match mode:\n    case 'embedded': pass"}, "'embedded'"),
    ("sentences", {"cli/x.py": "x = o.reason.startswith('no')"}, "o.reason"),
    ("sentences", {"cli/x.py": "x = (o.reason or '').startswith('no')"}, "o.reason"),
    ("sentences", {"cli/x.py": "x = 'full' in str(error).lower()"}, "str(error)"),
    ("sentences", {"cli/x.py": "x = 'no' not in message"}, "message"),
    ("sentences", {"cli/x.py": "x = answer.message == 'optimal'"}, "answer.message"),
    ("probes", {"store/x.py": "os.kill(pid, 0)"}, "ask psutil"),
    ("probes", {"store/x.py": "from os import kill"}, "ask psutil"),
    ("long functions", {"cli/x.py": f"def f():\n{LINES}"}, "cli/x.py:1: f has 71 lines"),
    ("long functions", {"cli/x.py": f"class A:\n  async def f():\n{LINES}"}, "f has 71 lines"),
    ("long assets", {"cli/x.py": f"@dg.asset(x=1)\ndef f():\n    'doc'\n{LINES}"}, "70 lines"),
    ("long assets", {"cli/x.py": f"@multi_asset\ndef f():\n{LINES}"}, "asset f has 70"),
]

# What the same rules must let pass.
GOOD: list[tuple[str, dict[str, str]]] = [
    ("libraries", {"orchestration/x.py": "import dagster as dg", "store/y.py": "import numpy"}),
    ("declared libraries", {"x.py": "import yaml, json, pyarrow.parquet, etf_pipeline.errors"}),
    ("formatter", {"cli/x.py": "x = 1  # noqa: E501"}),
    ("rooms", {"store/x.py": "from etf_pipeline.history import y\nimport etf_pipeline.store.z"}),
    (
        "circles",
        {
            "model/a.py": "if TYPE_CHECKING:\n    from etf_pipeline.model.b import B",
            "model/b.py": "from etf_pipeline.model.a import A",
        },
    ),
    (
        "parts of events",
        {
            "events/proof/x.py": "import etf_pipeline.events.log.y\nimport etf_pipeline.store.z",
            "cli/x.py": "from etf_pipeline.events.proof.x import y",
        },
    ),
    ("pure rooms", {"risk/x.py": "import pyarrow as pa", "store/x.py": "import os, pathlib"}),
    ("pure rooms", {"history/x.py": "rng = np.random.default_rng(7)\nd = x.opened"}),
    (
        "private names",
        {"x.py": "from __future__ import annotations\nfrom etf_pipeline._a import b"},
    ),
    ("paths", {"store/layout.py": "p = root / 'historical'", "risk/x.py": "x = a / b"}),
    ("paths", {"sql/x.py": "x = frame['risk']\nname = 'historical'\np = root / 'style.css'"}),
    ("environment", {"settings/environment.py": "x = os.environ", "cli/x.py": "x = jinja.environ"}),
    ("modes", {"events/factory.py": "x = m == 'kafka'", "cli/x.py": "x = Kafka('kafka')"}),
    ("sentences", {"cli/x.py": "x = o.reason_code is Code.X\ny = line.startswith('a')"}),
    ("sentences", {"events/kafka/x.py": "n = message.partition()\nx = name in names"}),
    ("probes", {"store/x.py": "psutil.pid_exists(1)\nprocess.kill()"}),
    ("long functions", {"cli/x.py": "def f():\n" + "\n".join(["    x = 1"] * 59)}),
    ("long assets", {"x.py": "@dg.asset\ndef f():\n" + "\n".join(["    x = 1"] * 15)}),
    ("long assets", {"x.py": f"@dg.asset_check(asset=x)\ndef f():\n{LINES}"}),
]


@pytest.mark.parametrize("rule", RULES)
def test_the_package_obeys(rule):
    broken = RULES[rule](FOUND)
    assert not broken, f"{rule}:\n" + "\n".join(broken)


@pytest.mark.parametrize(("rule", "texts", "words"), BAD)
def test_a_rule_can_fail(rule, texts, words):
    findings = RULES[rule](rules.modules(texts))
    assert [f for f in findings if words in f], findings


@pytest.mark.parametrize(("rule", "texts"), GOOD)
def test_a_rule_lets_pass_what_it_should(rule, texts):
    assert RULES[rule](rules.modules(texts)) == []


def test_every_rule_is_shown_to_fail():
    assert {rule for rule, *_ in BAD} == RULES.keys()


def test_floors_count_the_longest_way_down():
    rooms = {"cli": {"store": 0, "errors": 0}, "store": {"model": 0}, "model": {"errors": 0}}
    assert rules.floors(rooms | {"errors": {}}) == {"errors": 1, "model": 2, "store": 3, "cli": 4}


def test_the_table_names_the_rooms_that_there_are():
    assert {m.room for m in FOUND} == MAY.keys()
    assert {part_of_events(m.name) for m in FOUND} - {None} == MAY_IN_EVENTS.keys()


@pytest.mark.parametrize("module", FOUND, ids=lambda m: m.path)
def test_modules_stay_readable(module):
    """A guide, not a reason to pack: the formatter alone decides how many lines a call takes."""
    assert len(module.text.splitlines()) <= 400


def test_importing_the_package_and_a_provider_is_light():
    code = (
        "import sys, etf_pipeline; etf_pipeline.ETFDataProvider('nowhere'); "
        "heavy = {'dagster', 'yfinance', 'scipy', 'clarabel', 'duckdb', 'confluent_kafka', "
        "'exchange_calendars'} & set(sys.modules); print(sorted(heavy))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"
