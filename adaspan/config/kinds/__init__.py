"""What a run can choose between. One class a kind: its keys, its checks, what it builds.

registry.py   `register`, and what was registered: the built-in kinds and a user's own
contract.py   what a kind must take and give
code.py       where the code of a user's own kinds is, and its hash
span.py       how far back a head looks
data.py       where the text comes from
optimizer.py  how the weights are updated
attention.py  how attention is computed

docs/extending.md shows how to add one from outside.
"""

from adaspan.config.kinds import attention, data, optimizer, span

__all__ = ["attention", "data", "optimizer", "span"]
