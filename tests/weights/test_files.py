"""Files into networks and back: entries, names, heads, sizes, reports."""
import dataclasses
import logging

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ghost_ms import create_model, list_models, model_card
from ghost_ms.cli import weights as weights_command
from ghost_ms.weights import commands, fetch, files
from ghost_ms.weights import manifest as manifest_module
from ghost_ms.weights.convert import load_torch_state, torch_names, torch_state
from ghost_ms.weights.manifest import manifest, releases
from ghost_ms.weights.pick import pick
from ghost_ms.weights.torch_file import read
from tests import golden

#: Beyond this size a file is not written to disk in every test run.
_LARGE = 30_000_000


def _arrays(net):
    return {name: parameter.asnumpy() for name, parameter in net.parameters_and_names()}


@pytest.fixture(scope="module")
def state():
    """A released state of ghostnet_100 in PyTorch's names."""
    return golden.load("ghostnet_100")[2]


def _file(tmp_path, tensors, name="source.safetensors"):
    save_file({key: np.array(value, order="C") for key, value in tensors.items()}, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("name", golden.names())
def test_to_torch_writes_the_names_of_the_public_network(name):
    record = golden.load(name)[0]
    net = create_model(name, input_size=tuple(record["input"][2:]))
    ours = {entry: list(value.shape) for entry, value in torch_state(net).items()}
    theirs = {entry: list(shape) for entry, shape, *_ in record["state"]}
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_round_trip_is_bit_exact(name, tmp_path):
    net = create_model(name)
    before = _arrays(net)
    if model_card(name).params > _LARGE:
        again = create_model(name)
        load_torch_state(again, torch_state(net))
        after = _arrays(again)
    else:
        files.write(tmp_path / "a.ckpt", before, files.describe(net.card, net.card.num_classes))
        commands.to_torch(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
        report = commands.convert_file(tmp_path / "b.safetensors", name, tmp_path / "c.safetensors")
        assert set(report.used) == set(torch_names(net).values()) and not report.fresh and not report.resampled
        after = dict(read(tmp_path / "c.safetensors")[0])
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert value.dtype == after[key].dtype and value.tobytes() == after[key].tobytes(), key


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {f"module.{k}": v for k, v in s.items()},
                                  lambda s: {f"state_dict/module.{k}": v for k, v in s.items()},
                                  lambda s: {f"model/{k}": v for k, v in s.items()}])
def test_entries_and_prefixes(wrap, state, tmp_path):
    entry, found, _ = pick(wrap(state))
    assert found.keys() == state.keys() and entry in ("", "state_dict", "model")


def test_averaged_weights_are_taken_on_request_only(state):
    tensors = {**{f"state_dict/{k}": v for k, v in state.items()},
               **{f"state_dict_ema/module.{k}": v + 1 for k, v in state.items()},
               "optimizer/state/0/exp_avg": np.zeros(3)}
    plain, averaged = pick(tensors), pick(tensors, ema=True)
    np.testing.assert_array_equal(averaged[1]["conv_stem.weight"], plain[1]["conv_stem.weight"] + 1)
    assert plain[0] == "state_dict" and averaged[0] == "state_dict_ema"
    assert "optimizer/state/0/exp_avg" in plain[2] and not any(k.startswith("state_dict/") for k in plain[2])
    with pytest.raises(ValueError, match="no EMA weights: it is a plain state dict"):
        pick(state, ema=True)
    with pytest.raises(ValueError, match="entries are state_dict_ema; take the EMA weights with --ema"):
        pick({"state_dict_ema/a": np.zeros(1)})


def test_report_accounts_for_every_entry(state, tmp_path):
    noise = {"blocks.1.0.total_ops": np.zeros(1), "total_params": np.zeros(1),
             "bn1.num_batches_tracked": np.zeros((), np.int64)}
    path = _file(tmp_path, {**state, **noise})
    report = commands.convert_file(path, "ghostnet_100", tmp_path / "a.ckpt")
    assert len(report.used) == len(state) and set(report.dropped) == set(noise)
    assert f"{len(state)} entries used, 3 dropped" in report.lines()[0]


@pytest.mark.parametrize("change, reason", [
    (lambda s: s.pop("bn1.weight"), "missing bn1.weight"),
    (lambda s: s.update(stranger=np.zeros(1)), "unexpected stranger"),
    (lambda s: s.update({"bn1.weight": np.ones(17, np.float32)}), r"bn1.weight \(17,\)"),
    (lambda s: s.pop("classifier.bias"), "missing classifier.bias"),
])
def test_anything_unaccounted_for_is_an_error(change, reason, state, tmp_path):
    state = dict(state)
    change(state)
    path = _file(tmp_path, state)
    with pytest.raises(ValueError, match=reason) as caught:
        commands.convert_file(path, "ghostnet_100", tmp_path / "a.ckpt")
    assert str(caught.value).startswith(f"cannot use {path}: ") and not (tmp_path / "a.ckpt").exists()


def test_heads(state, tmp_path):
    path = _file(tmp_path, state)
    with pytest.raises(ValueError, match="1000 classes, the network 10: .*--num-classes.*--head new"):
        commands.convert_file(path, "ghostnet_100", tmp_path / "a.safetensors", num_classes=10)
    report = commands.convert_file(path, "ghostnet_100", tmp_path / "a.safetensors", head="new", num_classes=10)
    assert report.fresh == ["classifier.weight", "classifier.bias"] and "left fresh" in report.lines()[-1]
    tensors, _ = read(tmp_path / "a.safetensors")
    assert tensors["classifier.weight"].shape == (10, 1280) and tensors["classifier.weight"].std() > 0
    np.testing.assert_array_equal(tensors["conv_stem.weight"], state["conv_stem.weight"])
    # A file of ten classes keeps them, and one without a classifier takes a new one.
    report = commands.convert_file(tmp_path / "a.safetensors", "ghostnet_100", tmp_path / "b.ckpt", num_classes=10)
    assert not report.fresh
    headless = _file(tmp_path, {k: v for k, v in state.items() if not k.startswith("classifier")}, "h.safetensors")
    assert len(commands.convert_file(headless, "ghostnet_100", tmp_path / "c.ckpt", head="new").fresh) == 2


def test_half_precision_files(state, tmp_path):
    path = _file(tmp_path, {key: value.astype(np.float16) for key, value in state.items()})
    commands.convert_file(path, "ghostnet_100", tmp_path / "a.safetensors")
    value = read(tmp_path / "a.safetensors")[0]["conv_head.weight"]
    np.testing.assert_array_equal(value, state["conv_head.weight"].astype(np.float16).astype(np.float32))


def test_checkpoint_describes_itself(state, tmp_path):
    commands.convert_file(_file(tmp_path, state), "ghostnet_100", tmp_path / "a.ckpt")
    arrays, description = files.read_ckpt(tmp_path / "a.ckpt")
    assert len(arrays) == len(state) and description["model"] == "ghostnet_100"
    assert description["preprocessing"]["input_size"] == [224, 224] and len(description["classes"]) == 1000
    net = create_model("ghostnet_100", pretrained=str(tmp_path / "a.ckpt"))
    np.testing.assert_array_equal(net.classifier.weight.asnumpy(), state["classifier.weight"])


def test_damaged_checkpoint_and_wrong_endings(state, tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"hello")
    with pytest.raises(ValueError, match="cannot read .*a.ckpt"):
        commands.to_torch(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        commands.to_torch(tmp_path / "z.ckpt", tmp_path / "b.safetensors")
    path = _file(tmp_path, state)
    with pytest.raises(ValueError, match="end in"):
        commands.convert_file(path, "ghostnet_100", tmp_path / "a.bin")
    with pytest.raises(ValueError, match="the file that is read"):
        commands.convert_file(path, "ghostnet_100", path)
    with pytest.raises(OSError, match="cannot write"):
        commands.convert_file(path, "ghostnet_100", tmp_path / "no" / "a.ckpt")
    with pytest.raises(ValueError, match="does not say which network"):
        commands.to_torch(path, tmp_path / "b.safetensors")


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_a_folder_that_cannot_be_written(ending, capfd):
    with pytest.raises(OSError, match=f"cannot write '/proc/a.{ending}': [A-Z][^\\[]*$"):
        files.write(f"/proc/a.{ending}", {"x": np.zeros(2, np.float32)}, "{}")
    assert not capfd.readouterr().err


def test_pretrained(state, tmp_path, monkeypatch, caplog):
    path = _file(tmp_path, state)
    monkeypatch.setattr(fetch, "fetch", lambda release: path)
    net = create_model("ghostnet_100", pretrained=True)
    np.testing.assert_array_equal(net.conv_head.weight.asnumpy(), state["conv_head.weight"])
    with caplog.at_level(logging.WARNING):
        net = create_model("ghostnet_100", pretrained=True, num_classes=7)
    assert net.classifier.weight.shape == (7, 1280) and "classifier is fresh" in caplog.text
    with pytest.raises(ValueError, match="no weights are released for 'ghostnet_050': the authors"):
        create_model("ghostnet_050", pretrained=True)


def _run(*words):
    return weights_command.main([str(word) for word in words])


def test_commands(state, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path))
    path = _file(tmp_path, state)
    assert _run("convert", path, "--model", "ghostnet_100", "-o", tmp_path / "a.ckpt") == 0
    assert _run("to-torch", tmp_path / "a.ckpt", "-o", tmp_path / "b.safetensors") == 0
    written = load_file(tmp_path / "b.safetensors")
    assert len(written) == 512
    for name, value in state.items():
        np.testing.assert_array_equal(written[name], value)
    capsys.readouterr()
    assert _run("list", "ghostnet_*") == 0
    shown = capsys.readouterr().out
    assert "state_dict_73.98.pth" in shown and "none released" in shown
    # The golden weights are not the released ones, of which the first digits of the checksum are known.
    known = {**manifest(), "ghostnet_100": (dataclasses.replace(releases("ghostnet_100")[0], sha256_starts=None),)}
    monkeypatch.setattr(manifest_module, "manifest", lambda: known)
    monkeypatch.setattr(manifest_module, "releases", lambda name: known[name])
    cached = fetch.cache_folder() / "ghostnet_100" / "state_dict_73.98.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(path.read_bytes())
    assert _run("fetch", "ghostnet_100") == 0 and capsys.readouterr().out.strip() == str(cached)
    assert _run("verify") == 0
    cached.write_bytes(b"changed")
    assert _run("verify", "ghostnet_100") == 1 and "BAD" in capsys.readouterr().out
    monkeypatch.undo()
    with pytest.raises(ValueError, match="no entry for 'nothing'"):
        _run("list", "nothing")


def test_released_weights_go_into_a_network_without_a_classifier(tmp_path):
    net = create_model("shufflenetv2_x0_5")
    save_file(torch_state(net), str(tmp_path / "a.safetensors"))
    headless = create_model("shufflenetv2_x0_5", num_classes=0, pretrained=str(tmp_path / "a.safetensors"))
    assert headless.headless and headless.arguments["num_classes"] == 0
    for name, parameter in headless.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), net.parameters_dict()[name].asnumpy())
