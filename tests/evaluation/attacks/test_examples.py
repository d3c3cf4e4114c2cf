"""Examples are attacked in batches, and are the same whatever the size of the batch."""

import torch
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation import Bench
from solo_adv.evaluation.attacks.examples import attack_examples


def test_the_size_of_a_batch_changes_nothing(random_set):
    torch.manual_seed(0)
    classifier = Classifier(nn.Flatten(), nn.Linear(48, 3)).eval()
    image_set = random_set(30)
    image_set.classes = ("cat", "dog", "car")
    found = [
        attack_examples(
            Bench(classifier, image_set, batch_size=size), PGD("8/255", 0.01, 5, batch_norm="eval")
        )
        for size in (5, 100)
    ]
    assert [len(examples.truth) for examples in found] == [24, 24]
    assert torch.equal(found[0].clean, found[1].clean)
    assert torch.allclose(found[0].attacked, found[1].attacked, atol=1e-6)
    assert found[0].after == found[1].after
    assert set(found[0].truth) <= set(image_set.classes)


def test_the_first_examples(random_set):
    torch.manual_seed(0)
    classifier = Classifier(nn.Flatten(), nn.Linear(48, 3)).eval()
    examples = attack_examples(
        Bench(classifier, random_set(8)), PGD("8/255", 0.01, 2, batch_norm="eval")
    )
    first = examples.first(3)
    assert torch.equal(first.attacked, examples.attacked[:3])
    assert (first.truth, first.after, first.ball) == (
        examples.truth[:3],
        examples.after[:3],
        examples.ball,
    )
    assert len(examples.first(100).truth) == 8
