"""One run, from its configuration to its final score.

run.py           opens it: device, processes, data, folder
loop.py          resume, loop, evaluate, finish
trainer.py       one update after another
state.py         all that a checkpoint holds, and how a run goes on from it
flops.py         FLOPs that training executes, counted as it goes
statistics.py    what moved weights and spans, and what clipping left of it
build.py         the model and the optimizer that a configuration describes
spans.py         refuses spans of a user's kind that are out of range
optim.py         the learning rate schedule and clipping
evaluate.py      how well a model predicts a text
score.py         score of a run's weights on valid and test, by all its processes
rows.py          the rows of metrics
record.py        what a run writes down, in its folder and on W&B
out_of_memory.py out of memory, as one line with a way out
checkpoint.py    written whole or not at all
load.py          the trained model, from its folder alone
distributed.py   several processes train one run
device.py        where a run computes, and in which precision
profile.py       where the time of an update goes
terminal.py      prints lines and the progress bar
summary.py       the lines that a run prints
"""
