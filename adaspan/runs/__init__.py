"""The record of a run: its folder and its identity, readable without torch.

folder.py     the files of one run
figures.py    every figure of a row, once
failures.py   every state and class of failure, once
identity.py   the hash that names the run everywhere
start.py      the command lines that train the run of a folder
read.py       rows and spans as tables
"""
