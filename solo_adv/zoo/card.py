"""The model card: what a model is, what it is worth, what it is for and what not."""

from solo_adv.zoo.entry import Entry
from solo_adv.zoo.table import facts, results


def card(entry: Entry) -> str:
    """A Markdown page with the front matter that the Hugging Face hub reads."""
    threats = list(dict.fromkeys(e["threat_model"] for e in entry.evaluations))
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

Accuracy in percent (number of test images), a linear head on the frozen encoder.

{results(entry)}

Threat model: {"; ".join(threats)}.

## Intended use

Features of images that resemble {entry.dataset} at {entry.image_size} pixels; a baseline for
research on adversarial robustness.

## Limits

- Robust means: against the threat model above, up to the radii above, to the degree shown. It is
  no guarantee, and says nothing of other perturbations.
- Heads are for the {entry.classes} classes of {entry.dataset} only.
- Pixels go in as float in [0, 1], not normalised; normalisation, if any, is inside.
"""
