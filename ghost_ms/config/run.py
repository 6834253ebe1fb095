"""The section `run`: where and how the run is executed."""
import dataclasses
from typing import Optional

from ghost_ms.config.checks import one_of

#: Of `run.kernels`, and of the option --kernels.
KERNELS = ("auto", "off")


@dataclasses.dataclass
class RunConfig:
    """Where and how the run is executed.

    Args:
        dir: folder of the run; it receives config.yaml, metrics.csv, curves.png, log.txt, checkpoints/ and, where
            training images cannot be read, unreadable.txt with their names.
        device: auto, Ascend, GPU or CPU.
        device_id: which of several devices.
        mode: graph or pynative.
        seed: seed of the initial weights, the data order and the augmentation.
        profile: trace three steps of the first epoch, from this one on, counted from 1, into profile/ of the run's
            folder; the first step compiles.
        step_csv: write steps.csv too: step, epoch, loss, learning rate and images per second of every step.
        tensorboard: write events for TensorBoard too, into tensorboard/ of the run's folder; it needs the package
            tensorboard.
        compile_cache: folder for the compiled training step, from which the next start of the same recipe with the same
            program takes it; verified on the CPU. One process, without a teacher.
        kernels: auto computes on the CPU with operators that are compiled once for this processor and are two to three
            times faster than MindSpore's; off leaves these, whose last bits differ. Accelerators never see them.
    """

    dir: str = "runs/default"
    device: str = "auto"
    device_id: int = 0
    mode: str = "graph"
    seed: int = 1
    profile: Optional[int] = None
    step_csv: bool = False
    tensorboard: bool = False
    compile_cache: Optional[str] = None
    kernels: str = "auto"

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        if self.device.lower() not in ("auto", "ascend", "gpu", "cpu"):
            raise ValueError(f"run.device is '{self.device}'; known are auto, Ascend, GPU, CPU")
        if self.device_id < 0:
            raise ValueError(f"run.device_id is {self.device_id}; devices are counted from 0")
        one_of("run.mode", self.mode, ("graph", "pynative"))
        one_of("run.kernels", self.kernels, KERNELS)
        if self.profile is not None and self.profile < 1:
            raise ValueError(f"run.profile is {self.profile}; steps are counted from 1")
        if not self.dir:
            raise ValueError("run.dir is empty; name the folder of the run")
