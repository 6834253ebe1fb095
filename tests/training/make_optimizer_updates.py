"""Makes optimizer_updates.json: five updates of each optimizer, by PyTorch or, in float64, by the paper's formula.

python tests/training/make_optimizer_updates.py     (needs torch; was run with torch 2.13.0 on CPU)
Three parameters: 'head.weight' decays, 'head.bias' does not, 'slow.weight' decays and has a tenth of the learning rate.
"""
import json
import pathlib

import numpy as np
import torch

RATES = [0.02, 0.03, 0.025, 0.01, 0.005]
DECAY, SLOW = 0.1, 0.1
SHAPES = {"head.weight": (4, 3), "head.bias": (4,), "slow.weight": (2, 3, 1, 2)}
BETAS = {"adamw": (0.9, 0.999), "lamb": (0.9, 0.999), "lion": (0.9, 0.99)}


def decay(name):
    return 0.0 if name == "head.bias" else DECAY


def with_torch(make, start, gradients):
    """PyTorch's float64 updates: make(groups) builds the optimizer."""
    tensors = {name: torch.nn.Parameter(torch.tensor(value, dtype=torch.float64)) for name, value in start.items()}
    groups = [{"params": [tensor], "weight_decay": decay(name), "factor": SLOW if name.startswith("slow") else 1.0}
              for name, tensor in tensors.items()]
    optimizer = make(groups)
    updates = []
    for rate, step in zip(RATES, gradients):
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(step[name], dtype=torch.float64)
        optimizer.step()
        updates.append({name: tensor.detach().numpy().tolist() for name, tensor in tensors.items()})
    return updates


def with_formula(rule, start, gradients):
    """rule(p, g, t, rate, decay, state) -> p, for each parameter."""
    values = {name: np.array(value) for name, value in start.items()}
    states = {name: {} for name in values}
    updates = []
    for t, (rate, step) in enumerate(zip(RATES, gradients), 1):
        for name in values:
            factor = SLOW if name.startswith("slow") else 1.0
            values[name] = rule(values[name], np.array(step[name]), t, rate * factor, decay(name), states[name])
        updates.append({name: value.tolist() for name, value in values.items()})
    return updates


def rmsprop_tf(p, g, t, rate, weight_decay, state):
    """TensorFlow's kernel: ms starts at 1, epsilon inside the root, rate inside the momentum; L2 in the gradient."""
    g = g + weight_decay * p
    state["square"] = 0.9 * state.get("square", np.ones_like(p)) + 0.1 * g * g
    state["momentum"] = 0.9 * state.get("momentum", 0.0) + rate * g / np.sqrt(state["square"] + 1e-3)
    return p - state["momentum"]


def lamb(p, g, t, rate, weight_decay, state):
    """arXiv 1904.00962, algorithm 2; no adaptation where nothing decays."""
    beta1, beta2 = BETAS["lamb"]
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g * g
    r = state["m"] / (1 - beta1 ** t) / (np.sqrt(state["v"] / (1 - beta2 ** t)) + 1e-6)
    if weight_decay:
        r = r + weight_decay * p
        r = r * np.linalg.norm(p) / np.linalg.norm(r)
    return p - rate * r


def lion(p, g, t, rate, weight_decay, state):
    """arXiv 2302.06675, algorithm 2."""
    beta1, beta2 = BETAS["lion"]
    m = state.get("m", np.zeros_like(p))
    state["m"] = beta2 * m + (1 - beta2) * g
    return p - rate * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * p)


def main():
    draw = np.random.default_rng(0)
    start = {name: draw.standard_normal(shape).round(3).tolist() for name, shape in SHAPES.items()}
    gradients = [{name: draw.standard_normal(shape).round(3).tolist() for name, shape in SHAPES.items()}
                 for _ in RATES]
    sgd, adamw = torch.optim.SGD, torch.optim.AdamW
    updates = {
        "momentum": with_torch(lambda groups: sgd(groups, 1.0, momentum=0.9), start, gradients),
        "nesterov": with_torch(lambda groups: sgd(groups, 1.0, momentum=0.9, nesterov=True), start, gradients),
        "adamw": with_torch(lambda groups: adamw(groups, 1.0, betas=BETAS["adamw"], eps=1e-8), start, gradients),
        "rmsprop": with_formula(rmsprop_tf, start, gradients),
        "lamb": with_formula(lamb, start, gradients),
        "lion": with_formula(lion, start, gradients),
    }
    path = pathlib.Path(__file__).with_name("optimizer_updates.json")
    path.write_text(json.dumps({"rates": RATES, "decay": DECAY, "slow": SLOW, "start": start, "gradients": gradients,
                                "updates": updates}))


if __name__ == "__main__":
    main()
