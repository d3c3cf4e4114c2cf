"""Options of speed and memory do not change what a step computes, nor make the CPU wait."""

import math
from itertools import product

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from solo_adv import UserError
from solo_adv.methods import MIXINS
from solo_adv.methods.performance import resolved_precision
from tests.taught import taught

METHODS = ("emp_ssl", "robust_emp", "cfamc", "robust_simclr", "simclr_freeadv", "dynacl")


def weights(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


@pytest.fixture
def compiled_without_kernels(monkeypatch):
    """Makes torch.compile trace graphs, so that graph breaks fail, but write no kernels."""
    compile_ = torch.compile
    kept = []

    def graphs_only(function, *, mode, **options):
        kept.append(mode)
        return compile_(function, backend="aot_eager", **options)

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", graphs_only)
    return kept


QUICK = (("cfamc", None),)
REST = [pair for pair in product(METHODS, (None, 4)) if pair not in QUICK]


@pytest.mark.parametrize(
    ("name", "chunk"), [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in REST)]
)
def test_compiled_is_one_graph_and_the_same(build, fit, compiled_without_kernels, name, chunk):
    plain = build(name, **{"crops.chunk": chunk})
    compiled = build(name, **{"crops.chunk": chunk, "performance.compile": "default"})
    fit(plain, batches=2)
    fit(compiled, batches=2)
    assert None in compiled_without_kernels
    for key, value in weights(plain).items():
        torch.testing.assert_close(compiled.state_dict()[key], value, msg=key)


def test_with_several_processes_the_loss_is_not_compiled(build, monkeypatch):
    monkeypatch.setattr("solo_adv.methods.adversarial.world_size", lambda: 2)
    method = build("cfamc", **{"performance.compile": "reduce-overhead"})
    method.setup("fit")
    assert method._loss is method.objective
    assert method._network != method._pass


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MIXINS))
def test_nothing_is_compiled_again_after_the_first_batches(build, fit, request, name):
    if name != "robust_emp":  # one method's kernels are written, too
        request.getfixturevalue("compiled_without_kernels")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    seen = []

    class Count(Callback):
        def on_train_batch_end(self, *_):
            seen.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    needed = dict(override.split("=") for override in taught(name, of_hydra=False))
    needed = {key: yaml.safe_load(value) for key, value in needed.items()}
    method = build(name, **{"performance.compile": "default", "crops.size": 16, **needed})
    fit(method, 50, callbacks=[Count()])
    assert seen[1] > 0
    assert set(seen[1:]) == {seen[1]}
    assert not torch._dynamo.utils.counters["graph_break"]


class Smooth(nn.Module):
    """A network without batch normalisation, so that chunks must not change its outputs."""

    num_features = 5

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.net(x).flatten(1)


@pytest.fixture
def in_float64(build):
    """A function that builds a method by name, in float64 and without batch normalisation."""

    def make(name, chunk):
        method = build(name, **{"crops.num_crops": 6, "crops.chunk": chunk})
        torch.manual_seed(1)
        method.backbone = Smooth()
        method.classifier = nn.Linear(5, 3)
        method.projector.hidden = nn.Sequential(nn.Linear(5, 16), nn.Tanh())
        method.projector.output = nn.Linear(16, 8)
        if method.averaged is not None:
            method.averaged = method._build_average(method.averaged.decay)
            for parameter in method.averaged.parameters():
                parameter.mul_(1.5)
        return method.double()

    return make


@pytest.mark.parametrize("name", [*METHODS, "supervised_freeadv"])
@pytest.mark.parametrize("chunk", [1, 7, 12, 23])
def test_gradients_of_chunks_are_those_of_the_whole(in_float64, name, chunk):
    images = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    targets = torch.tensor([0, 1, 2, 0])
    gradients = []
    for size in (None, chunk):
        method = in_float64(name, size)
        torch.manual_seed(2)
        crops = images.repeat(6, 1, 1, 1) * torch.rand(24, 1, 1, 1, dtype=torch.float64)
        batch = method.batch_of(crops, targets)
        delta = method.perturb(batch)
        out, update = method.updated(batch, delta)
        loss = method.objective(update).total + out["logits"].square().mean()
        loss.backward()
        found = {key: p.grad for key, p in method.named_parameters()}
        found["delta"] = torch.zeros(()) if delta is None else delta.detach()
        if delta is not None and delta.requires_grad:
            found["delta"] = delta.grad
        gradients.append(found)
    whole, chunked = gradients
    assert any(gradient.abs().max() > 0 for gradient in whole.values())
    for key, gradient in whole.items():
        torch.testing.assert_close(chunked[key], gradient, rtol=1e-10, atol=1e-12, msg=key)


def test_chunks_pass_as_many_crops_as_asked_and_move_the_statistics_once(build):
    method = build("cfamc", **{"crops.num_crops": 6, "crops.chunk": 10})
    twin = build("cfamc", **{"crops.num_crops": 6})
    crops = torch.rand(24, 3, 16, 16)
    sizes = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    method.outputs_of(crops[:0], crops, 4)["z"].sum().backward()
    assert sizes == [8] * 6  # three chunks, each passed again in the backward pass
    for part in crops.split(8):
        twin.outputs_of(part[:0], part, 4)
    layers = [m for m in method.modules() if isinstance(m, _BatchNorm)]
    twins = [m for m in twin.modules() if isinstance(m, _BatchNorm)]
    for layer, other in zip(layers, twins, strict=True):
        assert layer.num_batches_tracked == other.num_batches_tracked == 3
        torch.testing.assert_close(layer.running_var, other.running_var)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_in_chunks_keeps_the_activations_of_one_chunk(build, fit, precision):
    """The test counts the bytes that the forward pass keeps for the backward pass."""
    kept = []
    for chunk in (None, 8):
        method = build("cfamc", **{"crops.num_crops": 16, "crops.chunk": chunk})
        saved = [0]

        def note(tensor, saved=saved):
            saved[0] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            crops = torch.rand(64, 3, 16, 16)
            method.outputs_of(crops[:0], crops, 4)
        kept.append(saved[0])
        trainer = fit(method, batches=2, precision=precision)
        assert math.isfinite(trainer.callback_metrics["train_emp_loss"])
    assert kept[1] < kept[0] / 4


@pytest.mark.parametrize("accumulate", [False, True])
def test_weights_get_gradients_in_bf16_after_passes_without_gradients(build, fit, accumulate):
    """Autocast must not reuse casts of weights from an attack step, which have no gradient."""
    method = build("robust_simclr", **{"adversary.accumulate_gradients": accumulate})
    before = weights(method)
    fit(method, batches=1, precision="bf16-mixed")
    for name, parameter in method.named_parameters():
        if parameter.ndim > 1:
            assert not torch.equal(parameter, before[name]), name


def test_parameters_require_gradients_again_after_the_attack(build, fit):
    method = build("robust_emp")
    method.projector.output[0].weight.requires_grad_(False)
    asked = []
    method.projector.register_forward_pre_hook(
        lambda *_: asked.append(sum(p.requires_grad for p in method.parameters()))
    )
    fit(method)
    asking = sum(1 for _ in method.parameters()) - 1
    assert asked == [0] * 5 + [asking]
    assert not method.projector.output[0].weight.requires_grad


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"performance.compile": "fast"}, "reduce-overhead"),
        ({"performance.compile": True}, "none"),
        ({"performance.disable_channel_last": "yes"}, "true or false"),
        ({"performance.compil": "default"}, "compile"),
    ],
)
def test_bad_settings(build, given, words):
    with pytest.raises(UserError, match=words):
        build("cfamc", **given)


@pytest.mark.parametrize(
    ("amx", "avx", "name", "expected"),
    [
        (False, False, "AMD EPYC 7763", "32-true"),
        (True, True, "Intel(R) Xeon(R) Processor", "bf16-mixed"),
        (False, True, "AMD EPYC 9554", "bf16-mixed"),
        (False, True, "Intel(R) Xeon(R) Processor", "32-true"),
    ],
)
def test_automatic_precision_asks_the_processor(monkeypatch, amx, avx, name, expected):
    monkeypatch.setattr("solo_adv.support.environment._processor", lambda: name)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    cfg = OmegaConf.create({"precision": "auto", "accelerator": "cpu"})
    assert resolved_precision(cfg) == expected
    assert resolved_precision(OmegaConf.create({"precision": "64-true"})) == "64-true"


@pytest.mark.parametrize(
    ("asked", "gpu", "expected"),
    [(None, False, True), (None, True, False), (True, True, True), (False, False, False)],
)
def test_the_allocator_is_tuned_if_asked_or_if_the_cpu_trains(
    build, monkeypatch, asked, gpu, expected
):
    tuned = []
    monkeypatch.setattr(
        "solo_adv.methods.adversarial.keep_freed_memory", lambda: tuned.append(True)
    )
    method = build("cfamc", **{"performance.keep_freed_memory": asked})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    method.cfg.accelerator = "auto"
    method.setup("fit")
    assert tuned == [True] * expected
