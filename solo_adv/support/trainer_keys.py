"""The arguments of Lightning's Trainer, which is not imported for them."""

from solo_adv.support.signatures import constructor

TRAINER_KEYS = constructor("lightning.pytorch.trainer.trainer", "Trainer")
"""The arguments, with their types. A config has them as top-level keys."""
OPTIONAL_KEYS = (*TRAINER_KEYS, "resume_from_checkpoint")
"""Top-level keys of a run that no config needs to list."""
