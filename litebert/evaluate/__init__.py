"""Predictions to numbers: the metrics of each task."""
