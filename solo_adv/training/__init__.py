"""Runs pretraining and linear evaluation: config, Trainer, checkpoints, resuming, errors."""
