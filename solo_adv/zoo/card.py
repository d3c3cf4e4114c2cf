"""The model card: description, results, intended use and limits of a model."""

from solo_adv.catalogue.entry import Entry
from solo_adv.zoo.table import facts, results


def card(entry: Entry) -> str:
    """A Markdown page with front matter for the Hugging Face hub."""
    threats = list(dict.fromkeys(e.threat_model for e in entry.evaluations))
    return f"""---
license: {entry.licence.lower()}
library_name: solo-adv
tags: [self-supervised, adversarial-robustness, image-feature-extraction]
datasets: [{entry.dataset}]
---

# {entry.name}

{entry.summary}

{facts(entry)}

```python
import torch
import solo_adv

encoder = solo_adv.load_pretrained("{entry.name}")  # frozen, in eval mode
features = encoder(torch.rand(8, 3, {entry.image_size}, {entry.image_size}))  # pixels in [0, 1]
```

## Results

Accuracy in percent (number of test images) of a linear head on the frozen encoder.

{results(entry)}

Threat model: {"; ".join(threats)}.

## Intended use

Features of images that resemble {entry.dataset} at {entry.image_size} pixels; a baseline for
research on adversarial robustness.

## Limits

- The robustness is measured, not guaranteed, and only for the threat model and the radii above. The
  results say nothing about other perturbations.
- The heads classify the {entry.classes} classes of {entry.dataset} only.
- The model takes float pixels in [0, 1]; normalisation, if any, is part of it.
"""
