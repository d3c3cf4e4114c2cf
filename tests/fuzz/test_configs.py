"""Every config is accepted or refused with a message of our own, never with a traceback."""

import copy

import pytest
from hydra import compose, initialize_config_module
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_adv.support.errors import UserError
from solo_adv.training.config import parse_cfg
from tests.taught import taught

METHODS = (
    *("acl", "cfamc", "deacl", "deacl_fast", "dynacl", "fare", "robust_emp"),
    *("simclr_freeadv", "supervised_freeadv"),
)
WORDS = st.sampled_from(
    [
        "",
        "nan",
        "8/255",
        "1/0",
        "auto",
        "torch",
        "cfamc",
        "resnet18",
        "vit_tiny",
        "sgd",
        "-1",
        "a b",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([10**12, 2**63]),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    WORDS,
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["a", "lr", "eta", "width"]), SCALARS, max_size=2),
)


@pytest.fixture(scope="module")
def configs():
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        found = {}
        for method in METHODS:
            cfg = compose(method, overrides=["data=digits", "accelerator=cpu", *taught(method)])
            found[method] = OmegaConf.to_container(cfg, resolve=True)
    return found


def places(config, prefix=()):
    """Yield every key of a nested mapping, as a path."""
    for key, value in config.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from places(value, (*prefix, key))


def change(config, path, value):
    *sections, last = path
    for section in sections:
        config = config.get(section) if isinstance(config, dict) else None
    if isinstance(config, dict):
        config[last] = value


@given(data=st.data())
def test_configs(configs, outcomes, data):
    method = data.draw(st.sampled_from(METHODS))
    config = copy.deepcopy(configs[method])
    keys = sorted(places(config))
    for path in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True)):
        change(config, path, data.draw(VALUES))
    try:
        parse_cfg(OmegaConf.create(config))
    except (UserError, OmegaConfBaseException):  # the command line prints both in a line
        outcomes["configs: refused"] += 1
    else:
        outcomes["configs: accepted"] += 1
