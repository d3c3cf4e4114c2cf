"""Our methods with solo-learn's test helpers, callbacks, kNN and views; skipped without it."""

import importlib.util
import json

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from solo_adv import UserError, load_pretrained
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.host import METHODS as STANDALONE
from solo_adv.methods import MIXINS
from tests.taught import taught


@pytest.fixture(scope="session")
def helpers(solo_learn):
    """solo-learn's ``tests/methods/utils.py``."""
    file = solo_learn / "tests/methods/utils.py"
    if not file.exists():
        pytest.skip("solo-learn is installed without its tests; SOLO_LEARN_ROOT needs its checkout")
    spec = importlib.util.spec_from_file_location("solo_learn_helpers", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(helpers):
    def make(name, batch_size=4, num_classes=10, **changes):
        cfg = helpers.gen_base_cfg(name, batch_size=batch_size, num_classes=num_classes)
        cfg.data.dataset = "cifar10"
        cfg.crops = {"num_crops": 3}
        cfg.method_kwargs = {"proj_hidden_dim": 24, "proj_output_dim": 8}
        cfg.knn_eval = {"enabled": False}
        cfg.merge_with_dotlist(taught(name, of_hydra=False))
        for key, value in changes.items():
            OmegaConf.update(cfg, key, value, force_add=True)
        return cfg

    return make


class Stop(Exception):
    """Raised in place of whatever may end a run early."""


def its(module):
    """Import a module of ``solo.utils``."""
    return importlib.import_module(f"solo.utils.{module}")


class Views(torch.utils.data.Dataset):
    """Items of solo-learn's loaders: index, normalised views, target."""

    def __init__(self, count, views=2, size=32):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(count, views, 3, size, size, generator=generator)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return index, list(self.x[index]), index % 5


class Images(Views):
    def __getitem__(self, index):
        return self.x[index, 0], index % 5


def fit(method, cfg, *, views=2, callbacks=(), ckpt_path=None, **settings):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=cfg.max_epochs,
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )
    loaders = DataLoader(Views(12, views), batch_size=4), DataLoader(Images(10), batch_size=5)
    trainer.fit(method, *loaders, ckpt_path=ckpt_path)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MIXINS))
def test_solo_learns_own_test_of_a_method_passes(helpers, solo_methods, name):
    """This is solo-learn's ``tests/methods/test_simclr.py`` with another method and its kwargs."""
    cls = solo_methods[name]
    kwargs = {"proj_output_dim": 256, "proj_hidden_dim": 2048}
    cfg = helpers.gen_base_cfg(name, batch_size=2, num_classes=100, momentum=True)
    cfg.method_kwargs = kwargs
    cfg.crops = {"num_crops": 4}
    cfg.merge_with_dotlist(taught(name, of_hydra=False))
    model = cls(cfg)
    model.add_and_assert_specific_cfg(cfg)
    assert model.learnable_params is not None

    batch, _ = helpers.gen_batch(2, 100, "imagenet100")
    for out in (model(batch[1][0]), model.multicrop_forward(batch[1][0])):
        assert out["feats"].size() == (2, model.features_dim)
        projector = model.objective.projector
        size = kwargs["proj_output_dim"] if projector else model.features_dim
        assert out["z"].size() == (2, size)
    assert model(batch[1][0])["logits"].size() == (2, 100)

    def fits(dataset, small_crops=0):
        trainer = helpers.gen_trainer(cfg)
        train, val = helpers.prepare_dummy_dataloaders(
            dataset,
            num_large_crops=2,
            num_small_crops=small_crops,
            num_classes=cfg.data.num_classes,
            batch_size=2,
        )
        trainer.fit(model, train, val)

    fits("imagenet100")
    assert model.crops.spec.size == 224
    cfg.data.dataset, cfg.data.num_classes = "cifar10", 10
    model = cls(cfg)
    fits("cifar10")
    assert model.crops.spec.size == 32
    assert model.backbone.conv1.padding == (2, 2)
    cfg.data.num_small_crops = 6
    model = cls(cfg)
    fits("imagenet100", small_crops=6)


def test_views_of_the_loader_are_the_crops(solo_methods, config, monkeypatch):
    cfg = config("emp_ssl")
    items = [{"crop_size": 32, "num_crops": 2}, {"crop_size": [32, 32], "num_crops": 3}]
    cfg.augmentations = items
    cfg.crops.source = "loader"
    method = solo_methods["emp_ssl"](cfg)
    assert cfg.crops.num_crops == 5
    assert cfg.crops.size == 32
    views = [torch.randn(4, 3, 32, 32) for _ in range(5)]
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
    expected = torch.cat([(view * std + mean).clamp(0, 1) for view in views])
    torch.testing.assert_close(method._crops_of(views), expected)
    monkeypatch.setattr(method, "crops", lambda images: pytest.fail("cropped on the device"))
    fit(method, cfg, views=5, max_steps=1)
    assert method.crop_passes == 4 * 5
    smaller = [view[..., :24, :24] for view in views[2:]]
    torch.testing.assert_close(method._crops_of([*views[:2], *smaller]), expected[:8])
    with pytest.raises(
        UserError, match=r"at least 2 views of crops\.size=32.*crops\.source=device"
    ):
        method._crops_of([views[0], *smaller])
    with pytest.raises(UserError, match="at least 2"):
        method._crops_of(views[:1])


@pytest.mark.parametrize("k", [1, 3])
def test_online_knn_is_that_of_the_features(solo_methods, config, k):
    cfg = config("simclr_freeadv", max_epochs=2)
    cfg.knn_eval = {"enabled": True, "k": k, "distance_func": "cosine"}
    method = solo_methods["simclr_freeadv"](cfg)
    assert cfg.knn_eval.enabled
    banks, seen = [], []
    observe = method.observe
    method.observe = lambda feats, targets: (seen.append((feats, targets)), observe(feats, targets))
    compute = method.knn.compute

    def computed():
        test = [torch.cat(part) for part in (method.knn.test_features, method.knn.test_targets)]
        train = [torch.cat(part) for part in zip(*seen, strict=True)]
        seen.clear()
        banks.append(knn_accuracy(*train, *test, k=k, temperature=0.07))
        assert len(train[0]) == 2 * 12
        return compute()

    method.knn.compute = computed
    trainer = fit(method, cfg)
    assert len(banks) == 2
    assert trainer.callback_metrics["val_knn_acc1"] == pytest.approx(100 * banks[-1][0])


def test_the_last_epoch_is_saved_whatever_the_frequency(solo_methods, config, tmp_path):
    cfg = config("emp_ssl", max_epochs=3)
    for frequency, kept in ((10, ["ep=0", "ep=2"]), (2, ["ep=0", "ep=2"]), (1, None)):
        folder = tmp_path / str(frequency)
        saver = its("checkpointer").Checkpointer(
            cfg, logdir=folder, frequency=frequency, keep_prev=True
        )
        fit(solo_methods["emp_ssl"](cfg), cfg, callbacks=[saver])
        files = sorted(file.stem[-4:] for file in folder.rglob("*.ckpt"))
        assert files == (kept or ["ep=0", "ep=1", "ep=2"])


@pytest.mark.parametrize(
    ("changes", "resumes"),
    [
        ({}, True),
        ({"data.num_workers": 0}, True),
        ({"adversary.epsilon": "4/255"}, False),
        ({"adversary.replays": 2}, False),
        ({"crops.num_crops": 2}, False),
        ({"method_kwargs.tcr_eps": 0.3}, False),
        ({"scheduler.warmup_epochs": 1}, False),
        ({"preset": "reference"}, False),
        ({"seed": 6}, False),
        ({"data.train_path": "elsewhere"}, False),
    ],
)
def test_only_a_run_of_the_same_settings_is_resumed(
    solo_methods, config, tmp_path, changes, resumes
):
    cfg = config("cfamc", max_epochs=2, seed=5)
    method = solo_methods["cfamc"](cfg)
    saver = its("checkpointer").Checkpointer(cfg, logdir=tmp_path)
    fit(method, cfg, callbacks=[saver], limit_train_batches=1, limit_val_batches=0)
    again = config("cfamc", **{"max_epochs": 2, "seed": 5, **changes})
    solo_methods["cfamc"](again)
    found, _ = its("auto_resumer").AutoResumer(tmp_path).find_checkpoint(again)
    assert (found is not None) == resumes


def test_an_interrupted_run_continues_where_it_was(solo_methods, config, tmp_path):
    def run(cfg, **settings):
        torch.manual_seed(0)
        method = solo_methods["cfamc"](cfg)
        return method, fit(method, cfg, **settings)

    whole, _ = run(config("cfamc", max_epochs=2))

    class Interrupt(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "a.ckpt")
            raise Stop

    with pytest.raises(Stop):
        run(config("cfamc", max_epochs=2), callbacks=[Interrupt()])
    resumed, _ = run(config("cfamc", max_epochs=2), ckpt_path=tmp_path / "a.ckpt")
    assert resumed.crop_passes == whole.crop_passes
    for (name, one), other in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_a_schedule_that_solo_learn_does_not_have(solo_methods, config):
    cfg = config("cfamc", preset="reference", max_epochs=1)
    method = solo_methods["cfamc"](cfg)
    assert cfg.scheduler.name == "reference_cyclic"
    rates = []
    step = method.adversary.update
    method.adversary.update = lambda *args: (
        rates.append(method.optimizers().param_groups[0]["lr"]),
        step(*args),
    )
    fit(method, cfg)
    assert len(rates) == 9
    assert rates[3] == pytest.approx(
        0, abs=1e-9
    )  # a cosine over 3 batches that advances at each of 9 replays
    assert rates[6] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("devices", "4", r"devices=\[0,1\]"),
        ("backbone.name", "resnet19", "resnet18"),
        ("backbone.stem", "cifar3", "cifar_padding2"),
        ("optimizer.name", "lamb", "lars"),
        ("optimizer.kwargs", {"momentun": 0.9}, "momentun"),
        ("scheduler.name", "cosine", "warmup_cosine"),
        ("crops.source", "disk", "auto, device, loader"),
    ],
)
def test_mistakes_are_named_before_solo_learn_trips_over_them(
    solo_methods, config, key, value, words
):
    with pytest.raises(UserError, match=words):
        solo_methods["cfamc"](config("cfamc", **{key: value}))


@pytest.mark.parametrize("name", sorted(set(MIXINS) - {"supervised_freeadv"}))
@torch.no_grad()
def test_checkpoints_of_both_hosts_are_the_same_encoder_everywhere(
    solo_methods, config, tmp_path, name
):
    """main_knn.py and main_robust.py read the same encoder from a run's directory."""
    pixels = torch.rand(4, 3, 32, 32)
    for host, methods in (("solo_learn", solo_methods), ("standalone", STANDALONE)):
        cfg = config(name, max_epochs=1)
        method = methods[name](cfg)
        folder = tmp_path / host
        folder.mkdir()
        with torch.enable_grad():
            trainer = fit(method, cfg, max_steps=0, limit_val_batches=0)
        trainer.save_checkpoint(folder / "a.ckpt")
        (folder / "args.json").write_text(json.dumps(OmegaConf.to_container(cfg)))
        method.eval()
        expected = method(method.from_pixels(pixels))

        args = OmegaConf.create(json.loads((folder / "args.json").read_text()))
        theirs = solo_methods[name].load_from_checkpoint(
            folder / "a.ckpt", strict=False, cfg=args, map_location="cpu"
        )
        theirs.eval()
        found = theirs(theirs.from_pixels(pixels))
        for key in ("feats", "z"):
            torch.testing.assert_close(found[key], expected[key], atol=1e-5, rtol=1e-4)
        keys = {"backbone": "feats"}
        if method.objective.projector:
            keys |= {"hidden": "hidden", "projector": "z"}
        for features, key in keys.items():
            ours = load_pretrained(folder, features=features)
            torch.testing.assert_close(ours(pixels), expected[key], atol=1e-5, rtol=1e-4)


def test_our_lars_equals_solo_learns(solo_methods):
    torch.manual_seed(0)
    x, start = torch.randn(6, 5, dtype=torch.float64), torch.nn.Linear(5, 4).double()
    options = {"lr": 0.3, "weight_decay": 1e-2, "momentum": 0.9, "nesterov": True, "eta": 0.005}
    trained = []
    for build in (its("lars").LARS, solo_methods["cfamc"]._OPTIMIZERS["lars"]):
        model = torch.nn.Linear(5, 4).double()
        model.load_state_dict(start.state_dict())
        groups = [{"params": list(model.parameters())}]
        optimizer = build(groups, clip_lr=True, exclude_bias_n_norm=True, **options)
        for _ in range(20):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
        trained.append([p.detach() for p in model.parameters()])
    assert not torch.equal(trained[0][0], start.weight)
    for theirs, ours in zip(*trained, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-12)
