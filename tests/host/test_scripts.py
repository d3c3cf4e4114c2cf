"""solo-learn's own scripts, unmodified, on a folder of images, as a user starts them. Slow."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from solo_adv.host import plugin
from solo_adv.methods import MIXINS
from tests.taught import taught

pytestmark = pytest.mark.slow

CLASSES = 6  # solo-learn's top-5 accuracy needs at least five


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Train and test images of six colours, in folders by class."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for label in range(CLASSES):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                noise = generator.integers(0, 120, (40, 32, 3))
                noise[..., label % 3] += 60 * (1 + label // 3)
                Image.fromarray(noise.clip(0, 255).astype("uint8")).save(folder / f"{number}.png")
    return root


@pytest.fixture
def script(solo_learn, images, tmp_path):
    """A function that runs a script inside solo-learn's checkout and returns what it printed."""

    def run(name, *arguments, fails=False, workers=0):
        if not (solo_learn / name).exists():
            pytest.skip(f"solo-learn is installed without {name}; SOLO_LEARN_ROOT needs a checkout")
        data = [f"data.train_path={images}/train", f"data.val_path={images}/val"]
        common = [f"checkpoint.dir={tmp_path}", "accelerator=cpu", f"data.num_workers={workers}"]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", name, *arguments, *data, *common],
            cwd=solo_learn,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def untouched(solo_learn):
    """Asserts that the test leaves nothing behind in the checkout that git would show."""

    def status():
        command = ["git", "-C", str(solo_learn), "status", "--short"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    before = status()
    yield
    assert status() == before


SMALL = [
    "data=custom",
    "optimizer.batch_size=12",
    "crops.num_crops=3",
    "max_epochs=2",
]
PROJECTOR = ["method_kwargs.proj_hidden_dim=32", "method_kwargs.proj_output_dim=16"]


@pytest.mark.parametrize("method", sorted(set(MIXINS) - {"simclr"}))
def test_pretraining_and_linear_evaluation(script, untouched, tmp_path, method):
    projector = PROJECTOR if MIXINS[method].objective_class.projector else []
    config = [f"{method}.yaml", *SMALL, *projector, *taught(method)]
    if method in ("fare", "dynacl_pp"):
        config.append("backbone.name=resnet18")
    script("main_pretrain.py", "--config-name", *config)
    (checkpoint,) = tmp_path.glob(f"{method}/*/*-ep=1.ckpt")
    assert (checkpoint.parent / "args.json").exists()
    script(
        "main_linear.py",
        *("--config-name", "linear.yaml", "data.dataset=custom", "max_epochs=1"),
        "optimizer.batch_size=12",
        f"pretrained_feature_extractor='{checkpoint}'",
    )
    assert list(tmp_path.glob("linear/*/*-ep=0.ckpt"))


def test_views_of_its_own_pipeline(script, untouched, tmp_path):
    arguments = ["--config-name", "emp_ssl.yaml", *SMALL, *PROJECTOR]
    script("main_pretrain.py", *arguments, "augmentations=views")
    assert list(tmp_path.glob("emp_ssl/*/*.ckpt"))


@pytest.mark.parametrize("source", ["device", "loader"])
def test_images_of_its_own_dali_pipeline(script, untouched, tmp_path, source):
    pytest.importorskip("nvidia.dali", reason="pip install 'solo-adv[dali]'")
    views = ["augmentations=views"] if source == "loader" else []
    script(
        "main_pretrain.py",
        *("--config-name", "emp_ssl.yaml", *SMALL, *PROJECTOR, *views, f"crops.source={source}"),
        *("data.format=dali", "dali.device=cpu"),
        workers=1,
    )
    assert list(tmp_path.glob("emp_ssl/*/*.ckpt"))


def test_our_configs_copied_into_its_folder(script, solo_learn, tmp_path):
    """The user copies a config into solo-learn's folder and names it with ``--config-path``."""
    conf = Path(plugin.__file__).parents[1] / "conf"
    copy = solo_learn / "scripts/pretrain/cifar/solo_adv_copy_of_cfamc.yaml"
    copy.write_text((conf / "cfamc.yaml").read_text().replace("replays: 3", "replays: 2"))
    try:
        out = script(
            "main_pretrain.py",
            *("--cfg", "job", "--config-path", "scripts/pretrain/cifar"),
            *("--config-name", copy.stem, *SMALL, *PROJECTOR),
        )
    finally:
        copy.unlink()
    assert "replays: 2" in out
    assert "tcr_eps: 0.2" in out


def test_its_own_simclr_takes_our_config_of_that_name(script, untouched, tmp_path):
    """solo-learn's loader delivers the views that the stand-in host would crop."""
    arguments = [argument for argument in (*SMALL, *PROJECTOR) if "num_crops" not in argument]
    script("main_pretrain.py", "--config-name", "simclr.yaml", *arguments, "knn_eval.enabled=false")
    assert list(tmp_path.glob("simclr/*/*.ckpt"))


# main_knn.py and main_umap.py need a GPU, torchmetrics before 0.12, and umap-learn.
SHIMS = """
import runpy, sys, types
import torch
from torchmetrics import Metric

torch.Tensor.cuda = lambda self, *_, **__: self
make_metric = Metric.__init__
Metric.__init__ = lambda self, dist_sync_on_step, compute_on_step: make_metric(self)
for kind in (torch.Tensor, torch.nn.Module):
    kind.to_others = kind.to
    kind.to = lambda x, *a, **k: x if a == ("cuda:0",) else x.to_others(*a, **k)


class UMAP:
    def __init__(self, n_components):
        pass

    def fit_transform(self, features):
        print("features of", features.shape)
        sys.exit(5)


for name in ("umap", "seaborn", "pandas", "wandb"):
    sys.modules[name] = types.SimpleNamespace(UMAP=UMAP)
runpy.run_module("solo_adv.solo_learn", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def run_directory(solo_learn, images, tmp_path_factory):
    """Directory of a run that our own command line has trained."""
    place = tmp_path_factory.mktemp("trained")
    data = [f"data.train_path={images}/train", f"data.val_path={images}/val", "data.image_size=32"]
    data += ["backbone.stem=imagenet", "knn_eval.enabled=false"]
    command = [sys.executable, "-W", "ignore", "-m", "solo_adv.commands.pretrain"]
    command += ["--config-name", "cfamc", *SMALL, *PROJECTOR, *data, f"checkpoint.dir={place}"]
    subprocess.run(command, check=True, cwd=place, capture_output=True)
    (found,) = place.glob("cfamc/*")
    return found


@pytest.fixture
def with_methods(solo_learn, images, run_directory, tmp_path):
    """A function that runs ``python -m solo_adv.solo_learn SCRIPT`` outside of the checkout."""
    shims = tmp_path / "shims.py"
    shims.write_text(SHIMS)

    def run(name, *arguments):
        data = ["--dataset", "custom", "--data_format", "image_folder", "--batch_size", "16"]
        data += ["--train_data_path", f"{images}/train", "--val_data_path", f"{images}/val"]
        command = [sys.executable, "-W", "ignore", str(shims), str(solo_learn / name), *data]
        return subprocess.run(
            [*command, "--pretrained_checkpoint_dir", str(run_directory), *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_its_knn_script_knows_the_methods(with_methods, untouched):
    arguments = ["--k", "1", "5", "--temperature", "0.07", "--distance_function", "cosine"]
    done = with_methods("main_knn.py", *arguments, "--feature_type", "backbone", "projector")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Result: acc@1=") == 4


def test_its_umap_script_knows_the_methods(with_methods, untouched):
    done = with_methods("main_umap.py")
    assert done.stdout.splitlines()[-1] == f"features of ({CLASSES * 8}, 512)", done.stderr
    assert done.returncode == 5


def test_an_unknown_setting_of_ours_is_named(script):
    arguments = ["--config-name", "cfamc.yaml", *SMALL, *PROJECTOR, "+adversary.epsilonn=8/255"]
    out = script("main_pretrain.py", *arguments, fails=True)
    assert "UserError: Unknown key in adversary 'epsilonn'. Did you mean 'epsilon'?" in out


def stock_configs():
    """Names of solo-learn's own pretraining configs, such as ``cifar/simclr.yaml``."""
    folder = Path(os.environ.get("SOLO_LEARN_ROOT", "")) / "scripts/pretrain"
    files = [*folder.glob("*/*.yaml"), *folder.glob("*/*.yml")]
    return sorted(str(file.relative_to(folder)) for file in files)


def delivers_two_sizes(folder, name):
    """Whether a stock config's augmentations make views of two sizes."""
    place = Path(os.environ["SOLO_LEARN_ROOT"]) / "scripts/pretrain" / folder
    config = OmegaConf.load(place / name)
    views = config.get("augmentations")  # some name a file of their own instead
    for entry in config.defaults:
        if "augmentations" in entry:
            views = OmegaConf.load(place / "augmentations" / entry["augmentations"])
    return len({view.crop_size for view in views}) > 1


@pytest.mark.parametrize("stock", stock_configs())
def test_its_own_configs_with_another_method(script, untouched, tmp_path, stock):
    """Nothing of the config is changed but the method, the data and the length of the run."""
    folder, name = stock.split("/")
    if "mae" in name:
        pytest.skip("it delivers one view, and solo-learn's main_pretrain.py then refuses others")
    if name.endswith(".yml"):
        pytest.skip("Hydra reads .yaml files only, so solo-learn cannot start it either")
    out = script(
        "main_pretrain.py",
        *("--config-path", f"scripts/pretrain/{folder}", "--config-name", name, "method=cfamc"),
        *("data.dataset=custom", "optimizer.batch_size=4", "max_epochs=1", "precision=32"),
        *("strategy=auto", "devices='1'", "wandb.enabled=false", "+limit_train_batches=1"),
        *("+limit_val_batches=0", "auto_resume.enabled=false", "data.format=image_folder"),
    )
    (said,) = [line for line in out.splitlines() if line.startswith("method=cfamc: ")]
    two_sizes = delivers_two_sizes(folder, name)
    left_out = " (their 6 views of other sizes are left out)" if two_sizes else ""
    assert f"that solo-learn's loaders deliver{left_out} are its crops" in said
    assert "1 epochs, 3 updates on each batch" in said
    assert list(tmp_path.glob("cfamc/*/*.ckpt"))
