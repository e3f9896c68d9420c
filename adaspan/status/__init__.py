"""What is known of any run: from its folder first, from SLURM second. Nothing here is written.

find.py      the runs that a person means
state.py     what has become of runs
table.py     the same as a table on a terminal
explain.py   what a run is, against the default and its siblings
"""
