"""Methods of other papers take the updates that their published code takes, in float64.

Each update is rewritten plainly here, from the papers' formulas and their code's hyper-parameters.
The crops keep a distance from black and white, because the published attacks start without regard
to the pixel box and ours inside it.

Source:
    ACL: https://github.com/VITA-Group/Adversarial-Contrastive-Learning, ``train_simCLR.py``.
    DeACL: https://github.com/pantheon5100/DeACL, ``mocov2_distillation_AT.py``.
    DynACL: https://github.com/PKU-ML/DYNACL, ``train_DynACL.py`` and ``models/resnet_multi_bn.py``.
    FARE: https://github.com/chs20/RobustVLM, ``train/adversarial_training_clip.py``.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solo_adv.methods.bank import Bank
from tests.methods.conftest import BATCH, SIZE, Images

UPDATES, STEPS = 3, 5
EPSILON, STEP = 8 / 255, 2 / 255
ATTACK = {
    **{"adversary.epsilon": "8/255", "adversary.step_size": "2/255", "adversary.steps": STEPS},
    **{"adversary.random_start": True, "adversary.batch_norm": "eval"},
}


class Network(nn.Module):
    """Backbone and, if there is one, projector of a method: from pixels to embeddings."""

    def __init__(self, networks):
        super().__init__()
        self.backbone, self.projector = networks.backbone, networks.projector

    def forward(self, pixels):
        features = self.backbone(pixels)
        return features if self.projector is None else self.projector(features)[1]


def drawn(views):
    """Crops (UPDATES, views * BATCH, 3, SIZE, SIZE), and where the attack on each starts."""
    generator = torch.Generator().manual_seed(1)
    shape = (UPDATES, views * BATCH, 3, SIZE, SIZE)
    crops, start = torch.rand(2, *shape, dtype=torch.float64, generator=generator)
    return 0.1 + 0.8 * crops, (2 * start - 1) * EPSILON


def train(method, fit, crops, starts, monkeypatch):
    """Train our method on the crops, with the attacks starting where they are told to."""
    batches, noise = iter(crops), iter(starts)
    method.crops = lambda images: next(batches).clone()
    ball = type(method.adversary.ball)
    monkeypatch.setattr(ball, "start", lambda self, images, generator: next(noise).clone())
    fit(method, batches=UPDATES, precision="64-true")


def attacked(network, crops, delta, loss_of):
    """PGD from ``delta``, with the network's batch norms in eval mode."""
    network.eval()
    for _ in range(STEPS):
        delta = delta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(network(crops + delta)), delta)
        delta = (delta + STEP * gradient.sign()).clamp(-EPSILON, EPSILON)
        delta = (crops + delta).clamp(0, 1) - crops
    network.train()
    return delta.detach()


def nt_xent(z, temperature=0.5):
    """Cross-entropy of each view's similarities, in which its pair is the right answer."""
    z = F.normalize(z, dim=1)
    similarity = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(similarity, torch.arange(len(z)).roll(len(z) // 2))


@torch.no_grad()
def lars(weights, velocity, rate=2.0, momentum=0.9, decay=1e-6, eta=0.001):
    """LARS that adapts every parameter, biases included.

    Only for a bias before a batch norm, whose gradient is rounding noise, it matters that the
    published one leaves gradients below 1e-15 unscaled and that timm's adds 1e-8 to the
    divisor. Here it is as in timm.
    """
    for name, weight in weights.items():
        norm, slope = weight.norm(), weight.grad.norm()
        local = eta * norm / (slope + decay * norm + 1e-8) if norm > 0 and slope > 0 else 1.0
        step = rate * local * (weight.grad + decay * weight)
        velocity[name] = momentum * velocity.get(name, 0) + step
        weight.sub_(velocity[name])
        weight.grad = None


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
DUAL = {
    **ATTACK,
    **{"backbone.batch_norms": 2, "method_kwargs.temperature": 0.5},
    **{"optimizer.name": "lars", "optimizer.weight_decay": 1e-6, "optimizer.lr": 2.0},
    **{"optimizer.kwargs": {"momentum": 0.9, "eta": 0.001, "clip_lr": False}},
}


def streams(networks):
    """Two networks, for clean and attacked crops, that share all weights but their batch norms'.

    Args:
        networks: has a backbone and a projector with two batch norms.

    Returns:
        The network for clean crops, that for attacked ones, and all weights by a name.
    """
    clean = Network(copy.deepcopy(networks))
    for module in list(clean.modules()):
        for name, child in list(module.named_children()):
            if hasattr(child, "attacked"):
                setattr(module, name, child.attacked)
    perturbed = copy.deepcopy(clean)
    shared = {}
    for (name, one), other in zip(clean.named_modules(), perturbed.modules(), strict=True):
        for key, weight in list(one._parameters.items()):
            if weight is None:
                continue
            if isinstance(one, NORMS):
                shared[f"clean {name}.{key}"] = weight
                shared[f"attacked {name}.{key}"] = other._parameters[key]
            else:
                shared[f"{name}.{key}"] = other._parameters[key] = weight
    return clean.train(), perturbed.train(), shared


def assert_same(networks, clean, perturbed):
    """Assert that weights and statistics are those of two plain networks."""
    ours = Network(networks).state_dict()
    for name, value in perturbed.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-9)
    branches = {key: value for key, value in ours.items() if "clean." in key}
    assert len(branches) == sum(5 for m in clean.modules() if isinstance(m, NORMS))
    for key, value in branches.items():
        theirs = clean.state_dict()[key.replace("clean.", "")]
        torch.testing.assert_close(value, theirs, rtol=1e-6, atol=1e-9)
    assert not torch.equal(clean.state_dict()["backbone.bn1.weight"], ours["backbone.bn1.weight"])


def invariance(first, second, divergence):
    """KL of the paper, or the code's version of it, between two products of softmaxes (B,)."""
    if divergence == "paper":
        return (first * (first / second).log()).sum()
    return F.kl_div(first, second.log(), log_target=True, reduction="sum")


def air(z, z_attacked, plain, divergence, temperature=0.5):
    """Half the sum of SIR and AIR, with the published weights of 0.5."""
    z, a, o = (F.normalize(part, dim=1) for part in (z, z_attacked, plain))

    def shares(one, other):
        cosines = (one @ other.T).diagonal()
        return F.softmax(cosines / temperature, 0)

    clean = [shares(view, o) for view in z.chunk(2)]
    both = [
        shares(view, o) * shares(view, own)
        for view, own in zip(a.chunk(2), z.chunk(2), strict=True)
    ]
    return (0.5 * invariance(*clean, divergence) + 0.5 * invariance(*both, divergence)) / 2


@pytest.mark.parametrize("divergence", [None, "paper", "code"])
def test_acl(build, fit, monkeypatch, divergence):
    more = {"method_kwargs.sir": 0.5, "method_kwargs.air": 0.5}
    more["method_kwargs.divergence"] = divergence
    method = build("acl", **DUAL, **(more if divergence else {})).double()
    clean, perturbed, shared = streams(method)
    velocity, losses = {}, []
    monkeypatch.setattr(type(method), "_watch", lambda self, loss: losses.append(loss.item()))

    crops, starts = drawn(views=2)
    images = (Images(UPDATES).x.float() / 255).double().split(BATCH)
    train(method, fit, crops, starts, monkeypatch)
    for update, (batch, start) in enumerate(zip(crops, starts, strict=True)):
        delta = attacked(perturbed, batch, start, nt_xent)
        z_attacked, z = perturbed(batch + delta), clean(batch)
        loss = (nt_xent(z_attacked) + nt_xent(z)) / 2
        if divergence:
            loss = loss + air(z, z_attacked, clean(images[update]), divergence)
        loss.backward()
        assert losses[update] == pytest.approx(loss.item(), rel=1e-6)
        lars(shared, velocity)

    assert_same(method, clean, perturbed)


class OnlineAndMomentum(nn.Module):
    """Passes the first half of the crops through one network, the second through another."""

    def __init__(self, online, momentum):
        super().__init__()
        self.online, self.momentum = online, momentum

    def forward(self, pixels):
        first, second = pixels.chunk(2)
        return torch.cat([self.online(first), self.momentum(second)])


def test_dynacl(build, fit, monkeypatch):
    method = build(
        "dynacl",
        **{**DUAL, "averaging.decay": 0.9, "averaging.views": "second"},
        **{"method_kwargs.shift": 2 / 3, "method_kwargs.stages": 20},
    ).double()
    online, momentum = streams(method), streams(method.averaged)
    clean, perturbed = map(OnlineAndMomentum, online[:2], momentum[:2])
    velocity, losses = {}, []
    monkeypatch.setattr(type(method), "_watch", lambda self, loss: losses.append(loss.item()))

    crops, starts = drawn(views=2)
    train(method, fit, crops, starts, monkeypatch)
    for update, (batch, start) in enumerate(zip(crops, starts, strict=True)):
        delta = attacked(perturbed, batch, start, nt_xent)
        z_perturbed, z_clean = perturbed(batch + delta), clean(batch)
        with torch.no_grad():
            for name, weight in momentum[2].items():
                weight.copy_(weight * 0.9 + online[2][name] * 0.1)
        weight = 1 + 2 / 3 * [0, 6 / 20, 13 / 20][update]
        loss = (nt_xent(z_clean) * (2 - weight) + nt_xent(z_perturbed) * weight) / 2
        loss.backward()
        assert losses[update] == pytest.approx(loss.item(), rel=1e-6)
        lars(online[2], velocity)

    assert_same(method, *online[:2])
    assert_same(method.averaged, *momentum[:2])
    assert method.averaged.backbone.bn1.clean.num_batches_tracked == UPDATES


@pytest.fixture
def teacher(build, fit, tmp_path):
    """The checkpoint of a trained method of the same network."""
    fit(build("emp_ssl"), batches=2).save_checkpoint(tmp_path / "teacher.ckpt")
    return str(tmp_path / "teacher.ckpt")


def replays_of_deacl(student, batch, start, target):
    """DeACL: five steps, then one update."""
    yield attacked(student, batch, start, lambda z: -F.cosine_similarity(z, target).sum())


def replays_of_deacl_fast(student, batch, start, target):
    """N-FGSM: noise, one step of epsilon without projection onto the ball, then one update."""
    student.eval()
    start = start.detach().requires_grad_()
    loss = -F.cosine_similarity(student(batch + start), target).sum()
    (gradient,) = torch.autograd.grad(loss, start)
    student.train()
    yield (batch + start + EPSILON * gradient.sign()).clamp(0, 1).detach() - batch


def replays_of_deacl_freeadv(student, batch, start, target):
    """Free training: three updates, each of whose gradients also moves the perturbation."""
    carried = vars(student).setdefault("carried", start)
    for _ in range(3):
        carried = ((batch + carried).clamp(0, 1) - batch).requires_grad_()
        yield carried
        carried = (carried + STEP * carried.grad.sign()).clamp(-EPSILON, EPSILON).detach()
        student.carried = carried = (batch + carried).clamp(0, 1) - batch


@pytest.mark.parametrize(
    ("name", "replays", "attack"),
    [
        ("deacl", replays_of_deacl, ATTACK),
        ("deacl_fast", replays_of_deacl_fast, {"adversary.batch_norm": "eval"}),
        ("deacl_freeadv", replays_of_deacl_freeadv, {"adversary.step_size": "2/255"}),
    ],
)
def test_deacl_and_its_variants(build, fit, monkeypatch, teacher, name, replays, attack):
    method = build(
        name,
        **attack,
        **{"teacher.kind": "network", "teacher.checkpoint": teacher},
        **{"teacher.features": "backbone", "teacher.start_student": True, "crops.num_crops": 1},
        **{"optimizer.lr": 0.5, "optimizer.weight_decay": 5e-4},
        **{"optimizer.kwargs": {"momentum": 0.9}},
    ).double()
    taught_by = method.teacher.encoder.backbone.double()
    student = copy.deepcopy(taught_by).requires_grad_(True).train()
    start_weights = copy.deepcopy(student.state_dict())
    optimizer = torch.optim.SGD(student.parameters(), 0.5, momentum=0.9, weight_decay=5e-4)

    crops, starts = drawn(views=1)
    if name == "deacl_freeadv":  # without perturbation the gradient has only rounding errors
        method.adversary.delta = starts[0].clone()
    train(method, fit, crops, starts, monkeypatch)
    for batch, start in zip(crops, starts, strict=True):
        target = taught_by(batch).detach()
        for delta in replays(student, batch, start, target):
            features, perturbed = student(torch.cat([batch, batch + delta])).chunk(2)
            loss = -F.cosine_similarity(features, target).mean()
            loss = loss - 2 * F.cosine_similarity(perturbed, features).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    for key, value in student.state_dict().items():
        torch.testing.assert_close(
            method.backbone.state_dict()[key], value, rtol=1e-6, atol=1e-9, msg=key
        )
    moved = student.state_dict()["conv1.weight"] - start_weights["conv1.weight"]
    assert moved.abs().max() > 1e-3


def test_fare(build, fit, monkeypatch, teacher):
    steps, epsilon, step = 10, 4 / 255, 1 / 255
    method = build(
        "fare",
        **{"adversary.epsilon": "4/255", "adversary.step_size": "1/255", "adversary.steps": steps},
        **{"adversary.random_start": True, "adversary.batch_norm": "eval"},
        **{"teacher.kind": "network", "teacher.checkpoint": teacher},
        **{"teacher.features": "backbone", "teacher.start_student": True, "crops.num_crops": 1},
        **{"optimizer.name": "adamw", "optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-4},
    ).double()
    original = method.teacher.encoder.backbone.double()
    student = copy.deepcopy(original).requires_grad_(True)
    start_weights = copy.deepcopy(student.state_dict())
    optimizer = torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=1e-4)

    crops, starts = drawn(views=1)
    starts = starts / 2  # of half the epsilon
    losses = []
    monkeypatch.setattr(method, "_watch", lambda loss: losses.append(loss.item()))
    train(method, fit, crops, starts, monkeypatch)
    for batch, start, ours in zip(crops, starts, losses, strict=True):
        target = original(batch).detach()
        delta, velocity = start, torch.zeros_like(start)
        student.eval()
        for _ in range(steps):
            delta = delta.detach().requires_grad_()
            loss = F.mse_loss(student(batch + delta), target, reduction="none").sum(1).mean()
            (gradient,) = torch.autograd.grad(loss, delta)
            # The published attack has momentum on signs; it never changes a sign.
            velocity = (0.9 * velocity + gradient.sign()).sign()
            delta = (delta + step * velocity).clamp(-epsilon, epsilon)
            delta = (batch + delta).clamp(0, 1) - batch
        student.train()
        features = student(batch + delta.detach())
        loss = F.mse_loss(features, target, reduction="none").sum(1).mean()
        assert ours == pytest.approx(loss.item(), rel=1e-6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for name, value in student.state_dict().items():
        torch.testing.assert_close(
            method.backbone.state_dict()[name], value, rtol=1e-6, atol=1e-9, msg=name
        )
    moved = student.state_dict()["conv1.weight"] - start_weights["conv1.weight"]
    assert moved.abs().max() > 1e-4


def test_dynacl_pp(build, fit, monkeypatch, tmp_path):
    """TRADES on clusters. The clean and the attacked crops pass one after the other."""
    finished = build("emp_ssl", **{"optimizer.lr": 1e-3})
    fit(finished, batches=2).save_checkpoint(tmp_path / "teacher.ckpt")
    teacher = str(tmp_path / "teacher.ckpt")
    method = build(
        "dynacl_pp",
        **{**ATTACK, "adversary.steps": 10},
        **{"teacher.kind": "bank", "teacher.checkpoint": teacher, "teacher.features": "backbone"},
        **{"teacher.start_student": True, "teacher.crops": 1, "teacher.min_scale": 1.0},
        **{"teacher.center": False, "teacher.clusters": 3, "crops.num_crops": 1},
        **{"optimizer.lr": 0.01, "optimizer.weight_decay": 1e-4},
        **{"optimizer.kwargs": {"momentum": 0.9}},
    ).double()
    student = copy.deepcopy(method.backbone).train()
    start_weights = copy.deepcopy(student.state_dict())
    losses = []
    monkeypatch.setattr(method, "_watch", lambda loss: losses.append(loss.item()))

    crops, starts = drawn(views=1)
    train(method, fit, crops, starts, monkeypatch)
    clusters, head = method.bank.clusters, torch.nn.Linear(student.num_features, 3).double()
    head.load_state_dict(Bank(method.bank.targets.float(), clusters=clusters).head().state_dict())
    trained = [*student.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(trained, 0.01, momentum=0.9, weight_decay=1e-4)
    for number, (batch, start) in enumerate(zip(crops, starts, strict=True)):
        student.eval()
        delta = start
        clean = head(student(batch)).detach().softmax(1)
        for _ in range(10):
            delta = delta.detach().requires_grad_()
            attacked_logits = head(student(batch + delta)).log_softmax(1)
            loss = F.kl_div(attacked_logits, clean, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = (delta + STEP * gradient.sign()).clamp(-EPSILON, EPSILON)
            delta = (batch + delta).clamp(0, 1) - batch
        student.train()
        clean, perturbed = head(student(batch)), head(student(batch + delta.detach()))
        labels = clusters[number * BATCH : (number + 1) * BATCH]
        # The logits lie hundreds apart, so log(softmax) would be minus infinity.
        p, q = clean.log_softmax(1), perturbed.log_softmax(1)
        divergence = (p.exp() * (p - q)).sum(1).mean()
        loss = F.cross_entropy(clean, labels) + 6 * divergence
        assert losses[number] == pytest.approx(loss.item(), rel=1e-6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for ours, theirs in ((method.backbone, student), (method.head, head)):
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-6, atol=1e-9, msg=key)
    moved = student.state_dict()["conv1.weight"] - start_weights["conv1.weight"]
    assert moved.abs().max() > 1e-3
