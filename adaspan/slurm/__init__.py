"""Runs as jobs of a SLURM cluster: submitted once, and each ends however often it is interrupted.

cluster.py    what SLURM says and does, through its own commands
snapshot.py   the code as it is now, for jobs that start later
submit.py     from runs to job arrays, only those that are missing
job.py        what runs on a node: trains, goes back into the queue, explains failures
"""
