"""Every test starts in PyNative mode on CPU with the same seed."""
import pathlib

import mindspore as ms
import pytest

from ghost_ms.core import device
from ghost_ms.kernels import build
from tests import processes


TESTS = pathlib.Path(__file__).parent
#: What `-m quick` runs: folders and files that compile little.
QUICK = ("core", "cli", "surgery", "tasks", "layers", "data", "analysis", "weights", "test_config.py",
         "test_documents.py", "test_newcomer.py", "test_packaging.py", "test_readme.py", "test_rooms.py",
         "training/test_schedule.py",
         "ascend/test_npu.py", "ascend/test_preflight.py", "ascend/test_rank_table.py", "ascend/test_worker.py",
         *(f"models/test_{name}.py" for name in ("cmt", "efficientnet", "mobilenetv3", "parameternet", "pyramid_tnt",
                                                 "resnet", "shufflenetv2", "snnmlp", "tinynet", "tnt", "wavemlp")))
NOT_QUICK = ("analysis/test_benchmark.py", "weights/test_real_file.py", "weights/test_files.py", "layers/test_lif.py")


def is_quick(path):
    """Whether a test file belongs to the quick part."""
    name = path.relative_to(TESTS).as_posix()
    return name not in NOT_QUICK and (name in QUICK or name.split("/")[0] in QUICK)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="all tests of the largest networks too")


def pytest_report_header(config):
    """Which selection runs: the default one leaves out the large siblings of a family, and says so where it skips."""
    marks = config.getoption("-m")
    chosen = "slow (every network)" if config.getoption("--slow") else \
        f"those marked '{marks}'" if marks else "default (the smallest network of each family in full)"
    return f"ghost_ms tests: {chosen}; MindSpore {ms.__version__}"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: compiles or builds much; run with --slow")
    config.addinivalue_line("markers", "quick: of the part of the tests that takes a few minutes")
    device.setup("CPU")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        slow = item.get_closest_marker("slow")
        if slow:
            item.add_marker(pytest.mark.timeout(7200) if config.getoption("--slow") else
                            pytest.mark.skip(reason="--slow runs it"))
        # Before pytest looks at -m, which is why this hook comes first.
        if not slow and is_quick(item.path):
            item.add_marker(pytest.mark.quick)


@pytest.fixture
def cpu_kernels():
    """The library of the CPU kernels; a test that needs it is skipped where it cannot be had."""
    try:
        return build.library()
    except build.Unavailable as reason:
        pytest.skip(f"no CPU kernels here: {reason}")


@pytest.fixture(autouse=True)
def pynative():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    ms.set_seed(1)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory):
    """What is kept between commands lies in a folder of the tests, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GHOST_MS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def no_process_left(tmp_path, monkeypatch):
    """What the test has started ends with it, also where it ran into a limit and its children do not see it."""
    monkeypatch.setenv(processes.MARK, str(tmp_path))
    yield
    processes.end_marked(tmp_path)


@pytest.fixture
def graph():
    """Graph mode for one test."""
    ms.set_context(mode=ms.GRAPH_MODE)
