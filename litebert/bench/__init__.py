"""Measuring litebert beside the systems people would use instead, in turn, in one run."""
