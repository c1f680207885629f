"""What executed on one machine counts on another only where CI says that both are one."""

import pytest

from kexian_utils.runner.execution import cache
from kexian_utils.runner.execution.files import COMMITTED, read_notebook


@pytest.fixture(autouse=True)
def forget():
    cache._machine.cache_clear()
    yield
    cache._machine.cache_clear()


def test_machines_of_one_name_share_their_runs(empty_checkout, write_chapters, monkeypatch):
    (article,) = write_chapters(a6992="print(1)")
    monkeypatch.delenv("KEXIAN_MACHINE", raising=False)

    def key(processor, machine=None):
        cache._machine.cache_clear()
        monkeypatch.setattr(cache, "processor", lambda: processor)
        if machine is not None:
            monkeypatch.setenv("KEXIAN_MACHINE", machine)
        notebook = read_notebook(empty_checkout / article.path)
        return cache.run_key(empty_checkout, article, notebook, COMMITTED)

    assert key("one") != key("another")
    named = key("one", "run 7")
    assert named == key("another", "run 7")
    assert named != key("one", "run 8")
    assert key("one", "") != key("another", "")
