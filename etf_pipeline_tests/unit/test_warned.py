"""What steps warn of is printed by the command that runs them: once each, on standard error."""

import logging

from etf_pipeline.cli.warned import warnings_told
from etf_pipeline.share import dropping
from etf_pipeline.steps import retiring


def test_warnings_on_data_are_printed_once_and_others_are_not(capsys):
    loggers = dropping.log, retiring.log, logging.getLogger("etf_pipeline.share")
    before = [(one.level, one.propagate, one.handlers[:]) for one in loggers]
    with warnings_told():
        for _ in range(2):
            dropping.log.warning("another machine has dropped %s", "historical/VAS.parquet")
            retiring.log.warning("VBX is no ticker any more")
        retiring.log.info("removed")
        logging.getLogger("etf_pipeline.orchestration.slots").warning("somebody waits")
    retiring.log.warning("nobody listens any more")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line for line in printed.err.splitlines() if line.startswith("warning: ")] == [
        "warning: another machine has dropped historical/VAS.parquet",
        "warning: VBX is no ticker any more",
    ]
    assert before == [(one.level, one.propagate, one.handlers[:]) for one in loggers]
