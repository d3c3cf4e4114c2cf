"""A figure that another loss would lower is called an upper bound, and no other is."""

from dataclasses import replace

import pytest

from solo_adv.evaluation import RobustSettings, evaluate_robustness, probe
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.trust.remarks import other_loss_breaks_more


@pytest.fixture
def probes(pattern_net, pattern_set):
    settings = RobustSettings(epsilons=("8/255",))
    bench = Bench(pattern_net(), pattern_set(60, seed=1))
    return probe(bench, num_classes=5, ball=settings.shown, steps=3, step_size=0.01)


def test_only_a_difference_beyond_chance_is_remarked(probes):
    told = {"steps_correct": 40, "margin_correct": 29, "broken_by_margin": 12}
    weak = replace(probes, **told, repaired_by_margin=1)
    remark = other_loss_breaks_more(weak, "cross_entropy")
    assert "on the cross-entropy, as here, leaves 40 of 60 probed images right, and 29 on" in remark
    assert "attack_loss=both" in remark
    assert "\n" not in remark
    assert other_loss_breaks_more(weak, "margin") is None
    even = replace(probes, **told, repaired_by_margin=8)  # 12 against 8 is chance
    assert other_loss_breaks_more(even, "cross_entropy") is None
    other = replace(probes, repaired_by_margin=12, broken_by_margin=1)
    assert "on the margin between logits, as here" in other_loss_breaks_more(other, "margin")
    assert other_loss_breaks_more(other, "cross_entropy") is None


@pytest.fixture
def judge(linear_bench):
    """A function that judges a linear classifier whose logits are proportional to ``scale``."""

    def judged(scale, **settings):
        bench = linear_bench(scale)
        return evaluate_robustness(
            bench.classifier.encoder,
            bench.images.subset(range(300)),
            bench.images,
            RobustSettings(**{"epsilons": ("4/255",), "steps": 5, **settings}),
            method="cfamc",
            checkpoint="",
            pretrain_config={},
            device="cpu",
            head=bench.classifier.head,
            quiet=True,
        ).report

    return judged


def notes(report):
    return {m.label: m.notes for m in report.attacks}


def test_a_flat_softmax_is_remarked_where_nothing_stronger_ran(judge):
    flat = judge(1e-3)
    ((label, (note,)),) = notes(flat).items()
    assert label == "PGD-5 at 4/255"
    assert note.startswith("An upper bound. PGD-5 at 4/255 on the cross-entropy, as here")
    assert flat.alarms == []
    both = judge(1e-3, attack_loss="both")
    assert notes(both) == {"PGD-5 at 4/255": (), "PGD-5 (both losses) at 4/255": ()}
    usual, worst = both.attacks
    assert usual.figure == flat.attacks[0].figure
    assert worst.correct < usual.correct
    assert notes(judge(1.0)) == {"PGD-5 at 4/255": ()}
