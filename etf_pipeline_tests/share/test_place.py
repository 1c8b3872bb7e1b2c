"""What a share promises of its objects, whatever it is made of."""

from __future__ import annotations

import http.server
import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from etf_pipeline.errors import ShareAwayError, ShareError, ShareUnreadableError
from etf_pipeline.share.opening import open_place
from etf_pipeline.share.place import Place, TakenError

# Names as a store has them: a percent sign, an equals sign, two dots.
NAME = "risk/risk metrics/as_of=2025-11-12/A%3DB..C.parquet"


def opened(url: str, patience: float = 20.0) -> Place:
    return open_place(url, patience, plain_http=True)


def content(place: Place, name: str) -> bytes:
    into = io.BytesIO()
    place.fetch(name, into)
    return into.getvalue()


def test_an_object_is_made_once_and_replaced_by_who_knows_it(url):
    place = opened(url)
    made = place.create(NAME, b"one")
    with pytest.raises(TakenError):
        place.create(NAME, b"two")
    assert content(place, NAME) == b"one"
    newer = place.replace(NAME, b"three", made)
    with pytest.raises(TakenError):
        place.replace(NAME, b"four", made)
    assert content(place, NAME) == b"three"
    assert place.list("risk") == {NAME: newer}
    assert place.fetch(NAME, io.BytesIO()) == newer
    assert newer.size == 5


def test_a_listing_has_every_object_below_a_folder_and_no_other(url):
    place = opened(url)
    names = {f"raw/P{i % 3}/{i:04d}.parquet" for i in range(30)}
    for name in (*names, "rawer/x.parquet", "historical/VAS.parquet"):
        place.create(name, name.encode())
    assert place.list("raw").keys() == names
    assert place.list("nothing") == {}


def test_what_is_gone_is_gone(url):
    place = opened(url)
    made = place.create("a/b", b"one")
    place.remove("a/b")
    place.remove("a/b")
    with pytest.raises(FileNotFoundError):
        content(place, "a/b")
    with pytest.raises((FileNotFoundError, TakenError)):
        place.replace("a/b", b"two", made)
    assert place.list("a") == {}


@pytest.mark.parametrize("kind", ["create", "replace"])
def test_forty_races_have_one_winner_each(url, kind):
    places = [opened(url) for _ in range(4)]
    for race in range(40):
        name = f"race/{race}"
        known = places[0].create(name, b"begin") if kind == "replace" else None
        start = threading.Barrier(len(places))

        def run(n, name=name, known=known, start=start):
            start.wait()
            try:
                if known is None:
                    places[n].create(name, f"winner {n}".encode())
                else:
                    places[n].replace(name, f"winner {n}".encode(), known)
            except TakenError:
                return None
            return n

        with ThreadPoolExecutor(len(places)) as pool:
            won = [n for n in pool.map(run, range(len(places))) if n is not None]
        assert len(won) == 1
        assert content(places[0], name) == f"winner {won[0]}".encode()


def test_processes_that_count_together_lose_no_number(folder):
    """Compare-and-swap of a folder holds between processes, and for versions of the same size."""
    program = (
        "import io, sys\n"
        "from etf_pipeline.share.opening import open_place\n"
        "from etf_pipeline.share.place import TakenError\n"
        "place, left = open_place(sys.argv[1], 30.0), 25\n"
        "while left:\n"
        "    into = io.BytesIO()\n"
        "    known = place.fetch('n', into)\n"
        "    try:\n"
        "        place.replace('n', b'%06d' % (int(into.getvalue()) + 1), known)\n"
        "        left -= 1\n"
        "    except TakenError:\n"
        "        pass\n"
    )
    place = opened(folder)
    place.create("n", b"000000")
    others = [subprocess.Popen([sys.executable, "-c", program, folder]) for _ in range(2)]
    assert [one.wait(120) for one in others] == [0, 0]
    assert content(place, "n") == b"000050"


def test_a_bucket_that_does_not_answer_is_away_by_name(bucket, gate):
    place = opened(bucket, patience=1.0)
    place.create("a", b"one")
    gate.shut()
    with pytest.raises(ShareAwayError, match=r"s3://shared-truth/.* \(ETF_STORE_URL\)") as caught:
        place.list("")
    assert caught.value.code.transient
    assert "retr" not in str(caught.value)
    gate.open()
    assert content(place, "a") == b"one"


def test_an_outage_shorter_than_the_patience_is_not_noticed(bucket, gate):
    place = opened(bucket, patience=30.0)
    place.create("a", b"one")
    gate.shut()
    back = threading.Timer(1.0, gate.open)
    back.start()
    assert content(place, "a") == b"one"
    assert place.create("b", b"two").size == 3
    back.join()


def test_credentials_are_in_no_message(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT", "http://user:pass-word@127.0.0.1:9")
    with pytest.raises(ShareAwayError) as caught:
        opened(bucket, patience=0.5).list("raw")
    assert "pass-word" not in str(caught.value)
    assert "very-secret" not in str(caught.value)


class _Answering(http.server.BaseHTTPRequestHandler):
    """A store that answers every request with one status."""

    status = 403

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>')

    def log_message(self, *_):
        """Nothing."""


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "refuses this machine (403 Forbidden): "), (503, "503 Service Unavailable; check")],
)
def test_what_a_store_answers_is_told_in_our_words(bucket, monkeypatch, status, words):
    monkeypatch.setattr(_Answering, "status", status)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(ShareError) as caught:
            opened(bucket, patience=0.5).list("raw")
        server.shutdown()
    assert words in str(caught.value)
    assert not any(one in str(caught.value) for one in ("retries", "retry", "xml", "Server return"))
    refused = isinstance(caught.value, ShareUnreadableError)
    assert refused == (status == 403)


def test_plain_http_is_spoken_only_when_asked(bucket):
    with pytest.raises(ShareAwayError):
        open_place(bucket, 0.5).list("raw")


def test_a_folder_that_is_not_mounted_is_away_and_never_made(tmp_path):
    missing = tmp_path / "not" / "mounted"
    with pytest.raises(ShareAwayError, match="mounted"):
        opened(missing.as_uri())
    assert not missing.parent.exists()


def test_a_folder_that_goes_away_is_told(folder, tmp_path):
    place = opened(folder)
    place.create("a", b"one")
    (tmp_path / "share").rename(tmp_path / "elsewhere")
    for act in (lambda: content(place, "a"), lambda: place.create("b", b"two")):
        with pytest.raises(ShareAwayError, match="mounted"):
            act()
