"""Sets how long to fuzz, and counts the examples.

``SOLO_ADV_FUZZ`` is the number of examples of each test, and ``SOLO_ADV_FUZZ_COUNTS`` a file that
gets the counts.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "solo_adv",
    max_examples=int(os.environ.get("SOLO_ADV_FUZZ", "40")),
    deadline=None,
    derandomize="SOLO_ADV_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("solo_adv")


@pytest.fixture(scope="session")
def outcomes():
    """Counts the outcomes of the examples, by test and outcome."""
    counter = Counter()
    yield counter
    path = os.environ.get("SOLO_ADV_FUZZ_COUNTS")
    if path:
        Path(path).write_text(json.dumps(counter, indent=2))
