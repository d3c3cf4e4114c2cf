import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

from solo_adv.crops import as_unit_float
from solo_adv.data import ImageSet
from solo_adv.evaluation import Bench, evaluate_autoattack, evaluate_pgd
from solo_adv.evaluation.attacks import autoattack as module
from solo_adv.evaluation.attacks.autoattack import STANDS, WRONG
from solo_adv.evaluation.attacks.crafting import Crafting
from solo_adv.support.errors import UserError

EPSILON = 16 / 255


def shorter(ensemble):
    ensemble.square.n_queries = 60
    for attack in (ensemble.apgd, ensemble.apgd_targeted, ensemble.fab):
        attack.n_iter = 12
    return ensemble


@pytest.fixture
def short(monkeypatch):
    """Shortens the attacks, so that a test takes a second."""
    make = module._ensemble
    monkeypatch.setattr(module, "_ensemble", lambda *a: shorter(make(*a)))


def by_hand(net, image_set, batch_size, num_classes, shorten=lambda ensemble: ensemble):
    """Attack with pyautoattack alone; return the attacked images, and which are still right."""
    from pyautoattack import AutoAttack  # noqa: PLC0415

    def in_our_memory_format(images):  # other formats round differently
        return net(images.contiguous(memory_format=torch.channels_last))

    ensemble = AutoAttack(in_our_memory_format, eps=EPSILON, seed=5, version="standard")
    targets = min(9, num_classes - 1)
    ensemble.apgd_targeted.n_target_classes = ensemble.fab.n_target_classes = targets
    images = as_unit_float(image_set.images)
    attacked, seen = shorten(ensemble).run_standard_evaluation(
        images, image_set.labels, batch_size=batch_size
    )
    return attacked, seen == image_set.labels


def states(directory):
    (path,) = directory.glob("autoattack-*.json")
    return path, json.loads(path.read_text())


def passes_of(net):
    """Record every image that the network sees from now on, as bytes and in order."""
    seen = []
    hook = net.register_forward_pre_hook(
        lambda _, inputs: seen.extend(image.detach().numpy().tobytes() for image in inputs[0])
    )
    return seen, hook


@pytest.mark.parametrize("batch_size", [7, 64])
@pytest.mark.usefixtures("short")
def test_equals_pyautoattack_by_hand(monkeypatch, pattern_net, pattern_set, tmp_path, batch_size):
    net, image_set = pattern_net(), pattern_set(40, seed=1)
    attack, made = module._attack, []

    def noted(ensemble, name, images, labels):
        made.append((images, attack(ensemble, name, images, labels)))
        return made[-1][1]

    monkeypatch.setattr(module, "_attack", noted)
    ours, hook = passes_of(net)
    result = evaluate_autoattack(
        Bench(net, image_set, batch_size=batch_size, crafting=Crafting(fold=False)),
        epsilon=EPSILON,
        directory=tmp_path,
    )
    hook.remove()
    theirs, hook = passes_of(net)
    _, standing = by_hand(net, image_set, batch_size, 5, shorter)
    hook.remove()
    verdicts = torch.tensor(states(tmp_path)[1]["verdicts"])
    assert torch.equal(verdicts == STANDS, standing)
    changed = [
        b
        for before, after in made
        for a, b in zip(before, after, strict=True)
        if not torch.equal(a, b)
    ]
    assert len(changed) == int((verdicts >= 0).sum())
    # The random starts and steps are the same, so the network sees the same images equally often.
    assert Counter(ours) == Counter(theirs)
    assert {image.numpy().tobytes() for image in changed} <= set(theirs)
    assert 2 < result.correct == int(standing.sum()) < 36
    assert result.total == 40
    assert result.name == "AutoAttack"
    assert result.radius == "16/255"
    assert set(result.details) == {"apgd-ce", "apgd-t", "fab-t", "square"}
    wrong = int((verdicts == WRONG).sum())
    assert result.correct + wrong + sum(result.details.values()) == 40
    of_class = [standing[image_set.labels == label] for label in range(5)]
    assert result.classes.correct == tuple(int(right.sum()) for right in of_class)
    assert result.classes.total == tuple(map(len, of_class))


@pytest.mark.usefixtures("short")
def test_folded_batch_norms_do_not_change_the_verdicts(pattern_net, pattern_set, tmp_path):
    net, image_set = pattern_net(), pattern_set(40, seed=1)
    verdicts = []
    for fold in (True, False):
        bench = Bench(net, image_set, crafting=Crafting(fold=fold))
        evaluate_autoattack(bench, epsilon=EPSILON, directory=tmp_path / str(fold))
        verdicts.append(states(tmp_path / str(fold))[1]["verdicts"])
    assert verdicts[0] == verdicts[1]


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [5, 10])
def test_equals_pyautoattack_by_hand_with_all_steps(pattern_net, pattern_set, num_classes):
    net, image_set = pattern_net(num_classes), pattern_set(60, num_classes, seed=1)
    result = evaluate_autoattack(Bench(net, image_set, batch_size=25), epsilon=EPSILON)
    assert 2 < result.correct == int(by_hand(net, image_set, 25, num_classes)[1].sum())
    assert result.correct <= evaluate_pgd(Bench(net, image_set), epsilon=EPSILON).correct


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_compiled_passes_give_the_same_verdicts(pattern_net, pattern_set):
    net, image_set = pattern_net(), pattern_set(40, seed=1)
    bench = Bench(net, image_set, batch_size=16)
    plain = evaluate_autoattack(bench, epsilon=EPSILON)
    compiled = replace(bench, crafting=Crafting(compile=True))
    compiled = evaluate_autoattack(compiled, epsilon=EPSILON)
    assert abs(compiled.correct - plain.correct) <= 1  # rounding may differ


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "after", [1, pytest.param(6, marks=pytest.mark.slow), pytest.param(13, marks=pytest.mark.slow)]
)
def test_killed_and_resumed_it_gives_the_same(
    monkeypatch, pattern_net, pattern_set, tmp_path, after
):
    bench = Bench(pattern_net(), pattern_set(40, seed=1), batch_size=9)
    straight = evaluate_autoattack(bench, epsilon=EPSILON, directory=tmp_path / "straight")
    attack, ran = module._attack, []

    def dies(*arguments):
        if len(ran) == after:
            raise Killed
        ran.append(1)
        return attack(*arguments)

    monkeypatch.setattr(module, "_attack", dies)
    broken = tmp_path / "broken"
    with pytest.raises(Killed):
        evaluate_autoattack(bench, epsilon=EPSILON, directory=broken)
    monkeypatch.setattr(module, "_attack", lambda *a: ran.append(1) or attack(*a))
    resumed = evaluate_autoattack(bench, epsilon=EPSILON, directory=broken)
    assert (resumed.correct, resumed.details) == (straight.correct, straight.details)
    verdicts = [states(tmp_path / name)[1]["verdicts"] for name in ("straight", "broken")]
    assert verdicts[0] == verdicts[1]
    total = len(ran)
    again = evaluate_autoattack(bench, epsilon=EPSILON, directory=broken)
    assert again.correct == straight.correct
    assert len(ran) == total  # neither resuming nor this call attacked anything twice
    ran.clear()
    evaluate_autoattack(bench, epsilon=EPSILON)
    assert len(ran) == total


def test_a_state_belongs_to_one_evaluation(short, pattern_net, pattern_set, tmp_path):
    bench = Bench(pattern_net(), pattern_set(12, seed=1), batch_size=50)
    images = bench.images
    evaluate_autoattack(bench, epsilon=EPSILON, directory=tmp_path)
    first, state = states(tmp_path)
    flipped = ImageSet("x", images.labels, (), images=images.images.flip(3))
    others = [
        *(
            (replace(bench, **change), EPSILON, "linf")
            for change in (
                {"classifier": pattern_net(seed=1)},
                {"images": flipped},
                {"seed": 6},
                {"batch_size": 10},
            )
        ),
        (bench, 0.01, "linf"),
        (bench, EPSILON, "l2"),
    ]
    for other, epsilon, norm in others:
        before = set(tmp_path.iterdir())
        evaluate_autoattack(other, epsilon=epsilon, norm=norm, directory=tmp_path)
        (new,) = set(tmp_path.iterdir()) - before
        # The state of another evaluation is refused under this one's name.
        new.write_text(json.dumps(state))
        with pytest.raises(UserError, match="another evaluation"):
            evaluate_autoattack(other, epsilon=epsilon, norm=norm, directory=tmp_path)
    first.write_text('{"fingerprint"')
    with pytest.raises(UserError, match="damaged"):
        evaluate_autoattack(bench, epsilon=EPSILON, directory=tmp_path)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("num_classes", "names"),
    [
        (2, ["apgd-ce", "fab-t", "square"]),
        (3, ["apgd-ce", "apgd-dlr", "fab-t", "square"]),
        (4, ["apgd-ce", "apgd-t", "fab-t", "square"]),
        (12, ["apgd-ce", "apgd-t", "fab-t", "square"]),
    ],
)
def test_any_number_of_classes(monkeypatch, pattern_net, pattern_set, num_classes, names):
    targets = []
    make = module._ensemble
    monkeypatch.setattr(module, "_ensemble", lambda *a: targets.append(make(*a)) or targets[-1])
    net, image_set = pattern_net(num_classes), pattern_set(24, num_classes, seed=1)
    result = evaluate_autoattack(Bench(net, image_set), epsilon=EPSILON)
    assert list(result.details) == names
    assert bool(result.notes) == (num_classes < 4)
    (ensemble,) = targets
    assert ensemble.apgd_targeted.n_target_classes == min(9, num_classes - 1)
    assert ensemble.fab.n_target_classes == min(9, num_classes - 1)


def test_leaves_no_trace(short, pattern_net, pattern_set):
    net = pattern_net().requires_grad_(True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    evaluate_autoattack(Bench(net, pattern_set(12, seed=1)), epsilon=EPSILON)
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_what_lies_outside_the_ball_does_not_count(short, monkeypatch, pattern_net, pattern_set):
    net, image_set = pattern_net(), pattern_set(20, seed=1)
    fair = evaluate_autoattack(Bench(net, image_set), epsilon=EPSILON)
    other = image_set.images.roll(1, 0).float() / 255  # images of another class
    monkeypatch.setattr(module, "_attack", lambda e, n, x, y: other[: len(x)])
    unfair = evaluate_autoattack(Bench(net, image_set), epsilon=1e-4)
    assert unfair.correct >= fair.correct
    assert "were projected back" in " ".join(unfair.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"epsilon": 8}, "8/255"), ({"epsilon": 0}, "above 0"), ({"norm": "l3"}, "l3")],
)
def test_bad_settings(pattern_net, pattern_set, change, message):
    with pytest.raises(UserError, match=message):
        evaluate_autoattack(Bench(pattern_net(), pattern_set(8)), **{"epsilon": EPSILON, **change})


def test_refuses_training_mode_and_unwritable_directories(
    short, pattern_net, pattern_set, tmp_path
):
    net = pattern_net()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write AutoAttack's state"):
        evaluate_autoattack(
            Bench(net, pattern_set(8)), epsilon=EPSILON, directory=tmp_path / "file" / "x"
        )
    net.encoder[1].train()
    with pytest.raises(UserError, match="training mode"):
        evaluate_autoattack(Bench(net, pattern_set(8)), epsilon=EPSILON)
