"""The building blocks: torch and nothing else of ours, to be lifted into any model.

span.py          the idea: soft mask, learned spans, penalty
attention/       one signature: the readable reference, and the one whose cost follows the spans
layers.py        multi-head attention, feed-forward, the two in post-norm
transformer.py   the whole model and its caches
flops.py         what a model costs, counted
"""
