"""Signatures read from source agree with those of the imported classes."""

import inspect
import subprocess
import sys
from typing import Any, get_args, get_type_hints

import pytest
from lightning.pytorch import Trainer
from timm.optim import Lars

from solo_adv.support import signatures
from solo_adv.support.signatures import Opaque, constructor

TRAINER = ("lightning.pytorch.trainer.trainer", "Trainer")
LARS = ("timm.optim.lars", "Lars")


def parts(declared):
    """The types that a type consists of, with Opaque in place of classes of packages."""
    inner = [part for argument in get_args(declared) for part in parts(argument)]
    if inner:
        return inner
    module = getattr(declared, "__module__", "builtins").partition(".")[0]
    return [declared if module in sys.stdlib_module_names else Opaque]


@pytest.mark.parametrize(("where", "found"), [(TRAINER, Trainer), (LARS, Lars)])
def test_signatures_are_those_of_the_imported_class(where, found):
    read = constructor(*where)
    hints = get_type_hints(found.__init__)
    parameters = inspect.signature(found).parameters
    assert list(read) == list(parameters)
    for name, declared in read.items():
        implied = bool if isinstance(parameters[name].default, bool) else Any
        assert set(parts(declared)) == set(parts(hints.get(name, implied))), name


def test_without_a_source_the_class_is_asked(monkeypatch):
    def gone(package):
        raise ImportError(package)

    read = constructor(*TRAINER)
    monkeypatch.setattr(signatures, "package_folder", gone)
    signatures._source.cache_clear()
    asked = constructor.__wrapped__(*TRAINER)
    assert list(asked) == list(read)
    assert asked["max_epochs"] == read["max_epochs"] == int | None


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(ImportError, match="no_such_package"):
        constructor("no_such_package.module", "Class")


def test_nothing_is_imported():
    script = (
        "import sys; from solo_adv.support.signatures import constructor; "
        f"constructor(*{TRAINER}); constructor(*{LARS}); "
        "assert not {'lightning', 'timm', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
