# %% [markdown]
# # A robust encoder in your own PyTorch or Lightning loop
#
# An encoder is a module from pixels (N, 3, H, W) in [0, 1] to features (N, D). It is frozen when it is loaded.

# %%
import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from solo_adv import load_pretrained
from solo_adv.adversaries import PGD
from solo_adv.data import DataConfig, load_split
from solo_adv.support.cli import quiet_libraries

quiet_libraries()
torch.manual_seed(0)
encoder = load_pretrained("cfamc_resnet10w16_digits_m3", features="backbone")
print(encoder.num_features, "features; images of", encoder.image_size, "pixels")


def pixels_of(split: str, count: int) -> TensorDataset:
    """Some digits as pixels in [0, 1], and their labels."""
    digits = load_split(DataConfig(dataset="digits", image_size=16), split)
    images = torch.stack([torch.as_tensor(digits[i][0]) for i in range(count)])
    return TensorDataset(images.float() / 255, digits.labels[:count])


train_set, test_set = pixels_of("train", 600), pixels_of("test", 200)

# %% [markdown]
# ## Your own loop
#
# Only a linear head is trained. The features of frozen weights need no gradient.

# %%
head = nn.Linear(encoder.num_features, 10)
optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
for _epoch in range(10):
    for pixels, labels in DataLoader(train_set, batch_size=100, shuffle=True):
        with torch.no_grad():
            features = encoder(pixels)
        loss = nn.functional.cross_entropy(head(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %% [markdown]
# `PGD.perturb` attacks whatever you train: it takes the images and the loss to ascend, and leaves the
# gradients of your parameters alone.

# %%
pixels, labels = test_set.tensors
attack = PGD("8/255", steps=10)
delta = attack.perturb(
    pixels, lambda x: nn.functional.cross_entropy(head(encoder(x)), labels, reduction="sum")
)
for name, images in (("without attack", pixels), ("under PGD-10 at 8/255", pixels + delta)):
    right = (head(encoder(images)).argmax(dim=1) == labels).float().mean()
    print(f"{name}: {right:.0%}")

# %% [markdown]
# ## In Lightning, with fine-tuning
#
# `requires_grad_(True)` and `train()` make the encoder trainable. Here each batch is attacked first, so that
# the whole network learns on attacked images.


# %%
class FineTuned(lightning.LightningModule):
    """The encoder and a head, trained together on attacked images."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = load_pretrained("cfamc_resnet10w16_digits_m3", features="backbone")
        self.encoder.requires_grad_(True).train()
        self.head = nn.Linear(self.encoder.num_features, 10)
        self.attack = PGD("8/255", steps=2)

    def loss(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of pixels in [0, 1]."""
        return nn.functional.cross_entropy(self.head(self.encoder(pixels)), labels)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        pixels, labels = batch
        delta = self.attack.perturb(pixels, lambda x: self.loss(x, labels))
        return self.loss(pixels + delta, labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.001)


model = FineTuned()
trainer = lightning.Trainer(
    max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False
)
trainer.fit(model, DataLoader(train_set, batch_size=100, shuffle=True))
model.eval()
with torch.no_grad():
    right = (model.head(model.encoder(pixels)).argmax(dim=1) == labels).float().mean()
print(f"fine-tuned, without attack: {right:.0%}")
