"""Many runs from one command: planned and checked as a whole, each trained by a process of its own.

launchers.py   what a launcher does, from the plan to the results
plan.py        the command's runs, all checked before the first starts
cost.py        what they may cost
local.py       trains them on this machine
cluster.py     submits them to a cluster
results.py     what a search learns of them
"""
