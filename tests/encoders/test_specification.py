"""Names of backbones agree with timm's own registry."""

import subprocess
import sys
from textwrap import dedent

import pytest
import timm
from timm.models import _registry

from solo_adv import UserError
from solo_adv.encoders import specification
from solo_adv.encoders.specification import resolve_name


def run_alone(script):
    """Runs a script in a process without solo-learn, which adds networks of its own to timm's."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(script)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_are_those_that_timm_registers():
    # solo-learn registers networks of its own with timm, if another test imports it.
    registered = {
        name
        for name, build in _registry._model_entrypoints.items()
        if build.__module__.startswith("timm.")
    }
    current, deprecated = specification._registered()
    assert current | deprecated == registered
    assert current == registered & set(timm.list_models())


def test_timm_is_imported_if_its_source_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setattr(specification, "package_folder", lambda _: tmp_path)
    current, _ = specification._registered.__wrapped__()
    assert current == set(timm.list_models())


@pytest.mark.parametrize("modules", ["sys", pytest.param("sys, timm", marks=pytest.mark.slow)])
def test_without_timm_a_name_means_the_same(modules):
    out = run_alone(f"""
        import {modules}
        from solo_adv.encoders.specification import is_timm_model
        names = ("resnet18", "resnet18.a1_in1k", "gluon_resnet18_v1b", "resnt18", "vit_tiny", "")
        print([is_timm_model(name) for name in names], "timm" in sys.modules)
    """)
    known = [True, True, True, False, False, False]
    assert out == f"{known} {'timm' in modules}\n"


def test_a_network_that_the_user_registers_is_known(monkeypatch):
    monkeypatch.setitem(_registry._model_entrypoints, "network_of_mine", lambda: None)
    assert resolve_name("network_of_mine") == "network_of_mine"


def test_names_of_solo_learn():
    assert resolve_name("vit_tiny") == "vit_tiny_patch16_224"
    assert resolve_name("wide_resnet28w2") == "wide_resnet28w2"


def test_a_wrong_name_is_answered_without_timm():
    out = run_alone("""
        import sys
        from solo_adv.encoders.specification import resolve_name
        try:
            resolve_name("resnt18")
        except ValueError as error:
            print(error)
        assert not {"timm", "torch"} & set(sys.modules)
    """)
    assert "Did you mean 'resnet18'?" in out


def test_an_unknown_name():
    with pytest.raises(UserError, match=r"'resnet19'\. Did you mean 'resnet1"):
        resolve_name("resnet19")
