"""The building blocks: torch and nothing else of ours, to be lifted into any model.

span/               the idea: soft mask, learned spans, penalty; a file a kind
budget.py           spans of a given mean length: finds the price that this takes
attention/          one signature: the readable reference, and the one whose cost follows the spans
self_attention.py   one attention layer for a model of one's own, complete in itself
persistent.py       learned keys and values that every token sees
cache.py            what a layer remembers of the text: hidden states, or keys and values
multi_head_attention.py  projections, a window for each group of heads, attention
heads.py            what belongs to some heads, out of what is there for all
layers.py           feed-forward, and attention and feed-forward in post-norm
adaptive_io.py      embedding and output layer for many words, the rare ones in clusters
output.py           from hidden states to log-probabilities, or the cost of targets
transformer.py      the whole model and its caches
inspection.py       what a head looks at: its weights over a text
generation.py       text from a model: which token comes next
flops.py            what a model costs, counted
token_ids.py        ids of tokens, as a caller gives them
checks.py           wrong shapes and values, refused in one line
eager.py            what torch.compile leaves as it is

A tensor's name ends in its shape, a letter a dimension: q_BHMK. The letters, in every file here:

B  batch: streams that are read side by side      M  tokens of the block that is read now
H  heads of a layer, or of a group of them        C  keys: cached tokens, then the block's own
D  dim, width of the hidden states                K  head_dim, width of one head's part of it
S  distances that a window has, span.limit at most
F  ffn_dim    V  vocabulary size    L  layers     P  persistent keys    T  tokens of a whole text

and where the band of scores is cut into tiles (`attention/banded.py`, `band.py`, `masks.py`):

N  batch x heads    I  rows of a tile: queries    W  distances of the window, the farthest first
                    J  its columns: keys          E  the farthest of them, where a mask is not 1
                                                  X  those that may lie on a query's own ramp

A digit is a dimension of that size: sum_NM1. Gradients begin with d_. In formulas t is a token, x
a distance from it, z a span, R the ramp, and S the span limit.
"""
