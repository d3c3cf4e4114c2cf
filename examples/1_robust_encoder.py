# %% [markdown]
# # A robust encoder, and how it fails under attack
#
# We load a small encoder that was trained without labels on handwritten digits, look at images that an
# attack has changed, and see at which strength it fails. Everything comes with the package.

# %%
import matplotlib.pyplot as plt
import torch

from solo_adv import load_pretrained
from solo_adv.adversaries import PGD
from solo_adv.data import DataConfig, load_split
from solo_adv.evaluation import Bench, clean_accuracy, evaluate_pgd

# %% [markdown]
# The encoder has a linear head for the ten digits. Both take pixels in [0, 1].

# %%
classifier = load_pretrained("cfamc_resnet10w16_digits_m3", head="linear")
digits = load_split(DataConfig(dataset="digits", image_size=16), "test")
bench = Bench(classifier, digits).drawn(100)
print(f"without attack: {clean_accuracy(bench).top1.accuracy:.0%} of 100 images are right")

# %% [markdown]
# PGD ascends the loss in small steps and keeps every pixel within epsilon of its value. The accuracy
# falls with epsilon; the encoder withstands 8/255, a usual radius, and fails at several times that.

# %%
for n in (4, 8, 16, 32):
    accuracy = evaluate_pgd(bench, epsilon=n / 255, step_size=n / 1000, steps=10).accuracy
    print(f"PGD-10 at {n:2}/255: {accuracy:.0%} are still right")

# %% [markdown]
# What do such images look like? The attack is an object with one method, which takes any loss.

# %%
images, labels = next(bench.batches())
images, labels = images[:6], labels[:6]


def loss_of(pixels: torch.Tensor) -> torch.Tensor:
    """The loss that the attack ascends."""
    return torch.nn.functional.cross_entropy(classifier(pixels), labels, reduction="sum")


figure, axes = plt.subplots(3, len(images), figsize=(9, 5))
for row, n in zip(axes, (0, 8, 32), strict=True):
    delta = PGD(n / 255, n / 1000, steps=10).perturb(images, loss_of) if n else 0 * images
    seen = classifier(images + delta).argmax(dim=1)
    for axis, image, digit, truth in zip(row, images + delta, seen, labels, strict=True):
        axis.imshow(image.permute(1, 2, 0))
        axis.set_title(f"seen as {digit}", color="green" if digit == truth else "red")
        axis.axis("off")
    row[0].text(-0.3, 0.5, f"{n}/255", transform=row[0].transAxes, rotation=90, va="center")
plt.show()
