"""The DALI loader delivers crops, the same ones after resuming, and names bad images."""

import pytest
import torch
from PIL import Image

from solo_adv.crops import CropOptions, CropSpec
from solo_adv.crops.parameters import draw
from solo_adv.crops.torch import TorchCrops
from solo_adv.data import DataConfig, ResidentLoader, load_split
from solo_adv.data.datamodule import ImageDataModule
from solo_adv.support.errors import UserError

pytest.importorskip("nvidia.dali", reason="pip install 'solo-adv[dali]'")

from solo_adv.data.dali import DaliLoader, generator_of_batch

SPEC = CropSpec(num_crops=3, size=8)
PLAIN = {"jitter_prob": 0, "grayscale_prob": 0, "blur_prob": 0, "solarize_prob": 0}


@pytest.fixture
def folder(tmp_path, write_folder):
    """24 files of several sizes and formats; each has one colour, by which it is recognised."""
    root = write_folder(tmp_path / "images", [], [])
    for index in range(24):
        size = (20 + index, 30)
        picture = Image.new("RGB", size, colour(index))
        kind = ("png", "jpg", "webp", "bmp")[index % 4]
        options = {"quality": 100} if kind in ("jpg", "webp") else {}
        picture.save(root / ("plane", "car", "bird")[index % 3] / f"{index:03}.{kind}", **options)
    return root


def colour(index):
    return (10 * index, 250 - 10 * index, 100)


def make(folder, *, spec=SPEC, batch_size=4, seed=1, rank=0, world_size=1, **changes):
    config = {"dataset": "custom", "train_path": str(folder), "image_size": 16, "resident": False}
    train = load_split(DataConfig(**{**config, "format": "dali", **changes}), "train")
    return DaliLoader(
        train,
        spec,
        options=CropOptions(),
        device=torch.device("cpu"),
        threads=2,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )


def batches(loader, epoch=0):
    loader.set_epoch(epoch)
    return list(loader)


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a[0], b[0])
        and torch.equal(a[2], b[2])
        and all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("resident", [True, False])
def test_batches_are_views_of_the_right_images(folder, resident):
    loader = make(folder, spec=CropSpec(num_crops=3, size=8, **PLAIN), resident=resident)
    seen = []
    files = sorted((path.parent.name, path.stem) for path in folder.rglob("*.*"))
    for indexes, views, targets in batches(loader):
        assert [view.shape for view in views] == [(4, 3, 8, 8)] * 3
        assert all(view.dtype == torch.float32 for view in views)
        seen += indexes.tolist()
        names = [files[index] for index in indexes]
        assert [("bird", "car", "plane")[target] for target in targets] == [n for n, _ in names]
        expected = torch.tensor([colour(int(stem)) for _, stem in names])[:, :, None, None]
        for view in views:
            assert (view * 255 - expected).abs().max() < 6  # JPEG and WebP round colours
    assert len(loader) == 6
    assert sorted(seen) == list(range(24))


def test_incomplete_batch_is_left_out(folder):
    assert len(batches(make(folder, batch_size=5))) == len(make(folder, batch_size=5)) == 4


@pytest.mark.parametrize("batch_size", [8, 12, 24], ids=lambda size: f"{24 // size} batches")
def test_epochs_of_fewer_batches_than_dali_is_ahead(folder, batch_size):
    loader = make(folder, batch_size=batch_size)
    for epoch in range(3):
        rows = [row for batch in batches(loader, epoch) for row in batch[0].tolist()]
        assert sorted(rows) == list(range(24))


def test_seed_and_epoch_decide_everything(folder):
    first = batches(make(folder), 2)
    assert same(first, batches(make(folder), 2))
    assert not same(first, batches(make(folder, seed=2), 2))
    assert not same(first, batches(make(folder), 3))


def test_processes_share_the_images_and_draw_their_own_crops(folder):
    parts = [batches(make(folder, rank=rank, world_size=2)) for rank in (0, 1)]
    rows = [row for part in parts for batch in part for row in batch[0].tolist()]
    assert sorted(rows) == list(range(24))
    assert [len(part) for part in parts] == [3, 3]


def test_resuming_in_mid_epoch_gives_the_rest(folder):
    whole = batches(make(folder), 1)
    loader = make(folder)
    loader.set_epoch(1)
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    resumed = make(folder)
    resumed.load_state_dict(loader.state_dict())
    assert same(batches(resumed, 1), whole[2:])
    iterator.close()
    assert same(batches(loader, 1), whole), "an epoch that was left early disturbs the next"


def test_crops_are_those_of_the_torch_backend(folder):
    spec = CropSpec(num_crops=4, size=12)
    loader = make(folder, spec=spec, resident=True, rank=1, world_size=2)
    indexes, views, _ = batches(loader, 3)[2]
    drawn = draw(spec, 4, 16, 16, generator_of_batch(seed=1, epoch=3, rank=1, number=2))
    expected = TorchCrops(spec).apply(loader.image_set.images[indexes], drawn)
    torch.testing.assert_close(torch.cat(views), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("damage", ["empty", "nonsense", "missing", "truncated"])
def test_unreadable_image_is_named_or_replaced(folder, damage):
    def spoil(path):
        if damage == "missing":
            path.unlink()
        elif damage == "truncated":
            path.write_bytes(path.read_bytes()[:60])
        else:
            path.write_bytes(b"" if damage == "empty" else b"no image at all")

    bad = folder / "car" / "001.jpg"
    good = make(folder)
    refusing, skipping = make(folder), make(folder, on_unreadable="skip")
    row = sorted((p.parent.name, p.stem) for p in folder.rglob("*.*")).index(("car", "001"))
    spoil(bad)
    with pytest.raises(UserError, match=r"Cannot read the image '.*car/001\.jpg'") as caught:
        batches(refusing)
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match=r"Skipped.*car/001\.jpg"):
        found = batches(skipping)
    order = good.sampler.order().tolist()
    rows = [index for batch in found for index in batch[0].tolist()]
    assert rows == [row + 1 if index == row else index for index in order]
    labels = [label for batch in found for label in batch[2].tolist()]
    assert labels == good.image_set.labels[rows].tolist()


def test_parquet_is_found_by_its_files(tmp_path, pixels, write_parquet):
    write_parquet(tmp_path / "train-0.parquet", pixels, [0, 1, 2] * 4)
    loader = make(tmp_path)
    rows = [row for batch in batches(loader) for row in batch[0].tolist()]
    assert sorted(rows) == list(range(12))


def test_files_need_an_image_size(folder):
    with pytest.raises(UserError, match=r"set data\.image_size"):
        make(folder, image_size=None)


def test_the_data_module_uses_it_for_training_only():
    config = DataConfig(dataset="digits", format="dali", fraction=0.1)
    data = ImageDataModule(config, batch_size=16, seed=0, crops=(SPEC, CropOptions()))
    data.setup()
    assert type(data.train_dataloader()).__name__ == "DaliLoader"
    assert isinstance(data.val_dataloader(), ResidentLoader)
    data.crops = None
    assert isinstance(data.train_dataloader(), ResidentLoader)
