"""Text becomes three memory-mapped arrays of token ids, prepared once (`prepare`), from one of the
`sources`; training reads them as parallel `streams`.
"""

from adaspan.data.prepare import Corpus, Tokens, prepare
from adaspan.data.sources import Source

__all__ = ["Corpus", "Source", "Tokens", "prepare"]
