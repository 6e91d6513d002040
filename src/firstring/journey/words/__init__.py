"""What is in somebody's own words: the language, the mood, what it is about, how much it presses; and trained reasons.

tokens -> language and lexicon -> reading (`read_words`); reasons: a text model trained on one's own labels.
"""

from firstring.journey.words.reading import Words, read_words

__all__ = ["Words", "read_words"]
