"""Batches to weights: loop, optimizers, schedules, checkpoints, pre-training, fine-tuning."""
