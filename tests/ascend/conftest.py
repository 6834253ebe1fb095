"""Stand-ins for the tools of an Atlas server, and a shell to run the launchers in.

The outputs under npu_smi/ have the layout of public reports: 910B2 vllm-ascend issue 4284, first-generation 910
shirwy/vllm-ascend-910a issue 4, A3 vllm-ascend issue 2534, 310P3 nvtop issue 421, topology ms-swift's NPU page.
"""
import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
RECORDED = pathlib.Path(__file__).parent / "npu_smi"
sys.path[:0] = [str(ROOT / "ascend"), str(ROOT / "scripts")]


def listen():
    """Before a child starts: signals count, even where this process was started in the background or by nohup."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _ends_with_the_test(no_process_left):
    """Whatever a launcher left behind."""


@pytest.fixture
def tool(tmp_path):
    """tool(name, script) puts a shell script of that name first on PATH; returns the folder."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def write(name, script):
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)
        return folder

    write("true-tool", "exit 0")
    return write


@pytest.fixture
def npu_smi(tool):
    """npu_smi(recording) is a stand-in for npu-smi that answers `info` and `info -t topo`."""
    def write(recording):
        return tool("npu-smi", f'case "$*" in "info -t topo") cat {RECORDED}/topo_910b.txt ;; '
                               f"*) cat {RECORDED}/{recording}.txt ;; esac")

    return write


@pytest.fixture
def shell(tmp_path):
    """shell(script, *arguments, timeout, **variables) -> finished process, output as text."""
    def run(script, *arguments, timeout=60, **variables):
        path = os.pathsep.join(filter(None, [str(tmp_path / "tools"), os.environ["PATH"]]))
        environment = {**os.environ, "PYTHON": sys.executable, "PATH": path, **variables}
        # GLOG_v: an earlier test may have set it in this process.
        for name in ("DEVICE_TARGET", "ASCEND_HOME_PATH", "ASCEND_OPP_PATH", "GLOG_v"):
            if name not in variables:
                environment.pop(name, None)
        return subprocess.run(["bash", str(ROOT / script), *map(str, arguments)], cwd=tmp_path, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout)

    return run
