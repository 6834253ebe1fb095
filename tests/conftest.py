"""Every test starts in PyNative mode on CPU with the same seed."""
import mindspore as ms
import pytest

from ghost_ms import device


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="all tests of the largest networks too")


def pytest_configure():
    device.setup("CPU")


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
