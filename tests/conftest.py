"""Every test starts in PyNative mode on CPU with the same seed."""
import mindspore as ms
import pytest


def pytest_configure():
    ms.set_device("CPU")
    ms.device_context.cpu.op_tuning.threads_num(1)
    ms.set_recursion_limit(10000)


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
