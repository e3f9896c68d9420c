"""The configuration: every knob, what is allowed, the way from Hydra. Without torch.

schema.py     every knob, its type and what it means
validate.py   ranges and rules between keys
hydra.py      where Hydra ends: its dictionary becomes a typed RunConfig
flags.py      which flags a command line may have
mistakes.py   what Hydra refuses, in our words
sweeps.py     what a command asks for that trains many runs
frozen.py     the resolved configuration as a file of the run folder
"""
