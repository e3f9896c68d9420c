"""One run, from its configuration to its final score.

run.py           opens it: device, processes, data, folder
loop.py          resume, loop, evaluate, finish
trainer.py       one update after another, and all that a checkpoint holds
build.py         the model that a configuration describes
optim.py         optimizers, clipping, the learning rate
evaluate.py      how well a model predicts a text; score.py: how well a run's weights do
rows.py          the rows of metrics; record.py: what a run writes down and shows
out_of_memory.py memory that does not suffice, as one line
checkpoint.py    written whole or not at all
load.py          the trained model, from its folder alone
distributed.py   several processes, one run
device.py        where a run computes, and in which precision
profile.py       where the time of an update goes
terminal.py      what a run shows; summary.py: in which words
"""
