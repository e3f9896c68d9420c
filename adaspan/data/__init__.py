"""Text becomes three memory-mapped arrays of token ids, prepared once (`prepare`), from one of the
`sources`; training reads them as parallel `streams`. A `vocabulary` says what their ids stand for.
"""

from adaspan.data.prepare import Corpus, prepare
from adaspan.data.prepared import Tokens
from adaspan.data.sources import Source
from adaspan.data.vocabulary import Vocabulary

__all__ = ["Corpus", "Source", "Tokens", "Vocabulary", "prepare"]
