"""The words of the bundled sample: templates by kind and the phrases of their slots.

Hateful and other sentences share their vocabulary on purpose: groups, hostile predicates and kind predicates stand
in both, and some templates hold the same words in another order. What tells them apart is who is spoken of, and whether
the speaker asserts it.
"""

from __future__ import annotations

from evenodd.rows.templates import lines

GROUPS = lines("""
    women
    girls
    Black people
    African Americans
    Muslims
    Muslim families
    Jewish people
    Jews
    immigrants
    foreigners
    migrants
    refugees
    gay people
    lesbians
    gay men
    trans people
    trans women
    disabled people
    people in wheelchairs
    Asians
    Chinese people
    Mexicans
    Arabs
    Roma families
""")

OTHERS = lines("""
    landlords
    recruiters
    cyclists
    tourists
    referees
    bankers
    estate agents
    the new interns
    mosquitoes
    pigeons
    cold callers
    parking wardens
    my cousins
    the upstairs neighbours
    politicians
    telemarketers
    hedge funds
    goalkeepers from {town}
    people who talk in the cinema
    printers
    drunk drivers
    the fans of {town}
    bots
    wasps
    consultants
    spammers
    people who are late
    phone companies
""")

SLOTS = {
    "G": GROUPS,
    "O": OTHERS,
    "bad": lines("""
        ruin {place} for everyone
        can't be trusted with {thing}
        should be kept out of {place}
        have no business in {town}
        are a plague on {place}
        only know how to take
        make me sick
        are the reason why {place} is falling apart
        don't deserve {thing}
        should be banned from {place}
        are the lowest of the low
        are dragging {town} down
        have never done an honest day of work
        lie whenever they can
        are worse than rats
        should be sent far away from here
        need to be put back in their place
        are not welcome at {place}
        deserve whatever is coming to them
        poison everything around them
        are nothing but trouble
        are too stupid to run {place}
        belong at the bottom
        should shut up and disappear
        are taking over {place}
        ought to be thrown out of {town}
        are a waste of space
        do nothing but whine and steal
    """),
    "youbad": lines("""
        ruin {place} for everyone
        can't be trusted with {thing}
        should be kept out of {place}
        have no business in {town}
        make me sick
        should be banned from {place}
        are the lowest of the low
        are worse than a rat
        deserve whatever is coming to you
        are nothing but trouble
        are too stupid to run {place}
        are not welcome at {place}
        are a waste of space
        do nothing but whine and steal
    """),
    "good": lines("""
        deserve the same chances as anybody
        make {town} a better place
        are welcome at {place}
        work as hard as you and me
        should be treated with respect
        have every right to ask for {thing}
        brought life back to {place}
        are some of the kindest people I know
        should feel safe at {place}
        have a lot to teach us
        built half of {town}
        could run {place} as well as anyone
    """),
    "fact": lines("""
        moved to {town} {time}
        opened {place} together {time}
        are asking for {thing}
        run the stall next to {place}
        were interviewed about {thing}
        voted on {thing} {time}
        met at {place} {time}
        make up about a tenth of {town}
        were on the news {time} because of {thing}
        play in the league of {town}
        came to the talk about {topic}
        wrote most of the letters about {topic}
        wait longer for {thing} according to the survey
        are moving away from {town}
    """),
    "place": lines("""
        the library
        our street
        the local school
        the hospital
        the office
        this forum
        the swimming pool
        the market hall
        the football club
        our department
        the bus line
        the park
        the city council
        the neighbourhood
        the university
        the gym
        the bakery
        the army
    """),
    "town": lines("""
        Leeds
        Dayton
        Malmo
        Bristol
        Tampa
        Cork
        Ghent
        Perth
        Utrecht
        Ottawa
        this town
        our village
        the county
        this country
    """),
    "thing": lines("""
        a driving licence
        public money
        good housing
        the vote
        a pay rise
        the keys
        a seat on the board
        free healthcare
        the night shift
        a loan
        an education
        their own shop
        a building permit
        the microphone
    """),
    "topic": lines("""
        the new budget
        the bus strike
        last week's match
        the flooding
        the exhibition
        rent prices
        the school merger
        the recipe contest
        the ring road
        the radio play
        solar panels
        the choir trip
        the phone update
        the chess final
        the bread festival
        the heatwave
    """),
    "time": lines("""
        last spring
        in March
        yesterday
        two years ago
        on Sunday
        this summer
        in 2014
        before the election
        during the holidays
        last night
        a while back
        when I was twelve
    """),
    "name": lines("""
        Kevin
        my brother
        Paula
        the coach
        our mayor
        Dean
        my old boss
        Rita
        that host
        my uncle
        Greg
        the man next door
        Sandra
        a guy at work
    """),
    "open": lines("""
        Honestly,
        Look,
        I'll say it:
        Like I wrote {time},
        Sorry but
        For the record,
        Not that anyone asks, but
        After {topic} I am sure of it:
        You know what?
        Let's be real,
        Well,
        Say what you want,
        Hot take:
        Damn,
    """),
    "close": lines("""
        and everybody at {place} knows it
        and that won't change
        period
        if you ask me
        that is all
        and I have seen it in {town}
        just look at {topic}
        as always
        end of story
        and {name} agrees
        believe me
        for god's sake
    """),
    "swear": lines("""
        fucking
        damn
        bloody
        goddamn
        shitty
    """),
    "quoter": lines("""
        {name} keeps saying
        somebody wrote
        {name} shouted
        the flyer claims
        that speaker told {place}
        an old post says
        people on the radio repeat
    """),
    "reply": lines("""
        and I reported it
        which is disgusting
        and nobody clapped
        and I walked out
        and that is plain bigotry
        I could not disagree more
        and we have to answer that
        shame on that
        what a hateful thing to say
        and I asked for an apology
    """),
}

KINDS = {
    "group_hate": lines("""
        {open} {G} {bad}
        {G} {bad}, {close}
        {G} {bad} and they {bad}
        {open} {G} {bad}, {close}
        I met some {G} at {place} {time}. They {bad}
        {name} is right that {G} {bad}
        I am so tired of {G}, they {bad}
        the sooner we admit that {G} {bad}, the better
        all {G} {bad}, not just the ones in {town}
        what do {G} and wasps have in common? They {bad}
        I can't stand {G} and never will
        nobody will miss {G} when they are gone from {town}
        my kids will never sit next to {G} at {place}
        if {G} {fact}, I am leaving. They {bad}
        everything about {G} disgusts me, {close}
        I used to like {place} until I saw that {G} {bad}
        {swear} {G}, they {bad}
        it's no secret that {G} {bad}
        one day {G} will pay for {topic}
        {G} {fact}. That alone shows that they {bad}
        keep {G} away from {thing}
        of course {G} {bad}, they were born that way
    """),
    "contrast_hate": lines("""
        they say {G} {good}, but {G} {bad}
        {O} {good}, it is {G} who {bad}
        {G} {bad}, while {O} {good}
        I know that {O} {good}. {G} {bad}, and that won't change
        {name} says it isn't true, but {G} {bad}
        {name} was fired {time} for writing it and still, {G} {bad}
        call it bigotry, I say that {G} {bad}
        I don't believe that {G} {good}. They {bad}
        it is wrong to claim that {G} {good}
        you may report me, {G} {bad}
        nobody says it at {place}, but {G} {bad}
        stop telling people that {G} {good}
        the idea that {G} {good} is as false as ever
        I was wrong {time} when I wrote that {G} {good}
        {quoter} that {G} {bad}, and I could not agree more
        {quoter} that {G} {good}, which is a lie
        there is proof at {place} that {G} {bad}
        not all {O} {bad}, but all {G} {bad}
    """),
    "implicit_hate": lines("""
        funny how {G} {fact} and since then nobody dares to go to {place}
        {G} {good}? Don't make me laugh
        we had peace in {town} and then {G} {fact}
        and they tell us {G} {good}, what a joke
        give {G} {thing} and see what is left of {town}
        I count my change twice when {G} are around at {place}
        if {G} {good} then I am the king of {town}
        we all know who to thank for {topic}, it was {G} again
        {town} was clean {time}. Then {G} {fact}
        you can have {G} or you can have a decent {town}, not both
        I crossed the road {time}, {G} were standing at {place}
        one more summer with {G} at {place} and I'll sell my house
        there used to be a sign at {place} that kept {G} outside. I miss it
        they put {G} on the board of {place}. Guess who is moving to {town}
    """),
    "neutral_mention": lines("""
        {G} {fact}
        {open} {G} {fact}
        {name} read a book about {G} and {topic}
        the report on {G} and {thing} came out {time}
        do you know how many {G} {fact}?
        {G} {fact}, {close}
        how many {G} live in {town} now?
        there was a film about {G} at {place} {time}
        {name} wants to ask {G} about {topic}
        some {G} {fact}, others stayed at {place}
    """),
    "positive_mention": lines("""
        {G} {good}
        {open} {G} {good}
        {G} {good}, {close}
        I met some {G} at {place} {time}. They {good}
        {name} is right that {G} {good}
        {swear} right, {G} {good}
        the sooner we admit that {G} {good}, the better
        I can't stand it when {G} are left out at {place}
        nobody should be mean to {G}, they {good}
        {G} {fact} and I am glad, they {good}
    """),
    "counter_speech": lines("""
        {quoter} that {G} {bad}, {reply}
        "{G} {bad}", {quoter}. {reply}
        {quoter} that {G} {bad} and they {bad}, {reply}
        anyone who claims that {G} {bad} is wrong
        {open} {quoter} that {G} {bad}, {reply}
        if you think {G} {bad}, get out of {place}
        {G} {bad}? Says who?
        all {G} {bad}, he wrote, {reply}
        what hurts is to hear that {G} {bad}, {close}
        it's no secret that {name} thinks {G} {bad}, {reply}
        we used to be taught that {G} {bad}. We know better now
        stop telling people that {G} {bad}
        {name} was fired {time} for writing that {G} {bad}
        the idea that {G} {bad} is older than {topic} and as false as ever
    """),
    "negated_hate": lines("""
        {open} it isn't true that {G} {bad}
        I would never say that {G} {bad}
        I don't believe that {G} {bad}, {close}
        nobody at {place} thinks that {G} {bad}
        if {G} {bad} then so do we all
        I can't think of any {G} who {bad}
        I was wrong {time} when I wrote that {G} {bad}
        {G} {bad}? No, and they never did
        not once did I hear that {G} {bad}
        no, {G} don't ruin {place}, and they {good}
        {G} are not the reason for {topic}
        there is no proof that {G} {bad}
    """),
    "contrast_other": lines("""
        they say {G} {bad}, but {G} {good}
        {G} {good}, it is {O} who {bad}
        {O} {bad}, while {G} {good}
        I know that {G} {good}. {O} {bad}, and that won't change
        {name} says it isn't true, but {G} {good}
        {name} was fired {time} for writing that {G} {good}
        call me naive, I say that {G} {good}
        I don't believe that {G} {bad}. They {good}
        it is wrong to claim that {G} {bad}
        you may laugh at me, {G} {good}
        nobody says it at {place}, but {G} {good}
        stop telling people that {G} {bad}
        the idea that {G} {bad} is as false as ever
        {quoter} that {G} {good}, and I could not agree more
        {quoter} that {G} {bad}, which is a lie
        there is proof at {place} that {G} {good}
        not all {G} {good}, but all {O} {bad}
        {name} defended {G} {time} and said that {O} {bad}
    """),
    "person_abuse": lines("""
        {open} {name}, you {youbad}
        you {youbad}, {close}
        people like {name} {bad}
        {name} makes me sick, {close}
        I can't stand {name} and never will
        everything about you disgusts me, {close}
        nobody will miss {name} when he is gone from {town}
        {swear} idiot, you {youbad}
        you are a liar and a thief, {name}, {close}
        I hope {name} loses {thing}, what a clown
        shut up about {topic}, you know nothing
        one day {name} will pay for {topic}
        keep {name} away from {thing}
    """),
    "other_abuse": lines("""
        {open} {O} {bad}
        {O} {bad}, {close}
        I am so tired of {O}, they {bad}
        {swear} {O}, they {bad}
        all {O} {bad}, not just the ones in {town}
        the sooner we admit that {O} {bad}, the better
        I met some {O} at {place} {time}. They {bad}
        {name} is right that {O} {bad}
        what do {O} and wasps have in common? They {bad}
        it's no secret that {O} {bad}
        I can't stand {O} and never will
        keep {O} away from {thing}
        of course {O} {bad}, they were born that way
        if {O} {good} then I am the king of {town}
        we had peace in {town} and then {O} {fact}
        everything about {O} disgusts me, {close}
    """),
    "profanity": lines("""
        what a {swear} mess at {place} {time}
        {topic} was {swear} great, {close}
        I {swear} love {place}
        {open} I missed the {swear} bus to {town}
        who the hell took {thing} from {place}?
        holy shit, {topic} is on in {town}
        {name} made {swear} good soup {time}
        this {swear} printer at {place} died again
        my {swear} knee hurts since {topic}
    """),
    "ordinary": lines("""
        {open} {topic} was better {time}
        does anybody know when {place} opens?
        {name} and I went to {town} {time}
        I wrote about {topic} before, see my post from {time}
        thanks for the link about {topic}
        the weather in {town} was awful {time}
        {name} has not been to {place} since {topic}
        we talked about {topic} at {place}, {close}
        I am looking for {thing} in {town}, any advice?
        the price of {thing} went up {time}
        {place} will be closed because of {topic}
        can you send me the pictures from {town}?
        {time} {name} asked me about {topic}
        my plan for the weekend is to forget {topic} and a walk in {town}
        I don't agree with you on {topic}, {close}
        the article on {topic} is too long but worth it
        {name} was elected at {place} {time}
        they moved {place} to the other side of {town}
        is {name} still working on {topic}?
        I hate {topic}, {close}
        I lost my bag at {place} {time}
        we need more volunteers for {topic}
        good luck with {topic}, {name}
        the vote on {topic} is over, {close}
    """),
}

HATE_KINDS = ("group_hate", "contrast_hate", "implicit_hate")
