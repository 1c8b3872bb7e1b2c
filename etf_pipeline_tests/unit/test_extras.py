import pytest

from etf_pipeline.cli.extras import need_pipeline, pipeline_imports
from etf_pipeline.errors import SettingsError


def test_what_is_missing_is_named_with_the_remedy():
    need_pipeline("json", "csv")
    with pytest.raises(SettingsError) as caught:
        need_pipeline("json", "no_such_module", "nor_this_one")
    assert str(caught.value) == (
        "this command needs no_such_module and nor_this_one: pip install 'etf_pipeline[pipeline]'"
    )


def test_an_import_that_fails_is_told_the_same_way():
    with pytest.raises(SettingsError) as caught, pipeline_imports():
        import no_such_module  # noqa: F401
    assert str(caught.value) == (
        "this command needs no_such_module: pip install 'etf_pipeline[pipeline]'"
    )


def test_other_errors_of_the_block_are_left_alone():
    with pytest.raises(ZeroDivisionError), pipeline_imports():
        _ = 1 / 0


def test_no_extra_is_blamed_for_a_part_of_the_package_itself():
    with pytest.raises(ImportError), pipeline_imports():
        from etf_pipeline.sql import no_such_part  # noqa: F401
