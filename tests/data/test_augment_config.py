"""What is said of augmentation settings that make no sense, before any work."""
import pytest

from ghost_ms import config


def _parse(*argv):
    return config.parse(config.build_parser("test", ""), list(argv))[0]


@pytest.mark.parametrize("options,message", [
    (["--augment.auto_augment", "rand-m9-q1"], "unknown part 'q1'"),
    (["--augment.auto_augment", "rand-m9", "--augment.color_jitter", "0.4"], "are alternatives"),
    (["--augment.color_jitter", "[0.4, 0.4]"], "one strength, or a list of brightness"),
    (["--augment.color_jitter", "[0.4, 0.4, 0.4, 0.6]"], r"hue \(at most 0.5\)"),
    (["--augment.interpolation", "cubic"], "augment.interpolation is 'cubic'; did you mean 'bicubic'"),
    (["--augment.erasing_mode", "rand"], "augment.erasing_mode is 'rand'"),
    (["--augment.random_erasing", "1.5"], "augment.random_erasing must lie between 0 and 1"),
    (["--augment.mix_switch_probability", "2"], "augment.mix_switch_probability must lie between 0 and 1"),
    (["--augment.mixup", "-1"], "augment.mixup must not be negative"),
    (["--augment.repeated", "0"], "augment.repeated must be at least 1"),
    (["--augment.scale", "[0.5, 0.2]"], "augment.scale is .*two rising shares"),
    (["--augment.ratio", "[0, 1]"], "augment.ratio is"),
    (["--data.max_corrupt_share", "-0.1"], "data.max_corrupt_share must lie between 0 and 1"),
])
def test_a_wrong_setting_is_one_sentence(options, message):
    with pytest.raises(ValueError, match=message) as error:
        _parse(*options)
    assert "\n" not in str(error.value)


def test_settings_of_a_published_recipe():
    recipe = _parse("--augment.auto_augment", "rand-m9-mstd0.5-inc1", "--augment.mixup", "0.8", "--augment.cutmix", "1",
                    "--augment.random_erasing", "0.25", "--augment.repeated", "3", "--augment.interpolation", "random")
    assert (recipe.augment.mixup, recipe.augment.cutmix, recipe.augment.repeated) == (0.8, 1.0, 3)
    assert _parse("--augment.color_jitter", "[0.4, 0.4, 0.4, 0.1]").augment.color_jitter == [0.4, 0.4, 0.4, 0.1]
    assert _parse("--augment.color_jitter", "0.3").augment.color_jitter == 0.3
