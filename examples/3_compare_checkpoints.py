# %% [markdown]
# # Judge and compare checkpoints
#
# Two encoders are judged on the same images with the same settings: one that was trained on digits, and one
# that was trained on photographs and now has to tell digits apart. Any checkpoint can take their place: a
# run's directory, a file of solo-learn or of another repository, or `timm:NAME`.

# %%
from pathlib import Path
from tempfile import mkdtemp

from solo_adv.evaluation.evaluating import evaluate
from solo_adv.report import merge, read_entry
from solo_adv.support.cli import quiet_libraries
from solo_adv.support.configs import composed

quiet_libraries()
folder = Path(mkdtemp())
models = ["cfamc_resnet10w16_digits_m3", "deacl_fast_resnet18w16_cifar10"]

# %% [markdown]
# `evaluate` is what `main_robust.py` calls. It trains a linear head on the frozen encoder and attacks both.
# Few images and few steps keep this short; leave those settings out for figures to publish.

# %%
entries = []
for model in models:
    cfg = composed(
        "robust",
        [
            *(f"checkpoint={model}", "data.dataset=digits", f"results_dir={folder}/results"),
            *("data.image_size=16", "max_images=50", "steps=5", "alarm_images=0"),
            *("epsilons=[4/255,8/255]", "accelerator=cpu"),
        ],
    )
    report, written = evaluate(cfg)
    entries.append(read_entry(written["json"]))

# %% [markdown]
# A figure of 50 images has a standard error of several points, and each report says so.

# %%
for entry in entries:
    for measured in entry.report.measurements:
        print(f"{measured.label:18} {measured.correct:4} of {measured.total}")
    print()

# %% [markdown]
# `merge` is what `python -m solo_adv.report` calls: a table of all reports, the trade-off as a picture, and a
# page to sort and filter.

# %%
for path in merge(entries, folder / "merged", html=folder / "leaderboard.html"):
    print(path)
