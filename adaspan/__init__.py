"""Transformers that learn their own attention span (Sukhbaatar et al., ACL 2019)."""

__version__ = "0.1.0"
