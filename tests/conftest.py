"""Every test starts in PyNative mode on CPU with the same seed."""
import mindspore as ms
import pytest

from ghost_ms import device


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="all tests of the largest networks too")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: compiles or builds much; run with --slow")
    device.setup("CPU")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="--slow runs it"))


@pytest.fixture(autouse=True)
def pynative():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    ms.set_seed(1)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture
def graph():
    """Graph mode for one test."""
    ms.set_context(mode=ms.GRAPH_MODE)
