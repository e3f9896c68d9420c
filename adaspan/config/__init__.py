"""The configuration: `schema` (every knob), `validate` (what is allowed), `identity` (the run's
hash) and `compose` (the bridge to Hydra). Imports no torch, so that mistakes show at once.
"""
