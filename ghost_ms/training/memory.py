"""Which batch fits where a training step does not fit into memory."""
import gc
import re
from typing import Optional

import mindspore as ms
from mindspore import Tensor

from ghost_ms.training.step import TrainStep

#: What MindSpore, its devices and C++ say of it.
WORDS = re.compile(r"bad_alloc|[Oo]ut of memory|[Mm]emory not enough|[Mm]emory isn't enough|"
                   r"([Mm]alloc|[Aa]llocate?|[Aa]lloc).{0,40}[Mm]em.{0,40}[Ff]ail")
#: Of a batch: what is tried.
PARTS = (2, 4, 8, 16)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and bool(WORDS.search(str(error)))


def fitting_batch(step: TrainStep, images: Tensor, *targets: Tensor) -> Optional[int]:
    """The largest of a half, a quarter, an eighth and a sixteenth of a batch with which the step runs, found by trying;
    None where none does now.

    Each trial compiles the step. Its parameters are no longer those of a training after this.
    """
    for part in PARTS:
        size = len(images) // part
        if not size:
            break
        gc.collect()
        ms.runtime.empty_cache()
        try:
            step(images[:size], *(one[:size] for one in targets))[0].asnumpy()
            return size
        except (RuntimeError, MemoryError):
            continue
    return None


def sentence(batch: int, fits: Optional[int], accumulate: int) -> str:
    """What to say of a batch that does not fit.

    Args:
        fits: the batch found by trying, if one was.
        accumulate: steps of an update.
    """
    said = f"out of memory in a step of data.batch_size {batch}"
    if fits is not None:
        factor = -(-accumulate * batch // fits)
        about = "" if factor * fits == accumulate * batch else "about "
        return (f"{said}; {fits} fits, as a trial has shown: --data.batch_size {fits}, and with --train.accumulate "
                f"{factor} an update still takes {about}as many images (only the norms see fewer at a time)")
    return f"{said}; take half of it, with twice the train.accumulate for the same update, or a smaller data.input_size"
