"""Weights & Biases, and no other package knows it.

files.py      what W&B leaves in a run folder, and what we note beside it
run.py        one W&B run, while it is trained
media.py      its pictures and tables
client.py     how W&B's client is started
internals.py  what we use of it beyond what it documents
account.py    whoever is signed in, for commands that need W&B
sync.py       runs sent once they have ended, several at a time
send.py       one of them, in a process of its own
"""
