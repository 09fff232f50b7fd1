"""Rows to answers: predictors."""
