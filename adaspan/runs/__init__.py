"""The record of a run: its folder and its identity, readable without torch.

folder.py     the files of one run
figures.py    what a row of metrics holds, each figure once
identity.py   the hash that names the run everywhere
read.py       rows and spans as tables
"""
