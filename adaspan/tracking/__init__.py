"""Weights & Biases, and no other package knows it.

run.py      one W&B run, while it is trained
media.py    its pictures and tables
client.py   how W&B's client is started
"""
