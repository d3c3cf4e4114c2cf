"""Help without a config lists the methods, each with the first line of its config."""

import pytest
from omegaconf import OmegaConf

import solo_adv.conf
from solo_adv.methods import MIXINS
from solo_adv.support.configs import config_groups, primary_configs


def test_each_method_has_a_config_whose_first_line_describes_it():
    configs = primary_configs()
    assert list(configs) == sorted(f"{name}.yaml" for name in MIXINS)
    folder = solo_adv.conf.__path__[0]
    for name, line in configs.items():
        config = OmegaConf.load(f"{folder}/{name}")
        assert f"{config.method}.yaml" == name
        assert line.endswith("."), line
        assert not line.startswith("#")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_without_a_config_lists_the_methods_with_a_line_each(command, flag):
    status, out, err = command("main_pretrain", flag, "data=digits")
    assert status == 0
    assert err == ""
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    for name, described in primary_configs().items():
        assert [name, described] in lines
    assert "usage: python main_pretrain.py --config-name METHOD.yaml" in out
    for group, options in config_groups().items():
        assert f"{group}: {', '.join(options)}" in out
    assert "cifar10" in config_groups()["data"]


@pytest.mark.parametrize("config", [["--config-name", "cfamc.yaml"], ["-cn=cfamc"]])
def test_help_with_a_config_prints_the_config(command, config):
    status, out, _ = command("main_pretrain", *config, "--help", "adversary.replays=7")
    assert status == 0
    assert "replays: 7" in out
    assert "METHOD.yaml" not in out


@pytest.mark.parametrize("name", ["linear", "robust"])
def test_help_of_a_command_with_one_config_prints_that_config(command, name):
    status, out, _ = command(f"main_{name}", "--help")
    assert status == 0
    assert "== Config (key=value) ==" in out
