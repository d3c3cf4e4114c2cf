"""Precision and compilation of attacks: what they change, and what they must not change."""

from dataclasses import replace

import pytest
import torch

from solo_adv.adversaries import PGD
from solo_adv.crops import as_unit_float
from solo_adv.evaluation import Bench, HeadRecipe, RobustSettings, evaluate_pgd, train_head
from solo_adv.evaluation.attacks.crafting import Crafting
from solo_adv.support.errors import UserError

EPSILON = 16 / 255
BF16 = Crafting(precision="bf16-mixed")


def spied(classifier):
    """Record the type of a convolution's output in every pass, which shows the precision."""
    seen = []
    classifier.encoder[0].register_forward_hook(lambda *a: seen.append(a[2].dtype))
    return seen


def test_unfolded_and_uncompiled_the_network_is_the_classifier_itself(pattern_net, pattern_set):
    net = pattern_net()
    assert Crafting(fold=False).network(net, as_unit_float(pattern_set(3).images)) is net
    assert Crafting().note is None


def test_the_perturbations_of_folded_and_unfolded_batch_norms_count_alike(pattern_net, pattern_set):
    net, image_set = pattern_net(), pattern_set(60, seed=1)
    images = as_unit_float(image_set.images)
    attacking = Crafting().network(net, images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in attacking.modules())
    torch.testing.assert_close(attacking(images), net(images), rtol=1e-5, atol=1e-5)
    with_norms, without = (
        evaluate_pgd(Bench(net, image_set, crafting=Crafting(fold=fold)), epsilon=EPSILON)
        for fold in (False, True)
    )
    assert with_norms.correct == without.correct < 50


def test_bfloat16_crafts_and_float32_judges(pattern_net, pattern_set):
    net, image_set = pattern_net(), pattern_set(30, seed=1)
    seen = spied(net)
    result = evaluate_pgd(Bench(net, image_set, crafting=BF16), epsilon=EPSILON, steps=4)
    # The first pass judges the clean images and the last one the perturbed images.
    assert seen == [torch.float32, *[torch.bfloat16] * 4, torch.float32]
    assert "upper bound" in " ".join(result.notes)
    seen.clear()
    assert not evaluate_pgd(
        Bench(net, image_set), epsilon=EPSILON, steps=4, step_size=EPSILON
    ).notes
    assert set(seen) == {torch.float32}


def test_an_attack_in_bfloat16_is_nearly_as_strong(pattern_net, pattern_set):
    net, image_set = pattern_net(), pattern_set(120, seed=1)
    full = evaluate_pgd(Bench(net, image_set), epsilon=EPSILON)
    coarse = evaluate_pgd(Bench(net, image_set, crafting=BF16), epsilon=EPSILON)
    clean = evaluate_pgd(Bench(net, image_set), epsilon=1e-4, steps=1)
    assert coarse.correct < clean.correct - 20
    assert abs(coarse.correct - full.correct) <= 4


def test_errors_of_the_network_in_bfloat16_alone_do_not_count(pattern_net, pattern_set):
    """The network is right in float32 only. A verdict in bfloat16 would call images broken."""

    class WrongInBfloat16(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, images):
            logits = self.net(images)
            return -logits if logits.dtype == torch.bfloat16 else logits

    image_set = pattern_set(30, seed=1)
    net = WrongInBfloat16(pattern_net()).eval()
    result = evaluate_pgd(Bench(net, image_set, crafting=BF16), epsilon=1e-4, steps=1)
    assert result.correct == evaluate_pgd(Bench(net, image_set), epsilon=1e-4, steps=1).correct > 20


def test_the_robust_head_learns_in_float32(pattern_net, pattern_set):
    net = pattern_net()
    seen = spied(net)
    recipe = HeadRecipe(lr=0.01, batch_size=50, epochs=1, min_updates=0)

    def head(**settings):
        return train_head(
            net.encoder,
            pattern_set(50),
            num_classes=5,
            features_dim=512,
            recipe=recipe,
            adversary=PGD(EPSILON, 0.01, 2, batch_norm="eval"),
            device="cpu",
            seed=5,
            **settings,
        )

    coarse = head(crafting=BF16)
    assert seen == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert coarse.weight.dtype == torch.float32
    exact = head()
    assert not torch.equal(coarse.weight, exact.weight)
    assert (coarse.weight - exact.weight).abs().max() < 0.05


def test_settings_are_checked_and_typed():
    assert RobustSettings().crafting == Crafting()
    assert RobustSettings(precision="bf16-mixed", compile=True).crafting == Crafting(
        precision="bf16-mixed", compile=True
    )
    with pytest.raises(UserError, match="bf16-mixed"):
        RobustSettings(precision="bf16")
    with pytest.raises(UserError, match="compile"):
        RobustSettings(compile="yes")


@pytest.mark.slow
def test_compiled_attacks_find_the_same_and_are_compiled_once(pattern_net, pattern_set):
    from torch._dynamo.utils import counters  # noqa: PLC0415

    net, image_set = pattern_net(), pattern_set(60, seed=1)
    counters.clear()
    for epsilon in (EPSILON, EPSILON / 2):
        bench = Bench(net, image_set, batch_size=25)  # 25, 25, then the rest
        plain = evaluate_pgd(bench, epsilon=epsilon)
        compiled = replace(bench, crafting=Crafting(compile=True))
        assert abs(evaluate_pgd(compiled, epsilon=epsilon).correct - plain.correct) <= 1
    # One graph for batches of 25 and one for any other size; both serve the second epsilon, too.
    assert counters["stats"]["unique_graphs"] <= 2
    assert not counters["graph_break"]
