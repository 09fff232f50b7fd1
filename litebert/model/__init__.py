"""Tensors to tensors on one device: encoder, sharing plans, heads, presets."""
