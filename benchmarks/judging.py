"""How the comparisons of methods judge an encoder."""

from dataclasses import replace

from benchmarks.record import device
from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier
from solo_adv.encoders.encoder import Encoder
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.judging import clean_accuracy, pgd_in_turn, pgd_runs
from solo_adv.evaluation.attacks.losses import CHOICES
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.heads.linear import HeadRecipe, train_head
from solo_adv.support.logistic import fit_logistic

TEST_IMAGES = 1_000
EPSILONS = ("4/255", "8/255")
BOTH = "both losses"
"""Under PGD on the cross-entropy and then also on the margin between logits."""
R_LE = HeadRecipe(lr=1e-3, batch_size=128, epochs=4, min_updates=0)
R_LE_IMAGES = 40_000
"""About so many attacked images train a robust head, so that more images take fewer epochs."""


def judged(
    encoder: Encoder, train_set: ImageSet, test_set: ImageSet, test_images: int = TEST_IMAGES
) -> dict[str, float]:
    """Accuracy in percent of a converged linear head on clean and attacked test images."""
    encoder = encoder.to(device())
    features, labels = extract(encoder, train_set, 500, device())
    head, steepest = fit_logistic(features, labels, train_set.num_classes)
    found = attacked(Classifier(encoder, head), test_set, test_images)
    return {**found, "head_gradient": round(steepest, 6)}


def judged_by_robust_head(
    encoder: Encoder, train_set: ImageSet, test_set: ImageSet, test_images: int = TEST_IMAGES
) -> dict[str, float]:
    """The same of a head that is trained on images attacked by PGD-5 at 8/255."""
    encoder = encoder.to(device())
    epochs = max(1, min(R_LE.epochs, round(R_LE_IMAGES / len(train_set))))
    head = train_head(
        encoder,
        train_set,
        num_classes=train_set.num_classes,
        features_dim=encoder.features_dim,
        recipe=replace(R_LE, epochs=epochs),
        adversary=PGD("8/255", "2/255", 5, batch_norm="eval"),
        device=device(),
        seed=5,
    )
    return attacked(Classifier(encoder, head), test_set, test_images)


def attacked(classifier: Classifier, test_set: ImageSet, test_images: int) -> dict[str, float]:
    """Accuracy in percent of a classifier on clean and attacked test images."""
    bench = Bench(classifier, test_set, 250, device()).drawn(test_images)
    found = {"clean": 100 * clean_accuracy(bench).top1.accuracy}
    for epsilon in EPSILONS:
        found[epsilon], found[f"{epsilon}, {BOTH}"] = under_pgd(bench, epsilon)
    return {name: round(value, 6) for name, value in found.items()}


def under_pgd(bench: Bench, epsilon: str) -> tuple[float, float]:
    """Accuracy in percent under PGD-20 on the cross-entropy, and in the worst case with margins."""
    runs = pgd_runs(epsilon, "2/255", 20, random_start=True, restarts=1, norm="linf")
    usual, worst = pgd_in_turn(bench, runs, CHOICES["both"])
    return 100 * usual.accuracy, 100 * worst.accuracy


def cell(figure: float | None) -> str:
    """A figure in a table; a dash if it was not measured."""
    return "-" if figure is None else f"{figure:.1f}"
