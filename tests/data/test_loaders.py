from contextlib import nullcontext

import pytest
import torch

from solo_adv.data import (
    DataConfig,
    EpochSampler,
    ImageSet,
    ResidentLoader,
    load_split,
    streaming_loader,
)
from solo_adv.data.copying import copy_ahead
from solo_adv.support.errors import UserError

COUNT = 23


def images_and_labels(count=COUNT):
    """Make images and labels from which the index of each can be read."""
    values = torch.arange(count)
    return values.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone(), values * 10


def resident(**options):
    options = {"batch_size": 5, "shuffle": True, "drop_last": True} | options
    return ResidentLoader(*images_and_labels(), **options)


def streaming(**options):
    options = {"batch_size": 5, "shuffle": True, "drop_last": True, "num_workers": 0} | options
    images, labels = images_and_labels()
    return streaming_loader(ImageSet("test", labels, images=images), **options)


@pytest.fixture(params=[resident, streaming], ids=["resident", "streaming"])
def make(request):
    return request.param


def indexes(loader, epoch=0):
    loader.sampler.set_epoch(epoch)
    return [index for batch in loader for index in batch[0].tolist()]


def test_batches_are_solo_learns(make):
    batches = list(make())
    assert len(batches) == len(make()) == 4
    for batch in batches:
        index, (images,), targets = batch
        assert isinstance(batch, list)
        assert isinstance(batch[1], list)
        assert index.shape == targets.shape == (5,)
        assert index.dtype == targets.dtype == torch.long
        assert images.shape == (5, 3, 4, 4)
        assert images.dtype == torch.uint8
        assert torch.equal(images[:, 0, 0, 0].long(), index)
        assert torch.equal(targets, index * 10)


def test_validation_batches(make):
    batches = list(make(shuffle=False, drop_last=False, indexed=False))
    assert [len(images) for images, _ in batches] == [5, 5, 5, 5, 3]
    assert torch.cat([targets for _, targets in batches]).tolist() == list(range(0, 230, 10))


def test_every_index_once_an_epoch(make):
    loader = make(drop_last=False)
    assert len(loader) == 5
    for epoch in range(3):
        assert sorted(indexes(loader, epoch)) == list(range(COUNT))


def test_drop_last_leaves_out_the_incomplete_batch(make):
    seen = indexes(make())
    assert len(seen) == len(set(seen)) == 20


def test_order_depends_on_seed_and_epoch_alone(make):
    torch.manual_seed(0)
    first = indexes(make(seed=5), 3)
    torch.manual_seed(1)
    assert indexes(make(seed=5), 3) == first
    orders = [
        indexes(make(seed=seed), epoch) for seed in (0, 1, 2, 2**32 - 1) for epoch in range(3)
    ]
    assert len({tuple(order) for order in orders}) == 12


def test_streaming_gives_what_resident_gives():
    for options in ({"seed": 3}, {"drop_last": False, "shuffle": False}, {"world_size": 2}):
        assert indexes(resident(**options), 2) == indexes(streaming(**options), 2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_train_processes_share_without_duplicates(make, world_size):
    loaders = [make(rank=rank, world_size=world_size, batch_size=1) for rank in range(world_size)]
    shares = [indexes(loader, 1) for loader in loaders]
    assert {len(share) for share in shares} == {COUNT // world_size}
    assert len({index for share in shares for index in share}) == COUNT // world_size * world_size
    assert len(loaders[0]) == COUNT // world_size


def test_validation_processes_share_everything(make):
    loaders = [
        make(rank=rank, world_size=3, shuffle=False, drop_last=False, batch_size=4)
        for rank in range(3)
    ]
    shares = [indexes(loader) for loader in loaders]
    assert shares[1] == list(range(1, COUNT, 3))
    assert sorted(index for share in shares for index in share) == list(range(COUNT))
    assert [len(loader.sampler) for loader in loaders] == [8, 8, 7]
    assert [len(loader) for loader in loaders] == [2, 2, 2]


def test_resident_images_are_moved_once():
    loader = resident(device="meta")
    assert all(tensor.device.type == "meta" for tensor in loader.dataset.tensors)
    assert len(loader.dataset) == COUNT
    index, (images,), targets = next(iter(loader))
    assert {index.device.type, images.device.type, targets.device.type} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_are_made_on_the_gpu():
    on_gpu, on_cpu = list(resident(device="cuda")), list(resident())
    for (index, (images,), targets), (cpu_index, (cpu_images,), _) in zip(
        on_gpu, on_cpu, strict=True
    ):
        assert index.is_cuda
        assert targets.is_cuda
        assert torch.equal(index.cpu(), cpu_index)
        assert torch.equal(images.cpu(), cpu_images)


def test_resuming_in_mid_epoch_gives_the_rest(make):
    whole = indexes(make(), 2)
    loader = make()
    loader.sampler.set_epoch(2)
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    resumed = make()
    resumed.load_state_dict(loader.state_dict())
    assert indexes(resumed, 2) == whole[15:]
    assert resumed.state_dict() == {"epoch": 2, "batches": 4}
    assert indexes(resumed, 2) == whole


def test_resuming_in_the_next_epoch_gives_the_whole_epoch(make):
    loader = make()
    next(iter(loader))  # only one batch, as with Lightning's limit_train_batches
    resumed = make()
    resumed.load_state_dict(loader.state_dict())
    assert indexes(resumed, 1) == indexes(make(), 1)
    loader.sampler.set_epoch(1)  # a checkpoint from before the first batch of an epoch
    resumed.load_state_dict(loader.state_dict())
    assert indexes(resumed, 1) == indexes(make(), 1)


def test_workers_stay_and_follow_the_epoch():
    loader = streaming(num_workers=1)
    assert loader.persistent_workers
    # Lightning calls `iter` before `set_epoch` when it resumes.
    iterator = iter(loader)
    loader.sampler.set_epoch(4)
    assert [i for batch in iterator for i in batch[0].tolist()] == indexes(resident(), 4)
    assert indexes(loader, 5) == indexes(resident(), 5)


def test_unreadable_image_in_a_worker_is_one_line(tmp_path, pixels, write_folder):
    folder = write_folder(tmp_path, pixels, [0, 1, 2] * 4)
    (folder / "car/001.png").write_bytes(b"no image")
    config = DataConfig(dataset="custom", train_path=str(folder), resident=False)
    train = load_split(config, "train")
    loader = streaming_loader(train, batch_size=4, shuffle=False, drop_last=False, num_workers=1)
    with pytest.raises(UserError, match=r"^Cannot read the image '.*car/001\.png'") as caught:
        list(loader)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_unreadable_train_image_is_replaced_by_the_next(
    layout, num_workers, tmp_path, pixels, encode, write_folder, write_parquet
):
    labels = [0, 1, 2] * 4
    if layout == "folder":
        path = write_folder(tmp_path / "images", pixels, labels)
        (path / "car/001.png").write_bytes(b"no image")
        bad = "car/001.png"
    else:
        cells = [encode(image) for image in pixels]
        path = write_parquet(tmp_path / "train.parquet", [*cells[:4], b"no", *cells[5:]], labels)
        bad = "row 4 of"
    kind = "image_folder" if layout == "folder" else layout
    options = {"dataset": "custom", "train_path": str(path), "format": kind, "image_size": 8}

    def split(**changes):
        return load_split(DataConfig(**options, **changes), "train")

    for resident in (True, False):
        with pytest.raises(UserError, match=f"Cannot read the image .*{bad}"):
            list(split(resident=resident))

    with pytest.warns(UserWarning, match=f"Skipped.*{bad}"):
        whole = split(resident=True, on_unreadable="skip")
    assert torch.equal(whole.images[4], whole.images[5])
    assert whole.labels[4] == whole.labels[5]
    streamed = split(resident=False, on_unreadable="skip")
    loader = streaming_loader(
        streamed, batch_size=12, shuffle=False, drop_last=False, num_workers=num_workers
    )
    with pytest.warns(UserWarning, match=f"Skipped.*{bad}") if num_workers == 0 else nullcontext():
        ((index, (images,), targets),) = list(loader)
    assert index.tolist() == [0, 1, 2, 3, 5, 5, 6, 7, 8, 9, 10, 11]
    assert torch.equal(images, whole.images)
    assert torch.equal(targets, whole.labels)


def test_unreadable_test_images_are_left_out_and_never_replaced(tmp_path, pixels, write_folder):
    folder = write_folder(tmp_path, pixels, [0, 1, 2] * 4)
    (folder / "car/001.png").write_bytes(b"no image")
    config = DataConfig(
        dataset="custom", train_path=str(folder), val_path=str(folder), on_unreadable="skip"
    )
    with pytest.warns(UserWarning, match=r"Left out: Cannot read the image '.*car/001\.png'"):
        test = load_split(config, "test")
    assert test.labels.bincount().tolist() == [4, 3, 4]


def test_nothing_readable_at_all_is_an_error(tmp_path, pixels, write_folder):
    folder = write_folder(tmp_path, pixels, [0, 1, 2] * 4)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image")
    config = DataConfig(dataset="custom", train_path=str(folder), on_unreadable="skip")
    with (
        pytest.warns(UserWarning, match="Skipped"),
        pytest.raises(UserError, match="None of the 12 images can be read"),
    ):
        load_split(config, "train")


def test_batches_pass_where_there_is_nothing_to_copy_to():
    batches = [[torch.zeros(2), [torch.ones(3)]]]
    for device in (None, torch.device("cpu")):
        assert next(iter(copy_ahead(batches, device))) is batches[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_are_copied_ahead_to_the_gpu():
    device = torch.device("cuda")
    taken = []

    def source():
        for number in range(4):
            taken.append(number)
            yield [torch.full((1000,), number).pin_memory(), [torch.full((5,), number).float()]]

    for number, (first, (second,)) in enumerate(copy_ahead(source(), device)):
        assert len(taken) == min(number + 2, 4), "the next batch is on its way"
        assert first.is_cuda
        assert second.is_cuda
        assert (first == number).all()
        assert (second == number).all()


def test_sampler_is_one_that_lightning_leaves_alone():
    sampler = EpochSampler(range(7), shuffle=False, drop_last=True, rank=1, world_size=2)
    assert isinstance(sampler, torch.utils.data.DistributedSampler)
    assert list(sampler) == [1, 3, 5]
