"""Many runs from one command: planned and checked as a whole, each trained by a process of its own.

jobs.py      the command's runs, all mistakes found before the first starts
cost.py      what they may cost
local.py     trains them on this machine
slurm.py     submits them to a cluster
state.py     what has become of runs
results.py   what a search gets to know of them
find.py      the runs that a person means
explain.py   what a run is, against the default and its siblings
"""
