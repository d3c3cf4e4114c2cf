import multiprocessing
import os
from itertools import permutations
from shutil import which

import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from scipy.stats import ks_2samp
from torchvision.transforms import functional

from solo_adv.crops import CropSpec
from solo_adv.crops.memory import empty_crops
from solo_adv.crops.operations import by_column, cut, cut_few
from solo_adv.crops.packing import equal_work, jitter_order, pack
from solo_adv.crops.parameters import draw
from solo_adv.crops.threads import run_all
from solo_adv.crops.torch import TorchCrops, fixed_shape_crops
from solo_adv.crops.torchvision import TorchvisionCrops
from solo_adv.support.errors import UserError

LEVEL = 1 / 255
RESAMPLERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def mean_difference(ours, expected):
    assert ours.shape == expected.shape
    return (ours - expected).abs().mean().item()


@pytest.fixture
def compare(make_images, make_parameters, through_pil):
    """Absolute difference of one operation from PIL's, pixel by pixel."""

    def run(pil_operation, **changes):
        images = make_images(height=32, width=32)
        ours = TorchCrops(CropSpec()).apply(images, make_parameters(4, 32, 32, **changes))
        expected = through_pil(images, pil_operation)
        assert mean_difference(ours, images / 255) > 1.5 * LEVEL, "nothing was done"
        return (ours - expected).abs()

    return run


def test_crop_of_the_whole_image_at_its_size_is_the_image(make_images, make_parameters):
    images = make_images(height=32, width=32)
    for interpolation in RESAMPLERS:
        crops = TorchCrops(CropSpec(interpolation=interpolation))
        same = crops.apply(images, make_parameters(4, 32, 32))
        torch.testing.assert_close(same, images / 255, atol=1e-6, rtol=0)


@pytest.mark.parametrize("interpolation", RESAMPLERS)
@pytest.mark.parametrize(
    "size_and_box",
    [
        (32, (3, 5, 9, 12)),  # enlarge
        (32, (0, 7, 40, 53)),  # shrink
        (24, (22, 0, 18, 60)),  # enlarge in one direction, shrink in the other
        (7, (1, 2, 38, 31)),
        (32, (0, 59, 40, 1)),  # a single column at the border
    ],
)
def test_box_resize_and_flip_are_those_of_pil(
    interpolation, size_and_box, make_images, make_parameters, through_pil
):
    size, (top, left, height, width) = size_and_box
    images = make_images()
    crops = TorchCrops(CropSpec(size=size, interpolation=interpolation))
    ours = crops.apply(
        images,
        make_parameters(8, height, width, top=top, left=left, flip=[False] * 4 + [True] * 4),
    )

    def crop(picture):
        cut = picture.crop((left, top, left + width, top + height))
        return cut.resize((size, size), RESAMPLERS[interpolation])

    upright = through_pil(images, crop)
    mirrored = through_pil(images, lambda picture: ImageOps.mirror(crop(picture)))
    expected = torch.cat([upright, mirrored])
    assert mean_difference(ours, expected) < 0.5 * LEVEL
    assert (ours - expected).abs().max() < 2 * LEVEL


def test_bicubic_crops_stay_in_range(make_parameters):
    images = (torch.arange(16) % 4 > 1).float().expand(1, 3, 16, 16)
    crops = TorchCrops(CropSpec(interpolation="bicubic"))(images)
    assert crops.min() >= 0
    assert crops.max() <= 1


@pytest.mark.parametrize("factor", [0.6, 1.4])
@pytest.mark.parametrize("operation", ["brightness", "contrast", "saturation"])
def test_blends_are_those_of_pil(operation, factor, compare):
    adjust = getattr(functional, f"adjust_{operation}")
    assert compare(lambda image: adjust(image, factor), **{operation: factor}).mean() < LEVEL


@pytest.mark.parametrize("turns", [-0.5, -0.2, 0.1, 0.3])
def test_hue_is_that_of_torchvision(turns, compare, make_images, make_parameters):
    # PIL stores the hue in 8 bits, which is coarser than 8 bits of a colour channel.
    assert compare(lambda image: functional.adjust_hue(image, turns), hue=turns).mean() < 2 * LEVEL

    images = make_images(height=32, width=32) / 255
    images[0] = images[0].mean(0)  # gray has no hue
    ours = TorchCrops(CropSpec()).apply(images, make_parameters(4, 32, 32, hue=turns))
    expected = functional.adjust_hue(images, turns)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_grayscale_is_that_of_pil(compare):
    gray = functional.to_grayscale
    assert compare(lambda image: gray(image, num_output_channels=3), grayscale=True).mean() < LEVEL


def test_solarize_is_that_of_pil(compare):
    assert compare(ImageOps.solarize, solarize=True).max() < 1e-6


def test_solarize_rounds_to_8_bits_before_it_compares(make_parameters):
    levels = torch.tensor([127.0, 127.4, 127.6, 128.0, 255.0])
    images = (levels / 255).view(5, 1, 1, 1).expand(5, 3, 32, 32)
    crops = TorchCrops(CropSpec()).apply(images, make_parameters(5, 32, 32, solarize=True))
    expected = torch.tensor([127.0, 127.4, 127.4, 127.0, 0.0])
    torch.testing.assert_close(crops[:, 0, 0, 0] * 255, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("sigma", [0.4, 0.9, 1.3, 2.0, 9.0])
def test_blur_is_that_of_pil_up_to_the_border(sigma, compare):
    def pil_blur(image):
        return image.filter(ImageFilter.GaussianBlur(sigma))

    difference = compare(pil_blur, blur_sigma=sigma)
    assert difference.mean() < LEVEL
    for row_or_column in (difference[..., [0, -1], :], difference[..., [0, -1]]):
        assert row_or_column.mean() < LEVEL


def test_blur_has_the_asked_width(make_parameters):
    dot = torch.zeros(1, 3, 33, 33)
    dot[..., 16, 16] = 1
    sigmas = torch.tensor([0.5, 1.0, 2.0])
    parameters = make_parameters(3, 33, 33, blur_sigma=sigmas)
    spots = TorchCrops(CropSpec(size=33)).apply(dot, parameters)[:, 0]
    torch.testing.assert_close(spots.sum((1, 2)), torch.ones(3))
    variance = (spots.sum(1) * (torch.arange(33) - 16).square()).sum(1)
    torch.testing.assert_close(variance.sqrt(), sigmas, rtol=1e-4, atol=0)


def test_jitter_operations_come_in_each_crops_own_order(make_images, make_parameters):
    # The operations are so strong that pixels are clamped, because only then the order matters.
    factors = {"brightness": 1.7, "contrast": 0.4, "saturation": 2.2, "hue": 0.15}
    orders = list(permutations(range(4)))
    image = make_images(count=1, height=32, width=32) / 255
    parameters = make_parameters(24, 32, 32, jitter_order=orders, **factors)
    ours = TorchCrops(CropSpec()).apply(image, parameters)

    adjust = [getattr(functional, f"adjust_{name}") for name in factors]
    strengths = list(factors.values())
    expected = []
    for order in orders:
        crop = image
        for operation in order:
            crop = adjust[operation](crop, strengths[operation])
        expected.append(crop)
    expected = torch.cat(expected)

    distance = torch.cdist(ours.flatten(1), expected.flatten(1), p=1) / ours[0].numel()
    assert distance.diag().max() < 1e-3
    assert distance.fill_diagonal_(1).min() > 2e-3, "two orders give the same crop"


def test_operations_follow_each_other_as_in_the_reference(
    make_images, make_parameters, through_pil
):
    images = make_images(height=32, width=32)
    changes = {"brightness": 1.3, "grayscale": True, "blur_sigma": 1.0, "solarize": True}
    ours = TorchCrops(CropSpec()).apply(images, make_parameters(4, 32, 32, **changes))

    def chain(picture):
        picture = functional.adjust_brightness(picture, 1.3)
        picture = functional.to_grayscale(picture, num_output_channels=3)
        return ImageOps.solarize(picture.filter(ImageFilter.GaussianBlur(1.0)))

    expected = through_pil(images, chain)
    assert mean_difference(ours, expected) < 2 * LEVEL


@pytest.mark.parametrize("preset", ["multi_crop", "fixed_patch", "simclr"])
def test_random_crops_are_distributed_as_torchvisions(preset, make_images):
    image, spec = make_images(count=1), CropSpec.preset(preset, num_crops=800)

    def statistics(crops):
        crops = crops * 255
        values = {
            "mean": crops.mean((1, 2, 3)),
            "contrast": crops.std((1, 2, 3)),
            "sharpness": crops.diff(dim=2).abs().mean((1, 2, 3)),
            "left to right": crops.diff(dim=3).mean((1, 2, 3)),
            "colour": (crops - crops.mean(1, keepdim=True)).abs().mean((1, 2, 3)),
            "red to blue": (crops[:, 0] - crops[:, 2]).mean((1, 2)),
        }
        # Without rounding, float noise would make gray crops differ.
        return {name: value.round(decimals=1) for name, value in values.items()}

    ours = statistics(TorchCrops(spec)(image))
    for name, expected in statistics(TorchvisionCrops(spec)(image)).items():
        assert ks_2samp(ours[name], expected).pvalue > 1e-3, name


def test_operations_touch_only_the_crops_they_are_meant_for(make_images, make_parameters):
    images = make_images(count=1, height=32, width=32)
    mixed = make_parameters(
        6,
        32,
        32,
        brightness=[0.5, 1, 1, 1, 1, 1],
        hue=[0, 0.3, 0, 0, 0, 0],
        grayscale=[False, False, True, False, False, False],
        blur_sigma=[0, 0, 0, 2.0, 0, 0],
        solarize=[False, False, False, False, True, False],
    )
    together = TorchCrops(CropSpec()).apply(images, mixed)
    alone = [
        make_parameters(1, 32, 32, **change)
        for change in (
            {"brightness": 0.5},
            {"hue": 0.3},
            {"grayscale": True},
            {"blur_sigma": 2.0},
            {"solarize": True},
            {},
        )
    ]
    one_by_one = [TorchCrops(CropSpec()).apply(images, parameters) for parameters in alone]
    torch.testing.assert_close(together, torch.cat(one_by_one), atol=1e-6, rtol=0)


def test_each_crop_takes_its_own_box_of_its_own_image(make_images, make_parameters):
    images = make_images(count=2)
    tops, lefts = torch.arange(6), torch.arange(6) * 4
    parameters = make_parameters(6, 32, 32, top=tops, left=lefts)
    crops = TorchCrops(CropSpec()).apply(images, parameters)
    for index, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        box = images[index % 2, :, top : top + 32, left : left + 32] / 255
        torch.testing.assert_close(crops[index], box, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float_images_give_the_crops_of_uint8_images(dtype, make_images):
    images = make_images()
    crops = TorchCrops(CropSpec(num_crops=3))(images)
    floats = TorchCrops(CropSpec(num_crops=3))((images / 255).to(dtype))
    assert floats.dtype == torch.float32
    assert mean_difference(crops, floats) < 4 * torch.finfo(dtype).eps


def test_autocast_costs_no_precision(make_images):
    images = make_images()
    plain = TorchCrops(CropSpec(num_crops=3))(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert TorchCrops(CropSpec(num_crops=3))(images).equal(plain)


def test_crops_are_float32_even_if_double_is_the_default(make_images):
    """Lightning makes it the default under precision=64-true."""
    torch.set_default_dtype(torch.float64)
    try:
        crops = TorchCrops(CropSpec.preset("simclr", size=16), seed=0)(make_images(16))
    finally:
        torch.set_default_dtype(torch.float32)
    assert crops.dtype == torch.float32


def test_crops_carry_no_gradient_and_leave_the_images_alone(make_images):
    images = (make_images() / 255).requires_grad_()
    before = images.detach().clone()
    crops = TorchCrops(CropSpec(num_crops=2))(images)
    assert not crops.requires_grad
    assert images.equal(before)


@pytest.mark.parametrize("interpolation", RESAMPLERS)
def test_no_value_is_read_back_from_the_device(interpolation):
    # Reading a value back from the device "meta" raises an error, because it holds none.
    spec = CropSpec(num_crops=8, blur_prob=0.5, solarize_prob=0.5, interpolation=interpolation)
    images = torch.empty(16, 3, 40, 60, dtype=torch.uint8, device="meta")
    crops = TorchCrops(spec)(images)
    assert crops.device.type == "meta"
    assert crops.shape == (128, 3, 32, 32)


@pytest.mark.parametrize("chunk", [1, 7, 8, 20, 1000])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_chunks_change_nothing_but_the_memory(chunk, memory_format, make_images):
    spec = CropSpec(num_crops=8, blur_prob=0.5, solarize_prob=0.5)
    whole = TorchCrops(spec, seed=2, chunk=10_000)(make_images(5))
    some = TorchCrops(spec, seed=2, chunk=chunk, memory_format=memory_format)
    crops = some(make_images(5))
    assert crops.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(crops, whole, atol=1e-6, rtol=0)
    other = TorchCrops(spec, seed=2)
    other(make_images(5))
    assert some.state_dict()["generator"].equal(other.state_dict()["generator"])


def test_chunks_bound_the_memory(make_images):
    largest = {}
    for chunk in (16, 640):
        with torch.profiler.profile(profile_memory=True, record_shapes=False) as profile:
            TorchCrops(CropSpec(num_crops=64), chunk=chunk)(make_images(10))
        result = 4 * 640 * 3 * 32 * 32
        events = (event.cpu_memory_usage for event in profile.events())
        largest[chunk] = max(size for size in events if size != result)
    assert largest[16] < largest[640] / 10


def test_fixed_shapes_give_the_same_crops(make_images):
    images = make_images(5)
    spec = CropSpec(num_crops=8, blur_prob=0.5, solarize_prob=0.5)
    drawn = TorchCrops(spec).draw(5, 40, 60)
    settings = pack(drawn).view(-1, 8, 5)
    fixed = fixed_shape_crops(images, settings, size=32, interpolation="bilinear")
    torch.testing.assert_close(fixed, TorchCrops(spec).apply(images, drawn), atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("interpolation", RESAMPLERS)
def test_operations_compile_into_one_graph(interpolation, make_images):
    images, spec = make_images(4), CropSpec(num_crops=8, size=16, interpolation=interpolation)
    compiled = TorchCrops(spec, seed=3, compiled=True, chunk=16)
    eager = TorchCrops(spec, seed=3)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for _ in range(3):
        difference = (compiled(images) - eager(images)).abs()
        assert difference.mean() < 1e-5
    stats = torch._dynamo.utils.counters["stats"]
    assert stats["unique_graphs"] == 1, "other parameters must not mean another graph"
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize("count", [0, 3])
def test_parameters_of_another_number_of_images_are_refused(count, make_images, make_parameters):
    with pytest.raises(UserError, match=f"got {count} for 4 images"):
        TorchCrops(CropSpec()).apply(make_images(), make_parameters(count, 40, 60))


@pytest.mark.parametrize("interpolation", RESAMPLERS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"flip": True},
        {"brightness": 1.2},
        {"contrast": 0.7},
        {"saturation": 1.3},
        {"hue": 0.1},
        {"grayscale": True},
        {"blur_sigma": 1.0},
        {"solarize": True},
    ],
    ids=str,
)
def test_given_crops_are_differentiable(changes, interpolation, make_images, make_parameters):
    # No pixel is clamped and the order of red, green and blue does not change, so that the
    # operations are smooth here.
    tint = torch.tensor([0.3, 0.2, 0.1]).view(3, 1, 1)
    images = tint + 0.1 * make_images(2, 20, 20) / 255
    crops = TorchCrops(CropSpec(size=12, interpolation=interpolation))
    parameters = make_parameters(4, 15, 13, top=2, left=3, **changes)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 12, 12, generator=generator)
    direction = torch.randn(images.shape, generator=generator)

    def value(pixels):
        return (crops.apply(pixels, parameters).double() * weight).sum()

    (gradient,) = torch.autograd.grad(value(images.requires_grad_()), images)
    with torch.no_grad():
        slope = (value(images + 1e-4 * direction) - value(images - 1e-4 * direction)) / 2e-4
    error = (slope - (gradient * direction).sum()).abs()
    assert error < 0.02 * gradient.norm() * direction.norm() / images.numel() ** 0.5


def test_drawn_crops_carry_no_graph(make_images):
    images = (make_images() / 255).requires_grad_()
    assert not TorchCrops(CropSpec())(images).requires_grad


def test_gray_pixels_have_a_finite_gradient_under_a_turned_hue(make_parameters):
    images = torch.full((1, 3, 32, 32), 0.4)
    images[:, 0, ::2] += 1e-7
    images[:, :, :4] = 0
    parameters = make_parameters(1, 32, 32, hue=0.2)
    crops = TorchCrops(CropSpec()).apply(images.requires_grad_(), parameters)
    (gradient,) = torch.autograd.grad(crops.sum(), images)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_threads_change_nothing(memory_format, make_images):
    images, spec = make_images(5), CropSpec(num_crops=9, blur_prob=0.5, solarize_prob=0.5)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(TorchCrops(spec, seed=2, chunk=4, memory_format=memory_format)(images))
        assert torch.get_num_threads() == threads
    assert found[1].equal(found[0])
    assert found[2].equal(found[0])


def test_an_error_in_a_thread_is_raised():
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        run_all(lambda item: 1 // item, [1, 0, 1])


def test_gradients_stay_off_in_threads():
    torch.set_num_threads(2)
    seen = []
    with torch.enable_grad():
        run_all(lambda _: seen.append((torch.is_grad_enabled(), torch.get_num_threads())), range(4))
    assert seen == [(False, 1)] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_crops_as_well(make_images):
    torch.set_num_threads(2)
    crops = TorchCrops(CropSpec(num_crops=4), chunk=4)
    crops(make_images())  # starts the thread pool
    process = multiprocessing.get_context("fork").Process(target=crops, args=(make_images(),))
    process.start()
    process.join(60)
    hangs = process.is_alive()
    process.kill()
    assert not hangs
    assert process.exitcode == 0


@pytest.mark.parametrize("interpolation", RESAMPLERS)
@pytest.mark.parametrize(("size", "height", "width"), [(32, 32, 32), (7, 61, 200), (48, 40, 30)])
def test_reading_few_pixels_is_the_product_of_matrices(size, height, width, interpolation):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, height, width, generator=generator)
    spec = CropSpec(num_crops=40, size=size, interpolation=interpolation, scale=(0.001, 1))
    settings = pack(draw(spec, 3, height, width, generator))
    how = {"size": size, "interpolation": interpolation}
    dense = cut(images, settings.view(-1, 40, 3), **how)
    few = cut_few(by_column(images), torch.arange(120) % 3, settings, **how)
    torch.testing.assert_close(few, dense, atol=2e-5, rtol=0)


def test_crops_with_the_same_jitter_are_adjacent():
    spec = CropSpec(num_crops=1)
    settings = pack(draw(spec, 2000, 32, 32, torch.Generator().manual_seed(0)))
    kinds = (settings[5:18] != 0).int()
    ordered = kinds[:, jitter_order(settings)]
    runs = 1 + int((ordered.diff(dim=1) != 0).any(0).sum())
    assert runs == len(kinds.unique(dim=1).T) == 25  # 24 orders of four operations, and no jitter


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [3, 3000])  # 3000 crops are more than malloc keeps
def test_memory_for_crops_is_ordinary_memory(count, memory_format):
    form = {"device": torch.device("cpu"), "memory_format": memory_format}
    crops = empty_crops(count, 32, **form)
    plain = torch.empty(count, 3, 32, 32).contiguous(memory_format=memory_format)
    assert crops.stride() == plain.stride()
    assert crops.dtype == torch.float32
    other = empty_crops(count, 32, **form).fill_(2)
    crops.fill_(1)
    assert crops.sum() == crops.numel()
    assert other.sum() == 2 * other.numel()
    copy = crops[-2:].clone()
    part = crops[-2:]
    del crops
    assert part.equal(copy)


def test_parts_have_each_crop_once_and_the_same_amount_of_work():
    spec = CropSpec.preset("multi_crop", num_crops=8, size=8)
    parameters = draw(spec, 64, 8, 8, torch.Generator().manual_seed(0))
    choices = pack(parameters)
    order = jitter_order(choices)
    parts = equal_work(choices, order, 4)
    assert torch.cat(list(parts)).equal(order)
    work = [sum(2 + (choices[5:, crop] != 0).sum().item() for crop in part) for part in parts]
    assert max(work) - min(work) <= 2 * (2 + 8)  # at most one crop at each end
