"""How other applications meet the plugin: they pay nothing, and solo-learn gets the methods."""

import importlib
import subprocess
import sys
from importlib import metadata
from textwrap import dedent

import pytest
from hydra.plugins.search_path_plugin import SearchPathPlugin

import solo_adv
from solo_adv import UserError
from solo_adv.host import plugin


def run(folder, script, *arguments):
    """Runs a script in its own process and folder; returns what it printed."""
    (folder / "app.py").write_text(dedent(script))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "app.py", *arguments],
        cwd=folder,
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


def test_entry_points_name_the_plugin():
    (plugin_class,) = metadata.entry_points(group="hydra.plugins", name="solo_adv")
    assert issubclass(plugin_class.load(), SearchPathPlugin)
    (watch,) = metadata.entry_points(group="torch.backends", name="solo_adv")
    assert watch.load() is plugin.watch


# An application that looks like solo-learn's from outside, without solo-learn.
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


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Puts a package ``solo.methods`` with the given contents on the path."""
    before = set(sys.modules)

    def make(contents):
        (tmp_path / "solo/methods").mkdir(parents=True)
        (tmp_path / "solo/__init__.py").touch()
        (tmp_path / "solo/methods/__init__.py").write_text(contents)
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.partition(".")[0] == "solo"]:
            monkeypatch.delitem(sys.modules, name)
        # torch has called watch() already, and other tests may have imported solo-learn
        monkeypatch.delitem(sys.modules, "solo_adv.host.solo_learn", raising=False)
        unwatched = [f for f in sys.meta_path if not isinstance(f, plugin._Watcher)]
        monkeypatch.setattr(sys, "meta_path", unwatched)

    yield make
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "solo":
            del sys.modules[name]


def test_the_watcher_registers_once_solo_learn_has_its_methods(package, monkeypatch):
    package("METHODS = {}")
    seen = []
    monkeypatch.setattr(
        plugin, "register", lambda: seen.append(sys.modules["solo.methods"].METHODS)
    )
    plugin.watch()
    plugin.watch()
    assert sum(isinstance(f, plugin._Watcher) for f in sys.meta_path) == 1
    importlib.import_module("solo")
    assert seen == []
    assert importlib.import_module("solo.methods").METHODS == {}
    assert seen == [{}]
    assert not any(isinstance(f, plugin._Watcher) for f in sys.meta_path)


def test_the_watcher_leaves_another_package_of_that_name_alone(package, monkeypatch):
    package("KEYS = 1")
    monkeypatch.setattr(plugin, "register", lambda: pytest.fail("registered"))
    plugin.watch()
    assert importlib.import_module("solo.methods").KEYS == 1


def test_an_error_of_ours_is_a_warning_to_who_imports_solo_learn(package, monkeypatch):
    package("METHODS = {}")

    def fail():
        raise RuntimeError("broken")

    monkeypatch.setattr(plugin, "register", fail)
    plugin.watch()
    with pytest.warns(UserWarning, match="broken"):
        importlib.import_module("solo.methods")


def test_torch_installs_the_watcher(tmp_path):
    script = """
        import sys
        import torch
        print([type(finder).__module__ for finder in sys.meta_path])
    """
    assert "solo_adv.host.plugin" in run(tmp_path, script)


def test_registering_without_solo_learn_says_what_to_do(package):
    package("raise ImportError('no module named einops')")
    with pytest.raises(UserError, match=r"einops.*checkout"):
        solo_adv.register()


def test_registering_adds_all_methods_but_those_that_solo_learn_has(solo_methods):
    registry = importlib.import_module("solo.methods").METHODS
    own = registry["simclr"]
    solo_adv.register()
    assert registry["simclr"] is own
    assert {name for name in solo_methods if registry[name] is solo_methods[name]} == {
        *("cfamc", "emp_ssl", "robust_emp", "robust_simclr"),
        *("simclr_freeadv", "supervised_freeadv"),
    }
