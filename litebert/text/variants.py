"""Words and phrases of English that can stand for each other, in lists of our own making.

What is here changes no meaning that a label could hang on: a word is left out where one of its senses does not bear the
exchange ("practice", "check", "tire", "story"), and nothing adds or takes away a negation.
"""

import functools
import re
from typing import NamedTuple

NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|cannot|without|hardly|barely|scarcely|seldom|rarely"
    r"|dont|doesnt|didnt|isnt|arent|wasnt|werent|hasnt|havent|hadnt|couldnt|wouldnt|shouldnt|cant)\b"
    r"|\w*n['’]t\b",
    re.IGNORECASE,
)
"""Words that turn a sentence round."""

_OUR = """
ard arm behavi cand clam col demean endeav fav ferv flav harb hon hum lab neighb od parl rum sav splend tum val vap vig
"""
_OUR_ENDINGS = " s ed ing er ers able ably ful fully less ite ites hood hoods ly y"
"""color, colors, colored, … and colour, colours, coloured, …; forms that no one writes do no harm."""

_ISE = """
agon american apolog author brutal capital categor central character civil commercial critic crystal custom
demoral digit dramat econom emphas energ epitom fantas fertil final formal fossil general glamor global harmon
hospital hypnot ideal immun industrial initial jeopard legal local marginal maxim mechan memor merchand minim mobil
modern monopol moral motor national natural neutral normal optim organ penal personal plagiar polar popular priorit
public real recogn reorgan revital revolution ritual sensational social special stabil standard steril subsid summar
symbol sympath synchron terror tranquil trivial util vandal victim visual western
"""
_ISE_ENDINGS = "e es ed ing er ers ation ations"

_SPELLINGS = """
acknowledgment acknowledgement, acknowledgments acknowledgements, aging ageing, airplane aeroplane,
airplanes aeroplanes, aluminum aluminium, analog analogue, analyze analyse, analyzed analysed, analyzer analyser,
analyzing analysing, anemia anaemia, anemic anaemic, anesthesia anaesthesia, anesthetic anaesthetic,
artifact artefact, artifacts artefacts, behavioral behavioural, behaviorally behaviourally, caliber calibre,
canceled cancelled, canceling cancelling, catalog catalogue, catalogs catalogues, center centre, centered centred,
centering centring, centers centres, centimeter centimetre, centimeters centimetres, channeled channelled,
channeling channelling, counseled counselled, counseling counselling, counselor counsellor, counselors counsellors,
cozy cosy, defense defence, defenseless defenceless, defenses defences, dialed dialled, dialing dialling,
diarrhea diarrhoea, distill distil, distills distils, encyclopedia encyclopaedia, enroll enrol, enrollment enrolment,
enrolls enrols, estrogen oestrogen, fiber fibre, fibers fibres, fueled fuelled, fueling fuelling, fulfill fulfil,
fulfillment fulfilment, fulfills fulfils, gray grey, grayish greyish, grays greys, installment instalment,
installments instalments, instill instil, instills instils, jeweler jeweller, jewelers jewellers, jewelry jewellery,
judgment judgement, judgments judgements, kilometer kilometre, kilometers kilometres, labeled labelled,
labeling labelling, leukemia leukaemia, leveled levelled, leveling levelling, licorice liquorice, liter litre,
liters litres, luster lustre, maneuver manoeuvre, maneuvered manoeuvred, maneuvering manoeuvring,
maneuvers manoeuvres, marveled marvelled, marveling marvelling, marvelous marvellous, marvelously marvellously,
math maths, meager meagre, millimeter millimetre, millimeters millimetres, modeled modelled, modeling modelling,
mold mould, molding moulding, molds moulds, moldy mouldy, mom mum, moms mums, mustache moustache,
mustaches moustaches, offense offence, offenses offences, orthopedic orthopaedic, pajamas pyjamas, paralyze paralyse,
paralyzed paralysed, paralyzing paralysing, pediatric paediatric, pediatrician paediatrician, plow plough,
plowed ploughed, plowing ploughing, plows ploughs, pretense pretence, quarreled quarrelled, quarreling quarrelling,
rivaled rivalled, saber sabre, sabers sabres, scepter sceptre, signaled signalled, signaling signalling,
skeptic sceptic, skeptical sceptical, skepticism scepticism, skeptics sceptics, skillful skilful,
skillfully skilfully, smolder smoulder, smoldering smouldering, somber sombre, specter spectre, specters spectres,
sulfur sulphur, theater theatre, theaters theatres, tidbit titbit, tidbits titbits, totaled totalled,
totaling totalling, traveled travelled, traveler traveller, travelers travellers, traveling travelling,
tunneling tunnelling, unraveled unravelled, unraveling unravelling, willful wilful, willfully wilfully, woolen woollen
"""

_SYNONYMS = """
advertisement ad, advertisements ads, almost nearly, amusing funny, annoying irritating, anybody anyone,
anyone anybody, assisted helped, assisting helping, automobile car, automobiles cars, began started, begins starts,
beverage drink, beverages drinks, bicycle bike, bicycles bikes, boring tedious, certainly definitely, children kids,
clever smart, comical funny, completely totally, courageous brave, definitely certainly, difficult hard,
enormous huge, entire whole, entirely completely, errors mistakes, everybody everyone, everyone everybody,
excellent superb, fantastic wonderful, foolish stupid, frequently often, fridge refrigerator, furious enraged,
gigantic enormous, glad happy, gorgeous beautiful, hilarious uproarious, horrible terrible, huge enormous,
humorous funny, immediately instantly, infant baby, infants babies, inhabitants residents, instantly immediately,
intelligent clever, irritating annoying, journey trip, journeys trips, laboratories labs, laboratory lab,
largely mostly, maybe perhaps, mostly largely, movie film, movies films, numerous many, obtained got,
obtaining getting, obtains gets, often frequently, perhaps maybe, photo photograph, photos photographs,
physician doctor, physicians doctors, purchased bought, purchasing buying, quickly rapidly, rapidly quickly,
refrigerator fridge, requires needs, sleepy drowsy, sofa couch, sofas couches, somebody someone, someone somebody,
starving famished, stupid foolish, superb excellent, tale story, tales stories, telephone phone, terrible awful,
totally completely, wealthy rich, weird strange
"""

PHRASES = {
    "i'm": "I am", "you're": "you are", "we're": "we are", "they're": "they are",
    "i'll": "I will", "you'll": "you will", "we'll": "we will", "they'll": "they will",
    "i've": "I have", "you've": "you have", "we've": "we have", "they've": "they have",
    "in order to": "to", "due to the fact that": "because", "for example": "for instance",
    "for instance": "for example", "all of the": "all the", "each other": "one another", "the reason why": "the reason",
    "in spite of": "despite", "despite": "in spite of", "because of": "on account of", "in addition to": "besides",
    "is able to": "can", "are able to": "can", "am able to": "can", "was able to": "could", "were able to": "could",
    "at this point in time": "now", "as soon as possible": "as quickly as possible", "in my opinion": "to my mind",
    "a lot of": "lots of", "lots of": "plenty of", "plenty of": "lots of", "a great deal of": "much",
    "a number of": "several", "all kinds of": "all sorts of", "all sorts of": "all kinds of", "kind of": "sort of",
    "sort of": "kind of", "each and every": "every", "the whole": "the entire", "the entire": "the whole",
    "full of": "filled with", "filled with": "full of", "one of the most": "among the most",
    "one of the best": "among the best", "one of the worst": "among the worst", "one of the few": "among the few",
    "seems to": "appears to", "appears to": "seems to", "seem to": "appear to", "appear to": "seem to",
    "it seems that": "it appears that", "turns out to be": "proves to be", "has to": "needs to", "have to": "need to",
    "even though": "although", "although": "even though", "as if": "as though", "as though": "as if",
    "rather than": "instead of", "such as": "like", "in fact": "indeed", "of course": "naturally",
    "as a result": "consequently", "in other words": "that is to say", "on the other hand": "by contrast",
    "at times": "sometimes", "from time to time": "now and then", "once again": "once more", "once more": "once again",
    "over and over": "again and again", "these days": "nowadays", "right now": "at the moment",
    "at the same time": "simultaneously", "in the end": "ultimately", "for the most part": "mostly",
    "to begin with": "to start with", "prior to": "before", "in the course of": "during", "how come": "why",
    "with regard to": "regarding", "with respect to": "regarding", "around the world": "across the world",
    "looks like": "seems like", "on the whole": "all in all", "has to do with": "concerns",
    "have to do with": "concern",
}  # fmt: skip
"""Said otherwise wherever they stand."""

_REQUESTED = "tell show give help send find call set play make explain remind book add check change turn cancel read"
_ASKING = {
    "please": "could you please", "can you": "could you", "could you": "can you", "would you": "could you",
    "can you please": "could you please", "could you please": "can you please", "would you please": "could you please",
}  # fmt: skip

OPENINGS = {
    "i am": "I'm", "you are": "you're", "we are": "we're", "they are": "they're", "i will": "I'll",
    "there's": "there is", "there is": "there's", "tell me": "please tell me", "show me": "please show me",
    "give me": "please give me", "let me know": "tell me", "i want to": "I would like to", "i'd like to": "I want to",
    "i would like to": "I want to", "i need to": "I have to", "i think that": "I believe that",
    "i believe that": "I think that", "i think it is": "I believe it is", "i think this is": "I believe this is",
} | {f"{old} {verb}": f"{new} {verb}" for verb in _REQUESTED.split() for old, new in _ASKING.items()}  # fmt: skip
"""Said otherwise where a clause begins, and goes on: "as I am" is left."""

EXISTENCE = r"there (?:is|are) (?P<subject>(?:(?:an?|some|many|several|two|three) )?[a-z]+) (?:who|that|which)"
"""Before an auxiliary verb its subject says the same: "There are people who can sing" is "people can sing"."""
AUXILIARIES = "is are was were has have can could will would should must may might".split()  # noqa: SIM905

KEYBOARD = {
    "q": "wa", "w": "qeas", "e": "wrsd", "r": "etdf", "t": "ryfg", "y": "tugh", "u": "yihj", "i": "uojk", "o": "ipkl",
    "p": "ol", "a": "qwsz", "s": "awedxz", "d": "serfcx", "f": "drtgvc", "g": "ftyhbv", "h": "gyujnb", "j": "huikmn",
    "k": "jiolm", "l": "kop", "z": "asx", "x": "zsdc", "c": "xdfv", "v": "cfgb", "b": "vghn", "n": "bhjm", "m": "njk",
}  # fmt: skip
"""Keys that touch each other (QWERTY)."""


class Spelling(NamedTuple):
    """Lower-case words one way and the other; each is the inverse of the other."""

    to_british: dict[str, str]
    to_american: dict[str, str]


@functools.cache
def spellings() -> Spelling:
    """American words and their British spelling."""
    pairs = dict(_pairs(_SPELLINGS))
    pairs |= {f"{stem}or{end}": f"{stem}our{end}" for stem in _OUR.split() for end in _OUR_ENDINGS.split(" ")}
    pairs |= {f"{stem}iz{end}": f"{stem}is{end}" for stem in _ISE.split() for end in _ISE_ENDINGS.split()}
    return Spelling(pairs, {british: american for american, british in pairs.items()})


@functools.cache
def synonyms() -> dict[str, str]:
    """Lower-case words and what can stand for each."""
    return dict(_pairs(_SYNONYMS))


def _pairs(words: str) -> list[tuple[str, str]]:
    return [(one, other) for one, other in (pair.split() for pair in words.split(","))]
