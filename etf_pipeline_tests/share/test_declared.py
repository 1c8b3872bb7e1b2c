"""Corrections of several machines: none undoes another's in silence, and each can be taken back."""

from __future__ import annotations

import pytest

from etf_pipeline.errors import CorrectionsError
from etf_pipeline.model.schemas import CORRECTIONS, HISTORY
from etf_pipeline.orchestration.sharing import downloaded
from etf_pipeline.store.corrections import corrections_at
from etf_pipeline.store.reader import read_history
from etf_pipeline_tests.share.machines import SHARDS, Machine, later

SHARD = SHARDS[0]
HEADER = "ticker,date,field,value,reason,author\n"
ANN = "T4,2025-11-06,close,45.00,told by the issuer,ann\n"
BEN = "T4,2025-11-05,close,44.00,told by the exchange,ben\n"


@pytest.fixture
def machines(folder, tmp_path):
    """Two machines on one share."""
    return [
        Machine(tmp_path / n, folder, changes={"corrections_file": tmp_path / f"{n}.csv"})
        for n in ("a", "b")
    ]


def declares(machine, *lines):
    """Write its file."""
    machine.pipeline.settings.corrections_file.write_text(HEADER + "".join(lines))


def runs(machine, n):
    """What a run does with corrections, without a download: who counts then."""
    machine.now = later(n)
    found = []
    line = machine.pipeline
    downloaded(line, machine.run(f"{n}", SHARD), lambda: found.append(line.corrections()))
    return sorted(c.author for c in found[0])


def test_a_machine_without_the_correction_is_refused_by_name(machines):
    a, b = machines
    a.night("0", SHARD)
    path = a.pipeline.layout.of(HISTORY, "T4")
    was = read_history(path, ["close"])["close"]["2025-11-06"]
    right = round(was + 0.01, 2)
    line = ANN.replace("45.00", f"{right:.2f}")
    declares(b, line)
    b.now = later(1)
    b.night("1", SHARD)
    for part in (a.download, a.update):
        with pytest.raises(CorrectionsError, match=r"no corrections file .* T4 .* by ann\)"):
            part("1a", SHARD)
    declares(a)
    for part in (a.download, a.update):
        with pytest.raises(CorrectionsError, match=r"T4 2025-11-06 close .* \(told .* by ann\)"):
            part("1b", SHARD)
    assert read_history(path, ["close"])["close"]["2025-11-06"] == right
    assert {c.author for c in corrections_at(a.pipeline.layout)} == {"ann"}
    declares(a, line)  # the remedy: the same file
    a.now = later(2)
    a.night("2", SHARD)
    assert read_history(path, ["close"])["close"]["2025-11-06"] == right
    assert len(a.pipeline.layout.files(CORRECTIONS)) == 1


def test_what_is_taken_back_stays_so_on_every_machine(machines):
    a, b = machines
    declares(b, ANN)
    assert runs(b, 1) == ["ann"]
    declares(a, ANN)
    assert runs(a, 2) == ["ann"]
    declares(b)
    assert runs(b, 3) == []
    with pytest.raises(CorrectionsError, match=r"has what another machine took back .* by ann"):
        runs(a, 4)
    declares(a)
    assert runs(a, 5) == []
    declares(a, ANN)  # once both are equal, anybody may declare anything
    assert runs(a, 6) == ["ann"]


def test_a_machine_may_add_to_what_it_has_never_run_with(machines):
    a, b = machines
    declares(b, ANN)
    runs(b, 1)
    declares(a, ANN, BEN)
    assert runs(a, 2) == ["ann", "ben"]
    with pytest.raises(CorrectionsError, match="by ben"):
        runs(b, 3)


def test_of_two_that_declare_at_once_neither_is_lost(machines):
    """Neither knew of the other; who took nothing back is not said to have."""
    a, b = machines
    declares(a, ANN)
    a.now = later(1)
    assert [c.author for c in a.pipeline.corrections()] == ["ann"]
    declares(b, BEN)
    assert runs(b, 2) == ["ben"]
    with pytest.raises(CorrectionsError, match="by ben"):
        runs(a, 1)  # it publishes what it had kept before it pulls
    with pytest.raises(CorrectionsError, match="by ann"):
        runs(b, 3)
    for one in machines:
        declares(one, ANN, BEN)
        assert runs(one, 4) == ["ann", "ben"]


def test_another_reason_is_another_declaration(machines):
    """Else two machines would make the history anew by turns, night after night."""
    a, b = machines
    declares(b, ANN)
    runs(b, 1)
    declares(a, ANN.replace("issuer", "press"))
    with pytest.raises(CorrectionsError, match="told by the issuer"):
        runs(a, 2)


def test_the_only_machine_edits_as_it_likes_but_for_a_file_that_is_gone(machines):
    one = machines[0]
    for n, lines in enumerate(((ANN,), (BEN,), (ANN, BEN), (), (ANN,))):
        declares(one, *lines)
        assert len(runs(one, n)) == len(lines)
    one.pipeline.settings.corrections_file.unlink()
    with pytest.raises(CorrectionsError, match=r"no corrections file .* header alone"):
        runs(one, 6)
