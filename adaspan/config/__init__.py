"""The configuration: `schema` (every knob), `validate` (what is allowed), `identity` (the run's
hash), `frozen` (the run folder's copy) and `compose` (the bridge to Hydra). It imports no torch, so
that mistakes show at once.
"""
