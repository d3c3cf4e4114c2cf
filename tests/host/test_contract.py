"""Every method on every installed host keeps the contract of solo-learn's BaseMethod."""

import importlib.util
import inspect
from dataclasses import fields

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from torch.utils.data import DataLoader, TensorDataset

from solo_adv import UserError
from solo_adv.adversaries import AttackSchedule
from solo_adv.host import METHODS as STANDALONE
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.support.settings import accepted_settings
from tests.taught import taught

BATCH, CLASSES, SIZE = 4, 3, 32
HOSTS = {"standalone": STANDALONE}
if importlib.util.find_spec("solo") is not None:
    from solo_adv.host.solo_learn import METHODS as SOLO

    HOSTS["solo_learn"] = SOLO


@pytest.fixture(
    params=[
        "standalone",
        pytest.param(
            "solo_learn",
            marks=pytest.mark.skipif(
                "solo_learn" not in HOSTS,
                reason="solo-learn is not importable; SOLO_LEARN_ROOT=/path/to/solo-learn adds it",
            ),
        ),
    ]
)
def host(request):
    return request.param


@pytest.fixture(params=sorted(STANDALONE))
def name(request):
    return request.param


# The width of solo-learn's backbones cannot be changed.
SMALL = {"standalone": {"width": 8, "layers": [1, 1, 1, 1]}, "solo_learn": {}}


def config(host, name, **changes):
    cfg = OmegaConf.create(
        {
            "name": "test",
            "method": name,
            "backbone": {"name": "resnet18", "kwargs": SMALL[host]},
            "method_kwargs": {"proj_hidden_dim": 24, "proj_output_dim": 8},
            "data": {
                "dataset": "cifar10",
                "num_classes": CLASSES,
                "num_large_crops": 2,
                "num_small_crops": 0,
            },
            "crops": {"num_crops": 3, "size": SIZE},
            "optimizer": {
                "name": "sgd",
                "batch_size": BATCH,
                "lr": 0.01,
                "classifier_lr": 0.1,
                "weight_decay": 1e-5,
            },
            "scheduler": {"name": "warmup_cosine", "warmup_epochs": 0},
            "max_epochs": 2,
            "accelerator": "cpu",
        }
    )
    cfg.merge_with_dotlist(taught(name, of_hydra=False))
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    return cfg


def images(host, count=BATCH, seed=0):
    """Make images as the host's loaders deliver them."""
    pixels = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    if host == "standalone":
        return (pixels * 255).round().to(torch.uint8)
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
    return (pixels - mean) / std


class Pretraining(torch.utils.data.Dataset):
    """Items in solo-learn's shape: index, views, target."""

    def __init__(self, x, targets):
        self.x, self.targets = x, targets

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return index, [self.x[index], self.x[index]], self.targets[index]


def loaders(host, batches=2, labelled=True):
    x = images(host, BATCH * batches)
    targets = torch.arange(len(x)) % CLASSES if labelled else torch.full((len(x),), -1)
    train = DataLoader(Pretraining(x, targets), batch_size=BATCH)
    return train, DataLoader(TensorDataset(x, torch.arange(len(x)) % CLASSES), batch_size=BATCH)


def trainer(cfg, **settings):
    return Trainer(
        accelerator="cpu",
        max_epochs=cfg.max_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )


def test_the_constructor_takes_the_config_alone(host, name):
    assert list(inspect.signature(HOSTS[host][name].__init__).parameters) == ["self", "cfg"]


def test_defaults_are_filled_in_and_stay(host, name):
    method = HOSTS[host][name](config(host, name))
    first = OmegaConf.to_container(method.cfg)
    assert first["crops"]["scale"]
    held = set(accepted_settings(method.adversary_class))
    beside = {field.name for kind in (AttackedViews, AttackSchedule) for field in fields(kind)}
    assert set(first["adversary"]) - beside == held
    assert "auto" not in first["adversary"].values()
    assert OmegaConf.to_container(method.add_and_assert_specific_cfg(method.cfg)) == first


def test_the_usual_lengths_of_a_norm_are_on_record(host, name):
    method = HOSTS[host][name]
    if "norm" not in accepted_settings(method.adversary_class):
        return
    given = {}, {"adversary.norm": "l2"}, {"adversary.norm": "l2", "adversary.epsilon": 2}
    for changes, lengths in zip(given, [("8/255", 0.01), (0.5, 0.1), (2, 0.1)], strict=True):
        cfg = method.add_and_assert_specific_cfg(config(host, name, **changes))
        held = [cfg.adversary.epsilon, cfg.adversary.get("step_size", lengths[1])]
        assert held == list(lengths)  # an adversary may have no length of a step


def test_parameters_are_all_in_the_optimiser_once(host, name):
    method = HOSTS[host][name](config(host, name))
    groups = method.learnable_params
    parts = ["backbone", "classifier", *(n for n in ("projector", "head") if getattr(method, n))]
    assert [group["name"] for group in groups] == parts
    listed = [id(p) for group in method.learnable_params for p in group["params"]]
    trained = [p for name, p in method.named_parameters() if not name.startswith("averaged.")]
    assert sorted(listed) == sorted(id(p) for p in trained)


def test_forward_dicts(host, name):
    method = HOSTS[host][name](config(host, name))
    pixels = torch.rand(BATCH, 3, SIZE, SIZE)
    out = method(method.from_pixels(pixels))
    assert out["logits"].shape == (BATCH, CLASSES)
    assert out["feats"].shape == (BATCH, method.features_dim)
    multicrop = method.multicrop_forward(method.from_pixels(pixels))
    if method.projector is None:
        z = out["feats"] if method.head is None else method.head(out["feats"])
        assert torch.equal(out["z"], z)
        assert set(multicrop) == {"feats", "z"}
        return
    assert out["hidden"].shape == (BATCH, 24)
    assert out["z"].shape == (BATCH, 8)
    torch.testing.assert_close(out["z"].norm(dim=1), torch.ones(BATCH))
    assert set(multicrop) == {"feats", "hidden", "z"}


def test_a_forward_pass_goes_through_every_part_once(host, name):
    method = HOSTS[host][name](config(host, name))
    passes = []
    projector = [method.projector] if method.projector else []
    for part in (method.backbone, method.classifier, *projector):
        part.register_forward_pre_hook(lambda module, _: passes.append(module))
    crops = torch.rand(BATCH, 3, SIZE, SIZE)
    method.outputs_of(crops[:0], crops, BATCH)
    assert passes == [method.backbone, method.classifier, *projector]


def test_the_online_classifier_trains_nothing_else(host, name):
    method = HOSTS[host][name](config(host, name))
    method(method.from_pixels(torch.rand(BATCH, 3, SIZE, SIZE)))["logits"].sum().backward()
    assert method.classifier.weight.grad is not None
    assert all(p.grad is None for p in method.backbone.parameters())


def test_pixels_survive_conversion_in_both_directions(host, name):
    method = HOSTS[host][name](config(host, name))
    delivered = images(host)
    pixels = method.to_pixels(delivered)
    if pixels.dtype == torch.uint8:
        assert torch.equal(pixels, delivered)
    else:
        assert pixels.min() >= 0
        assert pixels.max() <= 1
        torch.testing.assert_close(method.from_pixels(pixels), delivered, atol=1e-5, rtol=0)


def test_fit_trains_every_part(host, name):
    cfg = config(host, name)
    method = HOSTS[host][name](cfg)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    fit = trainer(cfg)
    fit.fit(method, *loaders(host))
    projector = ("projector.hidden", "projector.output") if method.projector else ()
    for part in ("backbone.layer4", "classifier", *projector):
        moved = [k for k, v in method.state_dict().items() if not torch.equal(v, before[k])]
        assert any(key.startswith(part) for key in moved), part
    loss = f"train_{method.objective.name}_loss"
    for key in ("val_loss", "val_acc1", loss, "train_acc1", "lr"):
        assert key in fit.callback_metrics, key


def test_schedule_spans_the_run_whatever_the_replays(host, name):
    cfg = config(host, name)
    method = HOSTS[host][name](cfg)
    rates = []
    method.on_train_batch_start = lambda *_: rates.append(method.optimizers().param_groups[0]["lr"])
    fit = trainer(cfg)
    fit.fit(method, *loaders(host, batches=4))
    assert len(rates) == 8
    assert rates[0] == pytest.approx(0.01)
    assert rates[4] == pytest.approx(0.005, rel=0.2)
    assert rates == sorted(rates, reverse=True)
    assert method.optimizers().param_groups[0]["lr"] < 1e-4
    steps = method.adversary.replays * 8
    assert fit.global_step == steps
    trained, crafted = 3, 2 if method.attacked_views.pair == "self" else 3
    if method.attacked_views.views == "twins":
        trained, crafted = 6, 3 if method.attacked_views.forward == "separate" else 6
    if method.momentum:  # two of three crops pass forward alone, a third of a pass each
        trained *= (1 + 2 / 3) / 3
    passes = trained * method.adversary.replays + crafted * method.adversary.crafting_passes
    bank = round(4 * BATCH * method.cfg.teacher.crops / 3) if method.bank else 0
    # A network as teacher passes three crops forward, a third of a pass each; a bank nothing.
    teacher = 1 if method.teacher and not method.bank else 0
    assert method.crop_passes == bank + 8 * round(BATCH * (passes + teacher))


def test_images_without_labels_train_too(host, name):
    cfg = config(host, name, max_epochs=1)
    method = HOSTS[host][name](cfg)
    train, _ = loaders(host, labelled=False)
    fit = trainer(cfg)
    fit.fit(method, train)
    assert torch.isfinite(fit.callback_metrics[f"train_{method.objective.name}_loss"])
    assert all(torch.isfinite(p).all() for p in method.parameters())


def test_state_of_the_run_survives_a_checkpoint(host, name, tmp_path):
    cfg = config(host, name, max_epochs=1)
    method = HOSTS[host][name](cfg)
    fit = trainer(cfg)
    fit.fit(method, *loaders(host))
    fit.save_checkpoint(tmp_path / "a.ckpt")
    loaded = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert loaded["solo_adv"]["config"]["method"] == name
    twin = HOSTS[host][name](config(host, name, max_epochs=1))
    again = trainer(cfg)
    again.fit(twin, *loaders(host), ckpt_path=tmp_path / "a.ckpt")
    assert twin.crop_passes == method.crop_passes
    x = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8)
    assert torch.equal(twin.crops(x), method.crops(x))
    ours, theirs = (m.adversary.state_dict().get("delta") for m in (method, twin))
    assert (ours is None and theirs is None) or torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("method_kwargs.proj_hiden_dim", 8, "proj_hidden_dim|key in method_kwargs"),
        ("method_kwargs.proj_output_dim", 0, "proj_output_dim"),
        ("method_kwargs.tcr_eps", -1, "tcr_eps"),
        ("adversary.views", "first", "Unknown key in adversary|second"),
        ("preset", "paper", "reference"),
        ("adversary.epsilon", 8, "Unknown key in adversary|8/255"),
        ("adversary.norm", "l1", "Unknown key in adversary|Unknown norm 'l1'"),
        ("adversary.epsilonn", "8/255", "Unknown key in adversary"),
        ("crops.num_crops", 1, "at least 2"),
        ("crops.colour", 1, "colour"),
        ("crops.backend", "pil", "torchvision"),
    ],
)
def test_mistakes_are_named_before_anything_is_built(host, name, key, value, words):
    objective = HOSTS[host][name].objective_class
    if key == "method_kwargs.proj_output_dim" and not objective.projector:
        pytest.skip("it has no projector")
    if key == "crops.num_crops" and objective().min_views == (2 if objective.needs_twins else 1):
        pytest.skip("one crop is enough")
    with pytest.raises(UserError, match=words):
        HOSTS[host][name].add_and_assert_specific_cfg(config(host, name, **{key: value}))


def test_views_that_the_objective_cannot_compare_are_refused(host, name):
    method = HOSTS[host][name]
    if not method.objective_class.needs_twins:
        pytest.skip("any views will do")
    for views in ("all", "second"):
        with pytest.raises(UserError, match=r"needs adversary\.views=twins"):
            method.add_and_assert_specific_cfg(config(host, name, **{"adversary.views": views}))
