"""Where downloads are kept."""

import os
import pwd
import tempfile

import pytest

from solo_adv import load_pretrained
from solo_adv.catalogue.places import cache
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path


@pytest.fixture
def homeless(monkeypatch):
    """Be a user without a home directory, as a container's may be."""
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "SOLO_ADV_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_packaged_models_need_no_home(homeless):
    assert load_pretrained("deacl_fast_resnet18w16_cifar10").features_dim == 128
    assert str(cache()) == f"{tempfile.gettempdir()}/solo-adv-{os.getuid()}/zoo"


def test_a_path_that_needs_a_home_is_refused(homeless):
    with pytest.raises(UserError, match="no home directory"):
        given_path("~/runs")


def test_a_named_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SOLO_ADV_CACHE", str(tmp_path))
    assert cache() == tmp_path
