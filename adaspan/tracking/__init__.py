"""Weights & Biases, and no other package knows it.

run.py    one W&B run, while it is trained
"""
