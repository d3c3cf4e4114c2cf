"""A pretraining or probing run: its config, its Trainer, its checkpoints and its end."""
