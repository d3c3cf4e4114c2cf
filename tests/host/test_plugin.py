"""The plugin costs other applications nothing, and gives solo-learn the methods."""

import importlib
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from textwrap import dedent

import pytest
from hydra.plugins.search_path_plugin import SearchPathPlugin

import solo_adv
from solo_adv import UserError

ROOT = Path(__file__).parents[2]


def run(folder, script, *arguments, path=None):
    """Run a script in a process and a folder of its own; return what it printed."""
    (folder / "app.py").write_text(dedent(script))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "app.py", *arguments],
        cwd=folder,
        env=os.environ if path is None else {**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HELLO = """
    import sys
    import hydra

    @hydra.main(version_base="1.2")
    def main(cfg):
        from hydra.core.plugins import Plugins
        from hydra.plugins.search_path_plugin import SearchPathPlugin

        found = [plugin.__name__ for plugin in Plugins.instance().discover(SearchPathPlugin)]
        print("plugins", found)
        print("heavy", sorted({"torch", "solo", "lightning", "timm", "numpy"} & set(sys.modules)))
        runtime = hydra.core.hydra_config.HydraConfig.get().runtime
        print("sources", [source.path for source in runtime.config_sources])

    main()
"""


def test_another_hydra_application_finds_the_plugin_and_imports_nothing_heavy(tmp_path):
    out = run(tmp_path, HELLO, "hydra.run.dir=.", "hydra.output_subdir=null")
    assert "SoloAdvSearchPath" in out
    assert "heavy []" in out
    assert "solo_adv.conf" not in out


@pytest.fixture(scope="module")
def metadata_folder(tmp_path_factory):
    """A folder with the metadata that an editable installation of this checkout makes."""
    folder = tmp_path_factory.mktemp("metadata")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_importing_torch_imports_nothing_of_ours(tmp_path, metadata_folder):
    """Torch loads the entry points ``torch.backends`` of all installed packages."""
    script = """
        import sys
        from importlib.metadata import distribution
        import torch
        print(distribution("solo-adv").locate_file(""))
        print([name for name in sys.modules if name.startswith(("solo", "hydra"))])
    """
    where, imported = run(tmp_path, script, path=f"{metadata_folder}:{ROOT}").splitlines()
    assert where == str(metadata_folder)
    assert imported == "[]"


def test_entry_points_name_the_plugin(metadata_folder):
    (found,) = metadata.distributions(name="solo-adv", path=[str(metadata_folder)])
    assert {entry.group for entry in found.entry_points} == {"console_scripts", "hydra.plugins"}
    for entry in found.entry_points:
        loaded = entry.load()
        assert entry.group == "console_scripts" or issubclass(loaded, SearchPathPlugin)


# A script with the name and arguments of solo-learn's, where solo-learn is not installed.
IMPERSONATOR = """
    import sys, types
    import hydra
    from solo_adv.host import plugin

    plugin.register = lambda: print("registered")
    sys.modules["solo.args.pretrain"] = types.ModuleType("solo.args.pretrain")

    @hydra.main(version_base="1.2")
    def main(cfg):
        print(cfg.method, cfg.adversary.replays, cfg.augmentations[0].crop_size, len(cfg.devices))

    main()
"""


def test_when_solo_learn_runs_its_command_line_finds_configs_and_methods(tmp_path):
    out = run(tmp_path, IMPERSONATOR, "--config-name", "cfamc.yaml", "adversary.replays=7")
    assert out.splitlines() == ["registered", "cfamc 7 32 1"]


def test_configs_of_solo_learn_go_before_ours(tmp_path):
    (tmp_path / "cfamc.yaml").write_text(
        "method: mine\nadversary: {replays: 1}\naugmentations: [{crop_size: 9}]\ndevices: [0]\n"
    )
    out = run(tmp_path, IMPERSONATOR, "--config-path", ".", "--config-name", "cfamc.yaml")
    assert out.splitlines() == ["registered", "mine 1 9 1"]


@pytest.mark.parametrize(
    ("name", "given", "made"),
    [
        pytest.param("simclr", "auto", "bf16-mixed|32-true", marks=pytest.mark.slow),
        ("linear", "auto", "bf16-mixed|32-true"),
        pytest.param("linear", "16-mixed", "16-mixed", marks=pytest.mark.slow),
    ],
)
def test_no_script_of_solo_learn_is_given_the_precision_auto(tmp_path, name, given, made):
    told = "cfg.method, cfg.adversary.replays, cfg.augmentations[0].crop_size, len(cfg.devices)"
    script = IMPERSONATOR.replace(told, "cfg.precision")
    out = run(tmp_path, script, "--config-name", f"{name}.yaml", f"precision={given}")
    assert re.fullmatch(f"registered\n({made})\n", out)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that puts a package ``solo.methods`` with the given contents on the path."""
    before = set(sys.modules)

    def make(contents):
        (tmp_path / "solo/methods").mkdir(parents=True)
        (tmp_path / "solo/__init__.py").touch()
        (tmp_path / "solo/methods/__init__.py").write_text(contents)
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.partition(".")[0] == "solo"]:
            monkeypatch.delitem(sys.modules, name)

    yield make
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "solo":
            del sys.modules[name]


@pytest.mark.parametrize(
    ("contents", "remedy"),
    [
        ("", "checkout"),
        ("import no_such_package.inside", "pip install no_such_package"),
        ("from json import no_such_name", "versions"),
    ],
)
def test_registering_without_solo_learn_says_what_to_do(package, contents, remedy):
    package(contents)
    with pytest.raises(UserError, match=f"(?s)cannot be imported.*{remedy}"):
        solo_adv.register()


def test_registering_adds_all_methods_but_those_that_solo_learn_has(solo_methods):
    registry = importlib.import_module("solo.methods").METHODS
    own = registry["simclr"]
    solo_adv.register()
    assert registry["simclr"] is own
    assert {name for name in solo_methods if registry[name] is solo_methods[name]} == {
        *("acl", "cfamc", "deacl", "deacl_fast", "deacl_freeadv", "dynacl", "dynacl_pp"),
        *("emp_ssl", "fare", "robust_emp", "robust_simclr"),
        *("simclr_freeadv", "supervised_freeadv"),
    }


KNOWS = """
    import sys, types

    sys.stderr = sys.stdout
    module = sys.modules["solo.args.pretrain"] = types.ModuleType("solo.args.pretrain")
    module._SUPPORTED_DATASETS = ["cifar10", "custom"]

    from omegaconf import OmegaConf
    from solo_adv.host.plugin import PreparedConfig

    config = OmegaConf.create({"precision": "32-true", "data": {"dataset": sys.argv[1]}})
    try:
        PreparedConfig().on_run_start(config)
    except SystemExit as stop:
        print("status", stop.code)
    else:
        print("accepted")
"""


def test_a_dataset_that_solo_learn_does_not_know_ends_the_script_in_one_line(tmp_path):
    assert run(tmp_path, KNOWS, "custom").strip() == "accepted"
    message, status = run(tmp_path, KNOWS, "digits").strip().splitlines()
    assert "no data.dataset=digits. Its scripts accept cifar10, custom;" in message
    assert status == "status 2"
