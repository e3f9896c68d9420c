"""The record of a run: its folder and its identity, readable without torch.

folder.py     the files of one run
figures/      every figure of a row, once
failures.py   every state and class of failure, once
identity.py   the hash that names the run everywhere
source.py     what a run was made of, at each start
code/         which code trains it
command.py    how the run of a folder is started
slices.py     what slices of valid cost: how certain a score is
read.py       rows and spans as tables
"""
