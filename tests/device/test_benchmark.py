"""The benchmark's three protocols run on the device and count what they count on the CPU."""

import pytest
from omegaconf import OmegaConf

from solo_adv.benchmark import running
from solo_adv.evaluation import evaluating
from tests.benchmark.test_running import config

PROTOCOLS = ["slf", "alf", "aff"]
IMAGES = 12
SHORT = {
    "train_steps": 2,
    "head": {"epochs": 2, "milestones": [], "min_updates": 4},
    "finetune_recipe": {"epochs": 1, "milestones": []},
}


@pytest.mark.slow
def test_slf_alf_and_aff_count_what_they_count_on_the_cpu(device, monkeypatch, tmp_path):
    usual, figures, asked = running.evaluate, [], []
    monkeypatch.setattr(running, "evaluate", lambda cfg: usual(OmegaConf.merge(cfg, SHORT)))
    settings = {"protocols": PROTOCOLS, "recipe": "robustssl", "max_images": IMAGES}
    for where in (device, "cpu"):

        def device_of(_, where=where):
            asked.append(where)
            return where

        monkeypatch.setattr(evaluating, "device_of", device_of)
        cfg = config(tmp_path / where, **settings, **{"data.fraction": 0.03})
        benchmark, _ = running.run(cfg)
        assert benchmark.missing == []
        figures.append({name: done.figures for name, done in benchmark.protocols.items()})
    assert asked == [device] * 3 + ["cpu"] * 3
    found, expected = figures
    assert list(found) == list(expected) == PROTOCOLS
    for name in PROTOCOLS:
        assert found[name] == pytest.approx(expected[name], abs=2.1 / IMAGES), name
