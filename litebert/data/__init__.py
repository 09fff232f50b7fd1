"""Tokens to batches: corpus, shards, pairs, masks, labelled rows."""
