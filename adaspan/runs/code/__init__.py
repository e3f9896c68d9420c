"""Which code trains a run.

fingerprint.py   a digest of each file that can change a result, and how two codes differ
syntax.py        the digest of one file
commit.py        commit, and what differs from it
snapshot.py      a frozen copy, for runs that start later
"""
