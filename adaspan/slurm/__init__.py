"""Runs as jobs of a SLURM cluster: submitted once, and each ends however often it is interrupted.

cluster.py    what SLURM says and does, through its own commands
sbatch.py     what sbatch is given for runs
submit.py     from runs to job arrays, only those that are missing
job_record.py what a run folder says of the run's jobs
lookup.py     which job a run has, and what its last one printed
job.py        what runs on a node: trains, goes back into the queue, explains failures
"""
