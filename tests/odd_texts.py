"""Makes up texts that are hard to tokenize, and NLTK's own tokens of them."""

from nltk.tokenize import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktSentenceTokenizer

from common.data import tokenizing

# what NLTK's rules speak of, and what stands near it: contractions, abbreviations, numbers, brackets, quotes, dots,
# letters whose lower case is longer or depends on their place, and all kinds of white space
WORDS = str.split("""
cannot can not d'ye gimme gonna Gotta lemme more'n wanna WANNA 'tis 'Twas 't is it's I'd n't don't CAN'T they've we'll
X'S o'clock rock'n'roll U.S. e.g. i.e. Mr. Dr. J.R. p.m. a I b j. the The movie film Smith x 1 2. 3.14 1,000 10:30 $5 #1
http://a.b/title?c=d&e=f www.a.b foo@bar.com <b> </i> <br/> &amp; '' `` " ' ` ... .. . -- --- - — – ‘ ’ “ ” « » „ ? !
?! !!! , ,, : ; ( ) [ ] { } < > * ** % @ # & / \\ _ é naïve İstanbul ſ gımme GİMME wanNa ΑΣ ß 日本 。 … ² ½ ٣ 🎬
""")
WORDS += ["<br />", ". . .", "\x85", "\xa0", "\t", "\n", "\r\n", "\x0b", "\x1c", "\u2028", "\u3000", "\u200b", "\ufeff"]
WORDS += ["\x96", "\0", " \0 ", "\u0301"]
SPACES = [" ", " ", " ", " ", "  ", "", "", "", "\n", "\t", "\xa0"]
CHARACTERS = "ab A.B ..?!,:;'\"`()[]{}<>*-  \n\t’”“‘«»#$%&@1 2é\xa0\x85\x1c\0—–_sStTmMdDlLvVrReEnN "
STARTS = ['"', "'", "''", "(", "``", "“", "‘", "[", "<", '("', "'\""]
ENDS = str.split(""". ? ! ... ." .) .' '. ". !" ' '' , . .'' .— .-- ., .” ”. ?) :. ;. ,.""")
ENDS += [", ", ". ", ".  ", '. "', ". '", ". ''", ". )", " -- ", ". ”", " .", " . ", ".\n"]


def odd_text(rng, reviews, abbreviations):
    """A text (str) drawn with the `random.Random` rng: characters, words, or a cutting of a review with mistakes."""
    kind = rng.random()
    if kind < 0.1:
        return "".join(rng.choices(CHARACTERS, k=rng.randrange(40)))
    if kind < 0.6:
        return "".join(_odd_word(rng, reviews, abbreviations) for _ in range(int(rng.expovariate(1 / 12))))
    review = rng.choice(reviews)
    start = rng.randrange(len(review))
    text = list(review[start : start + rng.randrange(20, 600)])
    for _ in range(rng.randrange(1, 8)):
        place = rng.randrange(len(text) + 1)
        change = rng.choice([WORDS, CHARACTERS, None])
        text[place : place + rng.randrange(3)] = rng.choice(change) if change else ""
    return "".join(text)


def _odd_word(rng, reviews, abbreviations):
    kind = rng.random()
    if kind < 0.6:
        word = rng.choice(WORDS)
    elif kind < 0.7:
        word = rng.choice(abbreviations) + "."
    else:
        word = rng.choice(rng.choice(reviews).split(" "))
    word = rng.choice([str.upper, str.capitalize, *[str] * 8])(word)
    start = rng.choice(STARTS) if rng.random() < 0.1 else ""
    end = rng.choice(ENDS) if rng.random() < 0.25 else ""
    return start + word + end + rng.choice(SPACES)


class Oracle:
    """NLTK's own two steps with the Punkt parameters that `common.data.tokenizing` uses."""

    def __init__(self):
        self.parameters = tokenizing._sentence_tokenizer._params
        self._sentence_tokenizer = PunktSentenceTokenizer(self.parameters)

    def tokens(self, text):
        plain = text.replace("<br />", " ").replace("\x96", " ")
        sentences = self._sentence_tokenizer.tokenize(plain)
        return [word.lower() for sentence in sentences for word in NLTKWordTokenizer().tokenize(sentence)]

    def abbreviations(self):
        return sorted(self.parameters.abbrev_types | {first for first, _ in self.parameters.collocations})
