"""``performance.graph=replay`` is refused early where a replay cannot be one graph."""

import pytest
import torch
from omegaconf import OmegaConf

from solo_adv import METHODS, UserError
from solo_adv.methods import tensor_rates
from solo_adv.methods.graph_checks import check_machine
from solo_adv.methods.replay_graph import check_device
from tests.methods.conftest import config

GRAPH = {"performance.graph": "replay"}


def checked(method, **changes):
    return METHODS[method].add_and_assert_specific_cfg(config(method, **changes))


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("accelerator", "cpu", "a CUDA device"),
        ("devices", 2, "devices=1"),
        ("devices", [0, 1], "devices=1"),
        ("devices", "2", "devices=1"),
        ("accumulate_grad_batches", 2, "optimizer.batch_size"),
        ("gradient_clip_val", 1.0, "gradient_clip_val=null"),
        ("precision", "16-mixed", "precision=bf16-mixed"),
        ("performance.compile", "reduce-overhead", "performance.compile=default"),
        ("crops.chunk", 4, "crops.chunk=null"),
        ("adversary.norm", "l2", "adversary.norm=linf"),
        ("adversary.ramp", 0.5, "adversary.ramp=0"),
        ("detect_anomaly", True, "detect_anomaly=false"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_a_remedy(key, value, remedy):
    checked("cfamc", **{key: value})
    with pytest.raises(UserError, match="graph=none") as refused:
        checked("cfamc", **GRAPH, **{key: value})
    assert f"{key}=" in str(refused.value)
    assert remedy in str(refused.value)


@pytest.mark.parametrize("method", ["emp_ssl", "robust_emp", "cfamc", "dynacl"])
def test_usual_settings_are_accepted(method):
    cfg = checked(method, **GRAPH, devices=[0], **{"performance.compile": "default"})
    assert cfg.performance.graph == "replay"
    assert checked(method).performance.graph == "none"


def test_other_values_are_refused():
    with pytest.raises(UserError, match=r"performance\.graph"):
        checked("cfamc", **{"performance.graph": "step"})


def test_a_lars_that_reads_its_rate_is_refused(monkeypatch):
    monkeypatch.setattr(tensor_rates, "constructor", lambda *_: {"params": None, "lr": float})
    tensor_rates.check_takes_tensors("sgd")
    with pytest.raises(UserError, match="newer timm"):
        tensor_rates.check_takes_tensors("lars")


def test_only_one_process_on_cuda_has_graphs(monkeypatch):
    check_device(torch.device("cuda"))
    with pytest.raises(UserError, match="on cpu"):
        check_device(torch.device("cpu"))
    with pytest.raises(UserError, match="has 2"):
        check_device(torch.device("cuda"), processes=2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="on cpu"):
        check_machine(OmegaConf.create({"accelerator": "auto", "performance": {"graph": "replay"}}))


def test_a_run_on_the_cpu_is_refused_before_its_first_batch(build, fit):
    with pytest.raises(UserError, match="on cpu"):
        fit(build("cfamc", **GRAPH))
