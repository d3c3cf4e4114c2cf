"""An encoder that was pretrained on digits is judged on folders of other images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from solo_adv.data.decoding import to_square
from solo_adv.evaluation import evaluating
from solo_adv.evaluation.evaluating import evaluate
from solo_adv.support.configs import composed
from solo_adv.training.pretraining import pretrain

PRETRAINING = (
    *("data=digits", "data.fraction=0.2", "max_epochs=1", "crops.num_crops=2", "accelerator=cpu"),
    *("optimizer.batch_size=64", "backbone.kwargs.width=4", "knn_eval.enabled=false"),
    *("data.mean=[0.3,0.4,0.5]", "data.std=[0.2,0.3,0.4]", "+enable_progress_bar=false"),
)
QUICK = (
    *("max_images=20", "steps=2", "epsilons=[8/255]", "alarm_images=0", "head.min_updates=2"),
    *("accelerator=cpu", "head.epochs=1", "train_steps=1"),
)


def config(name, *overrides):
    return composed(name, overrides)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return pretrain(config("emp_ssl", *PRETRAINING, f"checkpoint.dir={directory}"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of 24x20 pixels in three classes, train and val."""
    root = tmp_path_factory.mktemp("folder")
    generator = torch.Generator().manual_seed(0)
    for split in ("train", "val"):
        for name in ("a", "b", "c"):
            (root / split / name).mkdir(parents=True)
            for number in range(8):
                pixels = torch.randint(256, (20, 24, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture
def judged_on(folder):
    return ["data.dataset=custom", f"data.train_path={folder}/train", f"data.val_path={folder}/val"]


def test_images_are_resized_and_the_encoder_stays_as_it_is(checkpoint, folder, judged_on, tmp_path):
    cfg = config("robust", *QUICK, f"results_dir={tmp_path}", *judged_on)
    cfg.checkpoint = str(checkpoint)
    asked = evaluating._asked(cfg)
    with Image.open(folder / "train" / "a" / "0.png") as image:
        expected = torch.from_numpy(np.array(to_square(image, 16)))
    assert torch.equal(asked.train_set[0][0], expected.permute(2, 0, 1))
    assert asked.test_set[0][0].shape == (3, 16, 16)
    torch.testing.assert_close(asked.encoder.normalization.mean.flatten().tolist(), [0.3, 0.4, 0.5])
    torch.testing.assert_close(asked.encoder.normalization.std.flatten().tolist(), [0.2, 0.3, 0.4])


@pytest.mark.parametrize("training", [[], ["finetune=adversarial", "finetune_recipe.epochs=1"]])
def test_the_report_tells_of_the_transfer(checkpoint, folder, judged_on, tmp_path, training):
    cfg = config("robust", *QUICK, f"results_dir={tmp_path}", *judged_on, *training)
    cfg.checkpoint = str(checkpoint)
    report, files = evaluate(cfg, quiet=True)
    assert report.data["classes"] == 3
    said = (
        f"Transfer: pretrained on digits, judged on custom ('{folder}/train'), resized from 24x20 "
        "to 16x16"
    )
    assert f"- {said}\n" in files["md"].read_text()
    assert report.data["transfer"] == json.loads(files["json"].read_text())["data"]["transfer"]


def test_on_its_own_data_there_is_no_transfer(checkpoint, tmp_path):
    cfg = config("robust", *QUICK, f"results_dir={tmp_path}")
    cfg.checkpoint = str(checkpoint)
    report, files = evaluate(cfg, quiet=True)
    assert "transfer" not in report.data
    assert "Transfer" not in files["md"].read_text()


def test_every_command_tells_of_it(command, checkpoint, folder, judged_on):
    """``data=custom`` is short for ``data.dataset=custom``."""
    short = ["data=custom", *judged_on[1:]]
    status, out, err = command(
        *("main_linear", f"pretrained_feature_extractor='{checkpoint}'", *short, "max_epochs=1"),
        *("optimizer.batch_size=8", "accelerator=cpu"),
    )
    assert status == 0, err
    assert f"Transfer: pretrained on digits, judged on custom ('{folder}/train')" in out
    small = ["max_images=5", "alarm_images=0", "autoattack=false", "recipe=converged"]
    status, out, err = command(
        *("benchmark.__main__", f"checkpoint='{checkpoint}'", "protocols=[slf]"),
        *("accelerator=cpu", *small, *short),
    )
    assert status == 0, err
    assert f"- Transfer: pretrained on digits, judged on custom ('{folder}/train')" in out
    status, _, err = command("main_robust", f"checkpoint='{checkpoint}'", "data=cifra10")
    assert status == 2
    assert "Did you mean 'cifar10'" in err
