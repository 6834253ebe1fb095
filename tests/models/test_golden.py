"""Logits equal those of the public PyTorch networks; a reference under tests/golden/eval is covered by being there."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from safetensors.numpy import save_file

from ghost_ms import create_model
from ghost_ms.tasks.classification.loss import CrossEntropy, LabelCriterion
from ghost_ms.training.step import TrainStep
from ghost_ms.weights.convert import load_torch_state, torch_names
from tests import golden

#: Which neighbours are equally near is decided by the last bit in float32: tests/models/test_vig.py tells ties apart.
GRAPH_NETWORKS = ("pvig_ti", "vig_ti")


@pytest.mark.parametrize("name", [name for name in golden.names() if name not in GRAPH_NETWORKS])
def test_logits(name, tmp_path):
    """From a file with PyTorch's names, counters included, to the logits."""
    record, arrays, state = golden.load(name)
    counters = {entry: np.zeros(shape, np.int64) for entry, shape, *_ in record["state"]
                if entry.endswith("num_batches_tracked")}
    save_file({entry: np.array(value, order="C") for entry, value in {**state, **counters}.items()},
              tmp_path / "released.safetensors")
    net = create_model(name, pretrained=str(tmp_path / "released.safetensors"), input_size=tuple(record["input"][2:]))
    logits = net.set_train(False)(ms.Tensor(golden.image(record["input"]))).asnumpy()
    deviation = np.abs(logits - arrays["logits"]).max() / arrays["logits"].std()
    assert deviation <= min(10 * record["fp32_deviation"], 5e-2 if name == "parameternet_600m" else 1e-3)


def test_three_training_steps_of_ghostnet(graph):
    record, arrays, state = golden.load("ghostnet_100", "train")
    net = create_model("ghostnet_100", drop_rate=0.0)
    fresh = {entry: np.full(shape, float(entry.endswith("var")), np.float32) for entry, shape, *_ in record["state"]
             if entry.endswith(("running_mean", "running_var"))}
    load_torch_state(net, {**state, **fresh})
    options = record["optimizer"]
    optimizer = nn.SGD(net.trainable_params(), options["lr"], options["momentum"], weight_decay=options["weight_decay"])
    step = TrainStep(net, LabelCriterion(CrossEntropy(record["label_smoothing"])), optimizer).set_train()
    losses = []
    for index in range(record["steps"]):
        x = golden.image(record["input"], seed=100 + index)
        labels = np.random.default_rng(200 + index).integers(0, record["classes"], record["input"][0])
        losses.append(float(step(ms.Tensor(x), ms.Tensor(labels, ms.int32))[0].asnumpy()))
    ours = {other: net.parameters_dict()[name].asnumpy() for name, other in torch_names(net).items()}
    np.testing.assert_allclose(losses, arrays["losses"], rtol=1e-5)
    norms = [np.linalg.norm(ours[entry].astype(np.float64)) for entry in record["norm_names"]]
    np.testing.assert_allclose(norms, arrays["norms"], rtol=1e-3, atol=1e-4)
    for entry in fresh:
        expected = arrays[f"stat/{entry}"]
        np.testing.assert_allclose(ours[entry], expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max(), err_msg=entry)
