"""The record of a run: its folder and its identity, readable without torch.

folder.py     the files of one run
identity.py   the hash that names the run everywhere
"""
