"""Where sentences end in running prose.

Rules, not a model: one regular expression finds every run of sentence marks, and the few that do not simply
end a sentence (abbreviations, initials, enumerations, dots in a row, speech) are decided by the words on both
sides. The words are English; other languages in Latin script lose only the abbreviations, and the marks of
Chinese, Japanese, Arabic and Hindi are known too. To class abbreviations by what may follow them is the way
of Grefenstette and Tapanainen, "What is a word, what is a sentence?" (1994).
"""

import re

_MARK = ".!?…。！？｡؟۔।॥"
_BREAK = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"

# A line break; or a run of marks and what closes around it (quotes, brackets, the number of a footnote). Then
# space. One set of characters to begin with is what makes the search fast.
_CANDIDATE = re.compile(
    f"[{_MARK}{_BREAK}](?:(?<![{_BREAK}])[{_MARK}]*(?:[\"'”’»›)\\]}}」』）]|\\[[0-9]{{1,3}}\\])*)?\\s*"
)
_SPACE = re.compile(r"\s*")
_LINE_END = re.compile(f"[{_BREAK}]")
_NO_SPACE_NEEDED = frozenset("。！？｡")

_OPENERS = frozenset("\"'“‘«‹([{¿¡-–—*•")
_OPENERS_OF_WORD = "\"'“‘«‹([{-–—"
_CLOSERS = frozenset("\"'”’»›)]}")
_QUOTES = frozenset("\"'”’»›")
_MARKS = frozenset(".!?…")

_QUOTE_WINDOW = 5000
"""A quotation mark with space on both sides closes if one is open in its paragraph; how far back we look."""

_WORD = re.compile(r"[^\W\d_]+(?:[’'][^\W\d_]+)?")
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")  # U.S, p.m, Ph.D
_ENUMERATION = re.compile(r"\(?(?:[0-9]{1,3}(?:\.[0-9]{1,3})*|[A-Za-z]|[ivxlIVXL]{2,5})")
_LIST_ITEM = re.compile(r"\((?:[a-z]|[ivx]{2,4})\)\s")
_SPEECH = re.compile(
    r"(?:I|(?:Mr|Mrs|Ms|Miss|Dr|Sir|Lady|Lord)?\.? ?[A-Z][\w’'-]+(?: [A-Z][\w’'-]+)?) "
    r"(?:said|says|asked|asks|cried|replied|exclaimed|answered|shouted|whispered|muttered|murmured|yelled"
    r"|screamed|inquired|enquired|remarked|demanded|wondered|interrupted|retorted|gasped|growled|sighed|thought)\b"
)

_BEFORE_NAMES = frozenset(
    """
    mr mrs ms mx messrs mme mlle mgr dr drs prof profs gen sen sens rep reps gov pres capt cpt col lt
    maj sgt cpl pvt cmdr adm rev revd rt hon fr supt insp e.g i.e eg ie viz cf vs v
    """.split()  # noqa: SIM905
)
"""Written before a name or an example, in lower case: they do not end a sentence, whatever follows."""

_BEFORE_NUMBERS = frozenset(
    """
    no nos nr vol vols p pp pg pgs ch chap chaps sec secs sect art arts fig figs eq eqs tab ex op par
    para paras ver ed tel ext c ca cca approx circa b d r fl § vv l ll n nn
    """.split()  # noqa: SIM905
)
"""Written before a number, in lower case: they do not end a sentence where one follows."""

_EITHER = frozenset(
    """
    Inc Ltd Co Cos Corp LLC PLC Bros Jr Sr Esq al dept Dept Univ univ Assn Ave Blvd Rd St Ste Mt Ft Mon
    Tue Tues Wed Thu Thur Thurs Fri Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Ed Eds ed eds trans
    Calif Cal Mass Conn Penn Pa Va Ala Ariz Ark Colo Fla Ga Ill Ind Kan Ky Md Mich Minn Miss Mo Mont Neb
    Nev Okla Ore Tenn Tex Vt Wash Wis Wyo Ont Que Inst Intl Natl Govt Acad Bldg approx Approx
    """.split()  # noqa: SIM905
)
"""They end a sentence only where a word that seldom begins a name follows."""

_STARTERS = frozenset(
    """
    The A An This That These Those It He She We They You I His Her Its Their Our My Your In On At By For
    From With As If When Whenever While Although Though However But And Or So Yet Because Since After
    Afterwards Before During There Here What Who Why How Where Which Whether Then Thus Hence Therefore
    Moreover Furthermore Additionally Also Not No Yes Some Many Most Much Few Several Each Every All
    Both Another Other Others One Once Until Unless Unlike Despite Under Between Among Only Even Such To
    Let Do Did Does Is Are Was Were Can Could Will Would Should Has Have Had Now Today Later Soon Nobody
    Everyone Someone Something Nothing Everything Perhaps Maybe Indeed Instead Meanwhile Nevertheless
    Nonetheless Finally First Second Third Next Again According Apart About Like It's He's She's That's
    There's I'm We're They're You're Don't Using Given Any Either Neither Nor Please See Overall Thanks
    Well Oh Still Just Through Throughout Upon
    """.split()  # noqa: SIM905
)
"""Words that begin sentences far more often than names."""


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Spans (start, end) of the sentences of `text`, in characters, end exclusive.

    The spans are ascending, do not overlap, have no white space at their ends and cover everything but white
    space. A line break always ends a sentence: one paragraph stands on one line.
    """
    spans: list[tuple[int, int]] = []
    length = len(text)
    start = length - len(text.lstrip())
    for match in _CANDIDATE.finditer(text, start):
        mark, after = match.span()
        found = match[0]
        if after == length:
            break
        end = mark + len(found.rstrip())
        if end == mark:  # a line break, perhaps with space before it
            while text[end - 1].isspace():
                end -= 1
        if text[after] == '"' and after > end and _closes(text, after, found):
            end = after + 1
            after = end + len(_SPACE.match(text, end)[0])  # type: ignore[index]
            found = text[mark:after]
            if after == length:
                break
        if _ends_sentence(text, start, mark, after, found):
            spans.append((start, end))
            start = after
    end = len(text.rstrip())
    if start < end:
        spans.append((start, end))
    return spans


def _closes(text: str, quote: int, found: str) -> bool:
    """Whether the quotation mark at `quote`, after marks and space, stands as in `" So it ends . " Then`."""
    if not text[quote + 1 : quote + 2].isspace() or _LINE_END.search(found):
        return False
    window = max(quote - _QUOTE_WINDOW, 0)
    paragraph = max(text.rfind("\n", window, quote), window)
    return text.count('"', paragraph, quote) % 2 == 1


def _ends_sentence(text: str, start: int, mark: int, after: int, found: str) -> bool:
    """Whether the marks `found` = text[mark:after] end the sentence from `start` on; text[after] exists."""
    if len(found) != 2 or found[1] != " " or found[0].isspace():
        if _LINE_END.search(found):
            return True
        if not found[-1].isspace():
            return found[0] in _NO_SPACE_NEEDED or _lacks_space(text, mark, after)
    follower = text[after]
    if follower in _MARKS:
        return False  # dots with spaces between them
    if not (follower.isupper() or follower.isdigit()):
        if _LIST_ITEM.match(text, after):
            return True
        after = _skip_openers(text, after)
        if after == len(text):
            return True
        if text[after].islower():
            return False
    if found[0] == "." and "." not in found[1:] and "?" not in found and "!" not in found:
        return _full_stop_ends(text, start, mark, after)
    return _exclaimed_ends(text, mark, after, found)


def _skip_openers(text: str, at: int) -> int:
    """Where the word begins before which quotes, brackets and dashes stand at `at`, perhaps one space too."""
    begin = at
    while at < len(text) and text[at] in _OPENERS:
        at += 1
    if begin < at < len(text) and text[at].isspace():
        at += 1
    return at


def _lacks_space(text: str, mark: int, after: int) -> bool:
    """Whether a mark without space after it, as in "the day.You", ends a sentence; text[after] exists."""
    word = text[max(0, mark - 2) : mark]
    return text[after].isupper() and word.isalpha() and word.islower() and _starts_sentence(text, after)


def _exclaimed_ends(text: str, mark: int, after: int, found: str) -> bool:
    """The rule for "!", "?" and dots in a row before a capital."""
    if "!" not in found and "?" not in found:
        word = _WORD.match(text, after)
        return word is None or not (word[0] == "I" or text.endswith(word[0], 0, mark))
    if found.rstrip() in ("?)", "!)") and text[mark - 1] == "(":
        return False
    return not (_QUOTES.intersection(found) and _SPEECH.match(text, after))


def _full_stop_ends(text: str, start: int, mark: int, after: int) -> bool:
    """The rule for a single full stop before a capital, a digit or an uncased letter."""
    if mark > 7 and text[mark - 7 : mark].isalpha():
        return True  # longer than any abbreviation we know
    before = text[max(start, mark - 13) : mark].split()
    if not before or len(before[-1]) > 12 or text[mark - 1] in _CLOSERS:
        return True
    word = before[-1]
    if mark - len(word) == start and _ENUMERATION.fullmatch(word):
        return False
    word = word.lstrip(_OPENERS_OF_WORD)
    lower = word.lower()
    if lower in _BEFORE_NAMES:
        return False
    if text[after].isdigit() and (lower in _BEFORE_NUMBERS or word in _EITHER):
        return False
    if word in _EITHER or (len(word) == 1 and word.isalpha()) or _ACRONYM.fullmatch(word):
        return _starts_sentence(text, after)
    return True


def _starts_sentence(text: str, at: int) -> bool:
    word = _WORD.match(text, at)
    if word is None:
        return False
    return word[0].replace("’", "'") in _STARTERS and text[word.end() : word.end() + 1] != "."
