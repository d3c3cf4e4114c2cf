"""How clean and attacked views pass through the network, what it costs, and what is refused."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from solo_adv import UserError
from solo_adv.adversaries import PGD, Adversary, Free
from solo_adv.encoders.batch_norms import batch_norm_branch
from solo_adv.methods.attacked_views import AttackedViews
from tests.methods.conftest import BATCH


def batches_seen(method, fit):
    """Sizes of the batches that pass through the backbone in a batch of training."""
    sizes = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    fit(method)
    return sizes


@pytest.mark.parametrize(
    ("views", "forward", "sizes"),
    [
        ("all", "joint", [12]),
        ("all", "separate", [12]),
        ("all", "by_view", [4, 4, 4]),
        ("second", "joint", [12]),
        ("second", "separate", [4, 8]),
        ("second", "by_view", [4, 4, 4]),
        ("twins", "joint", [24]),
        ("twins", "separate", [12, 12]),
        ("twins", "by_view", [4] * 6),
    ],
)
def test_groups_that_share_batch_statistics(build, fit, views, forward, sizes):
    changes = {"crops.num_crops": 3, "adversary.replays": 1}
    changes |= {"adversary.views": views, "adversary.forward": forward}
    method = build("cfamc", **changes)
    assert batches_seen(method, fit) == sizes
    norms = [m for m in method.modules() if isinstance(m, _BatchNorm)]
    assert {int(norm.num_batches_tracked) for norm in norms} == {len(sizes)}
    assert method.crop_passes == sum(sizes)


MOMENTUM = {"averaging.decay": 0.9, "averaging.views": "second"}


@pytest.mark.parametrize(
    ("views", "forward", "online", "averaged"),
    [
        ("all", "separate", [4], [8]),
        ("all", "by_view", [4], [4, 4]),
        ("twins", "separate", [4, 4], [8, 8]),
        ("twins", "by_view", [4, 4], [4, 4, 4, 4]),
    ],
)
@pytest.mark.parametrize("method", ["cfamc", "robust_emp"])
def test_a_momentum_encoder_passes_all_crops_but_the_first(
    build, fit, method, views, forward, online, averaged
):
    changes = {"crops.num_crops": 3, "adversary.views": views, "adversary.forward": forward}
    changes |= {"adversary.replays": 1} if method == "cfamc" else {"adversary.steps": 2}
    made = build(method, **changes, **MOMENTUM)
    sizes = []
    made.averaged.backbone.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    passed = batches_seen(made, fit)
    crafted = 0 if method == "cfamc" else 2
    # An attack passes the clean views once and the attacked ones at every step.
    for found, update in ((passed, online), (sizes, averaged)):
        clean = update[: len(update) // 2] if views == "twins" else []
        assert found == (clean + update[len(clean) :] * crafted if crafted else []) + update
    half = len(averaged) // 2 if views == "twins" else 0
    forward_only = sum(averaged) if crafted else sum(averaged[:half])
    everything = sum(online) + sum(averaged)
    assert made.crop_passes == round(everything - forward_only * 2 / 3 + crafted * 12)


def test_embeddings_of_both_networks_are_in_the_order_of_the_views(build):
    method = build("dynacl", **{"backbone.batch_norms": 2, "crops.num_crops": 3}).double()
    with torch.no_grad():
        for parameter in method.averaged.parameters():
            parameter.mul_(1.5)
    crops = torch.rand(3, BATCH, 3, 16, 16, dtype=torch.float64)
    attacked = 1 - crops
    out = method.outputs_of(crops.flatten(0, 1), attacked.flatten(0, 1), BATCH)
    z = out["z"].unflatten(0, (6, BATCH))
    own = method.backbone, method.projector
    for kind, first, branch in ((crops, 0, "clean"), (attacked, 3, "attacked")):
        with batch_norm_branch(method, branch):
            torch.testing.assert_close(z[first], method(kind[0])["z"])
            with method.averaged.in_place_of(method):
                rest = method(kind[1:].flatten(0, 1))["z"].unflatten(0, (2, BATCH))
        torch.testing.assert_close(z[first + 1 : first + 3], rest)
    assert (method.backbone, method.projector) == own
    assert len(out["logits"]) == len(out["feats"]) == 2 * BATCH  # of the trained network alone
    (gradient,) = torch.autograd.grad(z.square().sum(), z, retain_graph=True)
    assert gradient.abs().min() > 0
    z[1].sum().backward()
    assert method.backbone.conv1.weight.grad is None or not method.backbone.conv1.weight.grad.any()


def test_chunks_pass_the_momentum_encoder_again(build):
    """Free training needs the gradient of the momentum encoder's crops, which chunks repeat."""
    changes = {"adversary.views": "twins", "adversary.forward": "separate", **MOMENTUM}
    method = build("cfamc", **changes).double()
    method.eval()  # so that chunks have no statistics of their own
    with torch.no_grad():
        for parameter in method.averaged.parameters():
            parameter.mul_(1.5)
    clean = torch.rand(2 * BATCH, 3, 16, 16, dtype=torch.float64)
    weights = torch.arange(8, dtype=torch.float64)
    gradients = []
    for method.chunk in (None, 3):
        crops = clean.clone().requires_grad_()
        method.outputs_of(clean, crops, BATCH)["z"].square().mul(weights).sum().backward()
        gradients.append(crops.grad)
    assert gradients[0].abs().sum(dim=(1, 2, 3)).min() > 0
    torch.testing.assert_close(*gradients)


def test_defaults(build):
    forward = {
        "cfamc": "joint",
        "emp_ssl": "joint",
        "robust_emp": "joint",
        "simclr": "by_view",
        "robust_simclr": "separate",
        "simclr_freeadv": "separate",
        "supervised_freeadv": "separate",
    }
    for name, expected in forward.items():
        for preset in (None, "reference"):
            assert build(name, preset=preset).cfg.adversary.forward == expected


def test_twins_are_the_same_crops_clean_and_attacked(build, fit):
    method = build("robust_emp", **{"adversary.views": "twins", "adversary.steps": 1})
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    fit(method)
    clean, attacked = seen[-1].chunk(2)
    assert 0 < (attacked - clean).abs().max() <= 8 / 255 + 1e-6


@pytest.mark.parametrize("policy", ["train_frozen", "eval"])
def test_keeping_the_outputs_of_clean_views_only_saves_work(build, fit, monkeypatch, policy):
    """Passing the clean views again at every step gives the same perturbation and weights."""
    changes = {
        **{"adversary.views": "second", "adversary.forward": "separate", "adversary.steps": 3},
        **{"adversary.pair": "cross", "adversary.batch_norm": policy, "crops.num_crops": 3},
    }
    held, again = build("robust_emp", **changes), build("robust_emp", **changes)
    sizes = batches_seen(held, fit)
    assert sizes == [4, *[8] * 3, 4, 8]
    monkeypatch.setattr(AttackedViews, "holds_clean", lambda *_: False)
    assert batches_seen(again, fit) == [*[4, 8] * 3, 4, 8]
    for (key, one), other in zip(
        held.state_dict().items(), again.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, msg=key)


def test_self_view_at_every_step_moves_the_statistics_each_time(build, fit):
    policy = {"adversary.batch_norm": "train", "adversary.steps": 5}
    once = build("robust_simclr", **policy)
    every = build("robust_simclr", **policy, **{"adversary.self_view": "every_step"})
    fit(once)
    fit(every)
    assert once.projector.hidden[1].num_batches_tracked == 1 + 5 + 2
    assert every.projector.hidden[1].num_batches_tracked == 2 * 5 + 2


@pytest.mark.parametrize(
    ("views", "adversary", "passes"),
    [
        (AttackedViews(), Adversary(), 4),
        (AttackedViews(), Free(replays=3), 4 * 3),
        (AttackedViews(views="twins"), Free(replays=3), 8 * 3),
        (AttackedViews(), PGD(steps=5), 4 + 4 * 5),
        (AttackedViews(views="second", pair="self"), PGD(steps=5), 4 + 3 * 5),
        (
            AttackedViews(views="second", pair="self", self_view="every_step"),
            PGD(steps=5),
            4 + 6 * 5,
        ),
        (AttackedViews(views="twins"), PGD(steps=5), 8 + 8 * 5),
        (AttackedViews(views="twins", forward="separate"), PGD(steps=5), 8 + 4 * 5),
        (AttackedViews(views="twins"), PGD(steps=5, batch_norm="eval"), 8 + 4 * 5),
    ],
)
def test_passes(views, adversary, passes):
    assert views.passes(adversary, num_crops=4, taught=False) == passes
    assert views.passes(adversary, num_crops=4, taught=True) == pytest.approx(passes + 4 / 3)


TWO = {"backbone.batch_norms": 2, "adversary.views": "twins", "adversary.forward": "separate"}


def test_two_batch_norms_keep_clean_and_attacked_apart(build, fit):
    method = build("cfamc", **TWO)
    fit(method, batches=2)
    norm = method.backbone.bn1
    assert norm.clean.num_batches_tracked == norm.attacked.num_batches_tracked == 2 * 3
    assert not torch.equal(norm.clean.running_mean, norm.attacked.running_mean)
    assert method.projector.hidden[1].clean.num_batches_tracked == 6


@pytest.mark.parametrize("chunk", [None, 3])
def test_two_batch_norms_in_chunks(build, chunk):
    """The repeated pass of a chunk uses the same batch norm as its first pass."""
    method = build("cfamc", **TWO, **{"crops.chunk": chunk}).double()
    crops = torch.rand(2 * BATCH, 3, 16, 16, dtype=torch.float64)
    method.eval()  # so that chunks have no statistics of their own
    with torch.no_grad():
        for module in method.modules():
            if type(module).__name__ == "BranchedBatchNorm":
                module.clean.weight.mul_(2)
    out = method.outputs_of(crops, crops, BATCH)
    out["z"].square().mul(torch.arange(8)).sum().backward()
    gradient = method.backbone.conv1.weight.grad.clone()
    method.zero_grad()
    method.chunk = None
    method.outputs_of(crops, crops, BATCH)["z"].square().mul(torch.arange(8)).sum().backward()
    torch.testing.assert_close(gradient, method.backbone.conv1.weight.grad)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone.batch_norms": 2}, "has no clean view"),
        ({"backbone.batch_norms": 2, "adversary.views": "twins"}, "use adversary.forward=separate"),
        ({"backbone.batch_norms": 3}, "must be 1, or 2"),
        ({"adversary.forward": "jointly"}, "Did you mean 'joint'"),
        ({"adversary.views": "twin"}, "Did you mean 'twins'"),
        ({"crops.num_crops": 1}, "at least 2"),
        (MOMENTUM, "use adversary.forward=separate"),
        (
            {**MOMENTUM, "adversary.views": "second", "adversary.forward": "separate"},
            "use adversary.views=twins or all",
        ),
        (
            {**MOMENTUM, "crops.num_crops": 1, "adversary.forward": "separate"},
            "needs crops.num_crops of at least 2",
        ),
        (
            {**MOMENTUM, "teacher.kind": "average", "adversary.forward": "separate"},
            "use teacher.kind=none or network",
        ),
        ({"averaging.views": "second"}, "averaging.decay is 0"),
        ({**TWO, "backbone.name": "vit_tiny_patch16_224", "backbone.kwargs": {}}, "has none"),
    ],
)
def test_mistakes(build, changes, words):
    with pytest.raises(UserError, match=words):
        build("cfamc", **changes)
