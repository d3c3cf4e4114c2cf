import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from solo_adv.data import DataConfig, ResidentLoader, StreamingLoader
from solo_adv.data.datamodule import ImageDataModule
from solo_adv.support.errors import UserError


class Recorder(LightningModule):
    """Notes the indexes of every batch, and can save or stop after a given number of steps."""

    def __init__(self, save_at=None, path=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.validated = 0
        self.save_at, self.path = save_at, path

    def training_step(self, batch, batch_idx):
        index, (images,), targets = batch
        assert images.dtype == torch.uint8
        assert len(targets) == len(index)
        self.seen.append((self.current_epoch, index.tolist()))
        return self.weight * 1.0

    def on_train_batch_end(self, *args):
        if self.save_at == self.global_step:
            self.trainer.save_checkpoint(self.path)

    def validation_step(self, batch, batch_idx):
        images, targets = batch
        assert images.dtype == torch.uint8
        self.validated += len(targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, data, epochs, path, checkpoint=None, **options):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=path,
        **options,
    )
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    return trainer


@pytest.fixture(params=["resident", "streamed", "streamed by a worker"])
def data(request):
    config = DataConfig(
        dataset="digits",
        fraction=0.05,  # 65 images
        resident=request.param == "resident",
        num_workers=int(request.param == "streamed by a worker"),
    )
    return lambda: ImageDataModule(config, batch_size=16, seed=7)


def test_two_epochs_in_lightning(data, tmp_path):
    module = Recorder()
    fit(module, data(), 2, tmp_path)
    assert [epoch for epoch, _ in module.seen] == [0] * 4 + [1] * 4
    first, second = (
        [i for e, batch in module.seen if e == epoch for i in batch] for epoch in (0, 1)
    )
    assert len(set(first)) == len(first) == 64
    assert len(set(second)) == 64
    assert first != second
    assert module.validated == 2 * 500


@pytest.mark.parametrize("steps", [4, 2, 6], ids=["epoch end", "mid epoch 0", "mid epoch 1"])
def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(data, tmp_path, steps):
    whole = Recorder(save_at=steps, path=tmp_path / "saved.ckpt")
    fit(whole, data(), 3, tmp_path, limit_val_batches=0)
    resumed = Recorder()
    fit(resumed, data(), 3, tmp_path, tmp_path / "saved.ckpt", limit_val_batches=0)
    assert resumed.seen == whole.seen[steps:]


def test_resuming_from_a_checkpoint_of_a_finished_fit(data, tmp_path):
    whole = Recorder()
    fit(whole, data(), 2, tmp_path)
    first = Recorder()
    fit(first, data(), 1, tmp_path).save_checkpoint(tmp_path / "first.ckpt")
    second = Recorder()
    fit(second, data(), 2, tmp_path, tmp_path / "first.ckpt")
    assert first.seen + second.seen == whole.seen


def test_without_a_trainer():
    data = ImageDataModule(DataConfig(dataset="digits"), batch_size=100, seed=0)
    data.prepare_data()
    data.setup()
    train_set = data.train_set
    data.setup("validate")
    assert data.train_set is train_set
    assert data.num_classes == 10
    assert isinstance(data.train_dataloader(), ResidentLoader)
    assert len(data.train_dataloader()) == 12
    assert len(data.val_dataloader()) == 5
    targets = torch.cat([targets for _, targets in data.val_dataloader()])
    assert torch.equal(targets, data.test_set.labels)
    streamed = DataConfig(dataset="digits", resident=False, num_workers=0)
    data = ImageDataModule(streamed, batch_size=100, seed=0)
    data.setup("fit")
    assert isinstance(data.train_dataloader(), StreamingLoader)


def test_no_validation_without_labels(tmp_path):
    data = ImageDataModule(DataConfig(dataset="digits", no_labels=True), batch_size=600, seed=0)
    module = Recorder()
    fit(module, data, 1, tmp_path)
    assert data.val_dataloader() == []
    assert data.num_classes == 1
    assert module.validated == 0
    assert len(module.seen) == 2


def test_no_validation_without_a_test_split(tmp_path, pixels, write_folder):
    folder = write_folder(tmp_path, pixels, [0, 1, 2] * 4)
    data = ImageDataModule(
        DataConfig(dataset="custom", train_path=str(folder)), batch_size=4, seed=0
    )
    data.setup()
    assert data.test_set is None
    assert data.val_dataloader() == []


def test_batch_larger_than_the_train_set():
    data = ImageDataModule(DataConfig(dataset="digits", fraction=0.1), batch_size=256, seed=0)
    with pytest.raises(UserError, match=r"256 images .*has 130 images;.*at most 130"):
        data.setup()


class FakeStrategy:
    root_device = torch.device("meta")


class FakeTrainer:
    world_size, global_rank, strategy = 2, 1, FakeStrategy()


def test_processes_and_device_are_the_trainers():
    data = ImageDataModule(DataConfig(dataset="digits"), batch_size=100, seed=0)
    data.setup()
    data.trainer = FakeTrainer()
    loader = data.train_dataloader()
    assert (loader.sampler.rank, loader.sampler.num_replicas) == (1, 2)
    assert loader.dataset.tensors[0].device.type == "meta"
    assert len(loader) == 6
    assert len(data.val_dataloader().sampler) == 250
    data.batch_size = 700
    with pytest.raises(UserError, match=r"1297 images among 2 processes.*at most 648"):
        data.train_dataloader()
