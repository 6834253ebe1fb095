"""Boxes and anchors against torchvision's numbers."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ghost_ms.models import anchors, boxes
from ghost_ms.models.coders import FCOSCoder, RetinaCoder, SSDCoder
from tests import golden


def _tensor(array):
    return Tensor(np.asarray(array), ms.float64)


@pytest.fixture(params=[ms.GRAPH_MODE, ms.PYNATIVE_MODE])
def mode(request):
    ms.set_context(mode=request.param)


@pytest.mark.parametrize("name, weights", [("ssd", (10, 10, 5, 5)), ("retinanet", (1, 1, 1, 1))])
def test_codes_and_the_way_back(name, weights, mode):
    arrays, _ = golden.functions("box_coding")
    reference, proposals, codes = (_tensor(arrays[key]) for key in ("reference", "proposals", "codes"))
    np.testing.assert_allclose(boxes.encode(reference, proposals, weights).asnumpy(), arrays[f"{name}/encoded"],
                               rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(boxes.decode(codes, proposals, weights).asnumpy(), arrays[f"{name}/decoded"], rtol=1e-6)


def test_distances_and_the_border(mode):
    arrays, facts = golden.functions("box_coding")
    proposals = _tensor(arrays["proposals"])
    np.testing.assert_allclose(boxes.encode_distances(_tensor(arrays["reference"]), proposals).asnumpy(),
                               arrays["fcos/encoded"], rtol=1e-9, atol=1e-9)
    found = boxes.decode_distances(_tensor(np.abs(arrays["codes"])), proposals).asnumpy()
    np.testing.assert_allclose(found, arrays["fcos/decoded"], rtol=1e-9)
    cut = boxes.clip(_tensor(arrays["ssd/decoded"]), facts["image"]).asnumpy()
    np.testing.assert_allclose(cut, arrays["clipped"], atol=1e-3)


def test_overlaps_without_the_old_extra_pixel(mode):
    arrays, _ = golden.functions("matching")
    truth, others = _tensor(arrays["gt"]), _tensor(arrays["anchors"])
    np.testing.assert_allclose(boxes.iou(truth, others).asnumpy(), arrays["iou"], atol=1e-9)
    np.testing.assert_allclose(boxes.generalized_iou(truth.expand_dims(1), others.expand_dims(0)).asnumpy(),
                               arrays["giou"], atol=1e-6)
    empty = _tensor([[5, 5, 5, 9]])
    assert boxes.iou(empty, empty).asnumpy().tolist() == [[0]]


@pytest.mark.parametrize("name, coder", [("retinanet", RetinaCoder()), ("fcos", FCOSCoder()), ("ssdlite", SSDCoder())])
def test_anchors_are_torchvisions(name, coder):
    arrays, facts = golden.functions("anchors")
    own = coder.anchors(tuple(facts[name]["image"]))
    assert len(own) == facts[name]["count"] == sum(coder.levels(tuple(facts[name]["image"])))
    assert own.sum(dtype=np.float64) == pytest.approx(facts[name]["sum"], rel=1e-8)
    np.testing.assert_allclose(own[arrays[f"{name}/index"]], arrays[f"{name}/boxes"], atol=1e-4)
    assert [list(anchors.map_size(facts[name]["image"], stride)) for stride in coder.strides] == facts[name]["maps"]


def test_anchors_of_the_first_stage_of_two():
    arrays, facts = golden.functions("anchors")
    own = anchors.grid_anchors((128, 160), (4, 8, 16, 32, 64), facts["rpn"]["sizes"], (0.5, 1.0, 2.0))
    assert own.sum(dtype=np.float64) == facts["rpn"]["sum"]
    np.testing.assert_array_equal(own[arrays["rpn/index"]], arrays["rpn/boxes"])
