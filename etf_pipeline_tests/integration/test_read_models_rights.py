"""A worker whose rights are withdrawn and given back."""

import logging

import pytest

from etf_pipeline.errors import EtfError
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.log.projections import Projections
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.brokers.secured import Secured
from etf_pipeline_tests.events_support import kafka_settings, queries
from etf_pipeline_tests.integration.test_event_cases import wait_until
from etf_pipeline_tests.integration.test_read_models import Running

if (_why := Apache.missing()) is not None:
    pytest.skip(_why, allow_module_level=True)


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    with Secured(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def machine(secured, monkeypatch, tmp_path):
    """A machine of a store that may do all with its topics, and nothing with groups."""
    for name, value in secured.variables("etf").items():
        monkeypatch.setenv(name, value)
    settings = kafka_settings(secured.servers, event_store_id="instance")
    secured.allow("etf", "ALL", topic=f"{settings.kafka_topic_prefix}.", prefixed=True)
    made = open_events(tmp_path / "store", settings, publish=False)
    made.append(queries(20))
    assert made.drain(30) == 0
    yield made
    made.close(0)
    secured.withdraw("etf")


def give(secured, machine):
    prefix = f"{machine.settings.kafka_topic_prefix}."
    secured.allow("etf", "ALL", topic=prefix, prefixed=True)
    secured.allow("etf", "READ", group=prefix, prefixed=True)


def test_without_the_right_on_the_group_it_ends_and_names_the_right(machine, tmp_path):
    model = Projections(tmp_path / "p.sqlite")
    with pytest.raises(EtfError, match="right to Read the consumer group is missing"):
        machine.projector(model).run()
    assert machine.projector(model).run(once=True) == 0  # what is local was taken in; no group
    assert len(model.event_ids()) == 20
    model.close()


def test_rights_withdrawn_and_given_back(secured, machine, tmp_path, caplog):
    give(secured, machine)
    model = Projections(tmp_path / "p.sqlite")
    running = Running(machine.projector(model))
    wait_until(lambda: running.worker.assigned, 60)
    with caplog.at_level(logging.WARNING):
        secured.withdraw("etf")
        wait_until(lambda: "is missing" in caplog.text, 60)
    machine.append(queries(10, start=100))
    wait_until(lambda: len(model.event_ids()) == 30, 30)  # from the local log meanwhile
    give(secured, machine)
    other = open_events(tmp_path / "other", machine.settings, publish=False)
    other.append(queries(10, start=200))
    wait_until(lambda: other.drain(5) == 0, 60)
    wait_until(lambda: len(model.event_ids()) == 40, 60)
    assert running.error is None
    running.close()
    other.close(0)
    model.close()
