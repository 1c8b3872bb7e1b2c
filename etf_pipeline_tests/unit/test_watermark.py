import pytest

from etf_pipeline.store.watermark import Watermark


def test_what_is_saved_is_loaded_and_saving_it_again_writes_nothing(tmp_path):
    path = tmp_path / "deep" / "XASX.applied"
    mark = Watermark.load(path)
    assert mark.last == {}
    mark.last["VAS"] = "20251112T120000000000Z-run"
    mark.save()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    again = Watermark.load(path)
    assert again.last == {"VAS": "20251112T120000000000Z-run"}
    again.save()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    again.last["VGS"] = "20251113T120000000000Z-run"
    again.save()
    assert Watermark.load(path).last == again.last


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe"])
def test_a_damaged_file_is_an_empty_one(tmp_path, content):
    """It costs time only: everything is then rebuilt from the raw batches."""
    path = tmp_path / "XASX.applied"
    path.write_bytes(content)
    assert Watermark.load(path).last == {}
