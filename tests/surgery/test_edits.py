"""A network that was edited after it was built reloads from its checkpoint, in every command."""
import json

import numpy as np
import pytest
from PIL import Image

from ghost_ms import create_model
from ghost_ms.checkpoints.checkpoint import read_checkpoint, restore, save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.cli import main
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.surgery.edits import apply_edits, check_edits, edits_of
from ghost_ms.surgery.ghostify import GhostConv2d
from tests.same import assert_same_runs
from tests.tiny import registered

EDITS = "[{ghostify: {ratio: 2, min_in_channels: 4}}]"
GHOSTIFY = [{"ghostify": {"ratio": 2, "min_in_channels": 4}}]


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with registered():
        yield


def _spec(edits=(), **args):
    preprocessing = Preprocessing((16, 16), 3, (0.5,) * 3, (0.25,) * 3, 1.0, "bilinear")
    return ModelSpec("tiny", {"num_classes": 4, "in_channels": 3, **args}, list("abcd"), preprocessing,
                     edits=list(edits))


def _words(run, *more):
    return ["train", "--model.name", "tiny", "--model.edits", EDITS, "--data.dataset", "synthetic",
            "--data.synthetic_size", "40", "--data.synthetic_classes", "4", "--data.batch_size", "8", "--data.workers",
            "1", "--data.input_size", "16", "--data.crop_ratio", "1.0", "--optimizer.lr", "0.05", "--train.epochs", "2",
            "--run.device", "CPU", "--run.dir", str(run), *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("edited") / "run"
    assert main(_words(run)) == 0
    return run


@pytest.mark.parametrize("edits, sentence", [
    ("ghostify", "is no list"), ([1], "no mapping of one edit"), ([{}], "no mapping of one edit"),
    ([{"ghostify": {}, "other": {}}], "no mapping of one edit"), ([{"x": {}}], "unknown edit 'x'"),
    ([{"gostify": {}}], "did you mean ghostify"), ([{"ghostify": {"rate": 2}}], "does not take 'rate'"),
    ([{"ghostify": {"net": 2}}], "does not take 'net'"), ([{"ghostify": [2]}], "does not take"),
    ([{"ghostify": {}}] * 101, "at most 100"), ([{"\x1b": {}}], r"unknown edit '\\\\x1b'")])
def test_what_is_no_list_of_edits_is_refused(edits, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_edits(edits, "model.edits")


def test_an_edit_without_arguments_may_be_its_name():
    assert check_edits(["ghostify", {"ghostify": None}], "model.edits") == [{"ghostify": {}}] * 2


def test_an_edit_that_cannot_be_made_names_itself():
    with pytest.raises(ValueError, match="the edit ghostify cannot be made: .*ratio of 2 or more"):
        _spec([{"ghostify": {"ratio": 1}}]).build()
    with pytest.raises(ValueError, match="the edit ghostify cannot be made: .*no convolution to replace"):
        _spec(["ghostify"]).build()


def test_a_description_without_edits_is_what_it_was():
    assert set(json.loads(_spec().to_json())) == {"model", "args", "classes", "preprocessing", "metrics"}
    assert ModelSpec.from_json(_spec(GHOSTIFY).to_json()) == _spec(GHOSTIFY)
    for edits in ([{"x": {}}], "ghostify", [{"ghostify": {"ratio": {"a": 1}}, "b": {}}]):
        with pytest.raises(ValueError):
            ModelSpec.from_json(json.dumps({**json.loads(_spec().to_json()), "edits": edits}))


def test_a_checkpoint_rebuilds_the_edited_network(tmp_path):
    net, path = _spec(GHOSTIFY).build(), str(tmp_path / "a.ckpt")
    assert isinstance(net.stage[0], GhostConv2d) and edits_of(net) == GHOSTIFY
    save_checkpoint(net, path, _spec(GHOSTIFY))
    again, spec = restore(path)
    assert spec.edits == GHOSTIFY and isinstance(again.stage[0], GhostConv2d)
    for name, parameter in net.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), again.parameters_dict()[name].asnumpy())
    with pytest.raises(ValueError, match="its network was edited after it was built"):
        create_model("tiny", pretrained=path)


def test_an_edit_of_absurd_size_is_refused_before_memory_is_taken(tmp_path):
    path = str(tmp_path / "a.ckpt")
    save_checkpoint(_spec(GHOSTIFY).build(), path, _spec([{"ghostify": {"ratio": 2, "cheap_kernel": 100_001}}]))
    with pytest.raises(ValueError, match="argument 100001, but the largest extent among its weights"):
        restore(path)


def test_weights_go_in_before_the_edits_that_their_file_does_not_have(tmp_path):
    plain, edited = str(tmp_path / "plain.ckpt"), str(tmp_path / "edited.ckpt")
    net = _spec().build()
    save_checkpoint(net, plain, _spec())
    ghost = _spec(GHOSTIFY).build(plain)
    np.testing.assert_array_equal(ghost.stem[0].weight.asnumpy(), net.stem[0].weight.asnumpy())
    save_checkpoint(ghost, edited, _spec(GHOSTIFY))
    same = _spec(GHOSTIFY).build(edited)
    np.testing.assert_array_equal(same.stage[0].primary_conv.weight.asnumpy(),
                                  ghost.stage[0].primary_conv.weight.asnumpy())
    with pytest.raises(ValueError, match="begin model.edits with those of the file"):
        _spec().build(edited)


def test_from_the_recipe_to_every_command(run, tmp_path, capsys, monkeypatch):
    """Away from the run's folder, by --ckpt alone."""
    monkeypatch.chdir(tmp_path)
    ckpt = tmp_path / "moved.ckpt"
    ckpt.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    assert read_checkpoint(str(ckpt))[1].edits == GHOSTIFY
    data = ["--data.dataset", "synthetic", "--data.synthetic_size", "40", "--data.synthetic_classes", "4",
            "--data.input_size", "16"]
    assert main(["eval", "--ckpt", str(run / "checkpoints" / "best.ckpt")]) == 0
    beside = capsys.readouterr().out
    assert main(["eval", "--ckpt", str(ckpt), *data]) == 0
    assert capsys.readouterr().out == beside
    assert main(["eval", "--ckpt", str(ckpt), "--model.edits", "[]", *data]) == 1
    assert "are of a network with [{'ghostify'" in capsys.readouterr().err
    assert main(["export", "--ckpt", str(ckpt), "--output", "net.mindir"]) == 0
    Image.effect_noise((16, 16), 50).convert("RGB").save("a.png")
    capsys.readouterr()
    answers = []
    for words in (["--ckpt", str(ckpt)], ["--file", "net.mindir"]):
        assert main(["infer", "--json", *words, "a.png"]) == 0
        answers.append([one["probability"] for one in json.loads(capsys.readouterr().out)[0]["predictions"]])
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_a_training_goes_on_with_the_same_edits_alone(run, tmp_path, capsys):
    assert main(_words(tmp_path / "a", "--train.epochs", "1", "--schedule.name", "constant")) == 0
    assert main(_words(tmp_path / "b", "--schedule.name", "constant")) == 0
    assert main(_words(tmp_path / "a", "--schedule.name", "constant", "--train.resume", "auto")) == 0
    assert_same_runs(tmp_path / "a", tmp_path / "b")
    assert main(_words(tmp_path / "a", "--schedule.name", "constant", "--train.resume", "auto", "--train.epochs", "3",
                       "--model.edits", "[]")) == 1
    assert "model.edits is []" in capsys.readouterr().err


def test_edits_are_named_by_the_network():
    net = create_model("tiny")
    assert edits_of(net) == [] and edits_of(apply_edits(net, GHOSTIFY)) == GHOSTIFY
