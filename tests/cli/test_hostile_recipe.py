"""No command executes, imports or builds anything that a recipe names, not even one that lies in a run's folder."""
import pytest

from ghost_ms.cli import main
from tests.tiny import registered

CLASS = "{class_path: subprocess.Popen, init_args: {args: 'touch PLANTED', shell: true}}"


@pytest.fixture(autouse=True)
def tiny():
    with registered():
        yield


@pytest.mark.parametrize("key", ["model.args", "distill.args"])
@pytest.mark.parametrize("argv", [
    ["train", "--config", "run/config.yaml"], ["export", "--config", "run/config.yaml"],
    ["infer", "--config", "run/config.yaml", "--image", "run"], ["plan", "--config", "run/config.yaml"],
    ["quantize", "--ckpt", "run/checkpoints/best.ckpt", "--calibrate", "run/config.yaml"],
    ["report", "run", "-o", "page.html"], ["runs", "run"], ["eval", "--ckpt", "run/checkpoints/best.ckpt"],
    ["eval", "--config", "run/config.yaml"], ["explain", "--config", "run/config.yaml", "--image", "run"]])
def test_a_class_in_a_recipe_is_never_built(key, argv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section, field = key.split(".")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "best.ckpt").write_bytes(b"no checkpoint")
    (tmp_path / "run" / "metrics.csv").write_text("epoch,train_loss,test_loss,test_top1,test_top5\n1,1,1,50,90\n")
    name = "name: tiny, " if section == "model" else "teacher: tiny, "
    (tmp_path / "run" / "config.yaml").write_text(
        f"{section}: {{{name}{field}: {{x: {CLASS}, drop_rate: {CLASS}}}}}\n"
        f"data: {{dataset: synthetic, synthetic_size: 8, batch_size: 4, input_size: 16}}\nrun: {{dir: new}}\n")
    main(argv)
    assert not list(tmp_path.rglob("PLANTED"))
