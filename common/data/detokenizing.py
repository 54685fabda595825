"""Text for a reader, of the handout's tokens: joins what `common.data.tokenizing` splits."""

import re

from nltk.tokenize.treebank import TreebankWordDetokenizer

_DECADE = re.compile(r"(?<!\S)' (?=\d0s\b)")
# NLTK takes any ' for the end of a word; one that a second one follows within ten words begins a quotation
_SINGLE_QUOTED = re.compile(r"(?<!\S)' (\S+(?: \S+){0,9}?) '(?!\S)")


class _Detokenizer(TreebankWordDetokenizer):
    PUNCTUATION = (
        (re.compile(r" (\.{2,})"), r"\1"),  # NLTK's own rule would remove the space after the dots as well
        (re.compile(r"(?<=\*) (?=\*)"), ""),  # reviews give stars: "**** out of ****"
        *TreebankWordDetokenizer.PUNCTUATION,
    )
    DOUBLE_DASHES = (re.compile(" -- "), " -- ")  # NLTK would join the words on both sides


def detokenize(tokens):
    """The text (str) of a review's `tokens`, a list of str as `common.data.tokenizing.tokenize` makes it.

    The spaces are those that English has, not those that the review had; a token such as "<unk>" stays as it is.
    """
    text = _DECADE.sub("'", " ".join(tokens))
    text = _SINGLE_QUOTED.sub(r"'\1 '", text)
    return _Detokenizer().detokenize(text.split(" "))
