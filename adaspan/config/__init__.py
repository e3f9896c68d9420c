"""The configuration: every knob, what is allowed, the way from Hydra. Without torch.

schema.py        every knob, its type and what it means
kinds/           what a span, a data set, an optimizer can be: keys, checks, what they build
extensions.py    modules that add kinds from outside
command_line.py  which of them a command names
validate.py      ranges and rules between keys, with the checks of checks.py
hydra.py         where Hydra ends: its dictionary becomes a typed RunConfig
flags.py         which flags a command line may have
mistakes.py      what Hydra refuses, in our words
sweeps.py        what a command asks for that trains many runs
resolved.py      the resolved configuration as a file of the run folder
"""
