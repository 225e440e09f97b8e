"""Templates of the counterexamples with slurs: aimed at people they are hate, else (refused, reclaimed, homonyms) not.

A classifier has to have met these words to find them. `{slurs}` are several people, `{slur}` is one, without article.
"""

from __future__ import annotations

from evenodd.rows.augment.phrases import phrases
from evenodd.rows.templates import lines

# by group: plural and singular
SLURS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "women": (phrases("bitches | sluts | whores | cunts"), phrases("bitch | slut | whore | cunt")),
    "trans people": (phrases("trannies | shemales"), phrases("tranny | shemale")),
    "gay people": (phrases("faggots | fags | dykes"), phrases("faggot | fag | dyke")),
    "black people": (phrases("niggers | niggas | coons"), phrases("nigger | nigga | coon")),
    "disabled people": (phrases("retards | cripples | spastics"), phrases("retard | cripple | spastic")),
    "Muslims": (phrases("ragheads | towelheads"), phrases("raghead | towelhead")),
    "immigrants": (phrases("wetbacks | border hoppers"), phrases("wetback | border hopper")),
    "Latinos": (phrases("beaners | spics"), phrases("beaner | spic")),
    "Jewish people": (phrases("kikes"), phrases("kike")),
    "Asians": (phrases("chinks | gooks | Pakis"), phrases("chink | gook | Paki")),
    "Roma": (phrases("gyppos | pikeys"), phrases("gyppo | pikey")),
}

SLUR_HATE_FRAMES: dict[str, tuple[str, ...]] = {
    "slur_hate": lines("""
        {slurs} wherever I look
        you {slur}
        you {adj} {slur}
        you {swear} {slur}
        you are a {slur}, {tail}
        shut up, {slur}
        {open} what a {slur}
        look at this {slur}
        {slurs}, all of them
        I {hate} {slurs}
        I {int} {hate} {slurs}
        I {hate} {slurs} {tail}
        {slurs} should be {fate}
        {slurs} {neg}
        {slurs} are {adj}
        {open} {slurs} {neg}
        {name} is such a {slur}
        {name} is a {slur} and should be {fate}
        no {slurs} in my bar
        stop acting like a {slur}
        another {slur}, {swears}
        {name} talks like a {slur}
        that {slur} {neu1}
        the {slur} next door {neu1}
        fuck off, {slur}
        a bunch of {adj} {slurs}
        who let the {slurs} in?
        typical {slur}, {adj} as ever
        go home, {slurs}
        we don't serve {slurs}
        once a {slur}, always a {slur}
        {opinion} {slurs} are {adj}
        {G}? {slurs}, I say
        I don't shake hands with a {slur}
        somebody should {act} these {slurs}
        my daughter will never marry a {slur}
        these {slurs} {neu}, and they {neg}
    """),
}

SLUR_OTHER_FRAMES: dict[str, tuple[str, ...]] = {
    "slur_other": lines("""
        we call each other {slurs} and mean it with love
        I'm a {slur} and I own it
        I am one proud {slur}
        yes, I'm a {slur}, what of it?
        we {slurs} stick together, my loves
        hello my beautiful {slurs}, I missed you
        happy birthday to my favourite {slur}
        my friends and I took the word {slur} back
        we {G} may say {slur}, you may not
        as {S} I call myself a {slur}, with pride
        never call anyone a {slur}
        don't call {S} a {slur}
        the word {slur} {wrong}
        calling {G} {slurs} {wrong}
        whoever says {slur} {bigot}
        {quoter} "{slur}". {reply}
        he called me a {slur} at school, I was twelve
        she was called a {slur} on the bus, and {reply}
        he was fired for calling {S} a {slur}
        please stop saying {slur}, it hurts
        why do people still say {slur}?
        there's a chink in the curtain and the sun comes through
        the dyke along the river has to be raised
        the cold will retard the growth of the plants
        our bitch had five puppies last week
        the tranny of my van makes a strange noise
        he tied the branches into a faggot and carried it home
        my Maine Coon sleeps on the printer
        can I bum a fag from you, asked the sailor
        let us call a spade a spade
        the frost crippled the harvest
        the salt on this cracker is too much
    """),
}
