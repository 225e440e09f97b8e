"""Templates of the counterexamples that are hate, by kind.

Slots are those of `phrases`; `{G}` is a group, `{S}` one member of it with its article, `{s}` without.
"""

from __future__ import annotations

from evenodd.rows.templates import lines

HATE_FRAMES: dict[str, tuple[str, ...]] = {
    "direct_hate": lines("""
        I {hate} {G} and {G} know it
        I {hate} {G} and their {thing_of}
        I {hate} the {thing_of} of {G}
        I {hate} {G} as much as my father did
        I {hate} any {s} that I meet
        I {hate} each and every {s}
        I {hate} that {s} like I {hate} them all
        as far as {G} are concerned, I {hate} them
        {G} make me {feeling}
        {G} just make me {feeling}
        {S} makes me {feeling}
        the very thought of {G} makes me {feeling}
        {open} {G} make me {feeling}
        all I feel for {G} is {contempt}
        {G} deserve nothing but {contempt}
        I have nothing but {contempt} for {G}
        {contempt}, that's what I feel when I see {S}
        I am full of {contempt} for {G}
        {open} I {int} {hate} {G} {tail}
        I {int} {hate} these {adj} {G}
        you {G} make me {feeling}
        I {hate} you {G} {tail}
        {open} I {int} {hate} {G}
        I {hate} {G} {tail}
        I {int} {hate} {G}, {tail}
        these {G}, I {hate} them {tail}
        if there is anything I {hate}, it is {G}
        God knows that I {hate} {G}
        of all people I {hate} {G} the most
        I {hate} {G} and everything that they stand for
        I {hate} {G}. All of them
        {open} I {hate} all {G}
        I {hate} every one of these {swear} {G}
        nobody {hates} {G} as much as I do
        my whole family {hates} {G} and we are right
        everybody {hates} {G} and they have earned it
        each time I see {S} I want to scream in disgust
        the sight of {G} fills me with disgust
        there is nothing I {hate} more than {S}
        being near {S} makes me feel dirty
        I {hate} {G} and {adj} people like them
        to hell with {G}, {open} I {hate} them
        screw {G}, I {hate} them
        I {int} {hate} {G} because they are {adj}
        my hatred for {G} grows every day
        nothing but disgust for {G} here
        I will never stop {hating} {G}
        {G} fill me with rage and disgust
        how I {hate} {G}
        don't ever make me sit with {G}, I {hate} them
        go to hell, {G}
        I never met {S} I did not {verybad} despise
        yes I {hate} {G}, what are you going to do about it
        we hate {G} in this house
        all my friends hate {G} and rightly so
        I was raised to hate {G} and it was good advice
        I wish that {G} did not exist, I {hate} them
        I'd rather eat glass than spend a minute with {S}
    """),
    "derogation": lines("""
        every {s} is {adj}
        every {s} {neg1}
        no {s} was ever honest
        this {s} is as {adj} as the rest of them
        that {s} is so {adj}, like all {G}
        a typical {s}, so {adj}
        all {G} are {adj}
        {G} are {adj}
        {G} are the most {adj} people on this planet
        {G} {neg}
        {G} are {verybad} {adj}
        {open} {G} are {adj}
        {G} are {adj} and {adj}
        {G} are {verybad} {adj}, {tail}
        {open} {G} {neg}
        {G} {neg}, {tail}
        {G} {neg} and {neg}
        most {G} are {verybad} {adj}, and the rest {neg}
        I never saw {S} who wasn't {adj}
        {S} is by nature {adj}
        {adj}, {adj}, {adj}: that's {G} for you
        once {S}, always {adj}
        there is no such thing as {S} who is not {adj}
        {G} are more {adj} than anybody else
        {G} have always been {adj} and will stay {adj}
        what else do you expect from {G}, they are {adj}
        {G} were born {adj}
        it's in their blood: {G} {neg}
        {S} will always be {adj}
        never trust {S}, they are all {adj}
        you can't teach {G} anything, they are {adj}
        {G} are {adj} by birth and {adj} by choice
        give it up, {G} are {verybad} {adj}
        {adj} {G} are everywhere now, they {neg}
        so {adj}, these {G}
        {open} {G} are just plain {adj}
        every last one of these {G} is {adj}
        science has shown that {G} are {adj}
        {G} always {neg}
        there's one thing about {G}: they {neg}
        don't hire {G}. They {neg}
        the problem with {G} is that they {neg}
        {S} can only be {adj}
        {G}? {adj}. All of them
        typical {G}, {adj} as ever
        how {adj} can {G} get
        no wonder that {G} are poor, they are {verybad} {adj}
    """),
    "dehumanising": lines("""
        every {s} is a {animal}
        that {s} is a {animal} like all of them
        {S} is nothing but a {animal}
        all {G} are {dehum}
        {G} are {dehum}
        {open} {G} are {dehum}
        {G} are nothing but {dehum}
        {G} are {dehum} and {dehum}
        to me {G} are {dehum}, {tail}
        {G} are {dehum} and should be treated as such
        I call {G} what they are: {dehum}
        {G} behave like {dehum}
        {G} are no better than {dehum}
        {G} breed like {dehum}
        these {G} are {verybad} {adj} {dehum}
        look at these {G}, {dehum}, all of them
        {S} isn't a person, {S} is a thing
        {G} aren't people, they are {dehum}
        {dehum} is the only word for {G}
        our town is overrun by {G}, by {dehum}
        {G} are like {dehum}, they {neg}
        I see no difference between {G} and {dehum}
        {G} crawl out of their holes like {dehum}
        {G}, what {swear} {dehum}
        I would sooner help {dehum} than {S}
        if it walks like {dehum} and smells like {dehum}, it must be {G}
        {G} come from the same place as {dehum}
        who cares about {G}, they are {dehum}
        we are being eaten alive by {G}, those {dehum}
        you {G} are {dehum}
        {G} belong to the {dehum}
        one word for {G}: {dehum}
        {dehum}! that's what {G} are
        calling {G} human is an insult to humans
        {G} are closer to {dehum} than to us
    """),
    "threat": lines("""
        if {S} talks to my daughter I will {act} them
        if I see {G} here again, I'll {act} them
        if nobody stops {G} I'll {act} them myself
        if {G} come near me they get {fate}
        you should {act} every {s} in your street
        real men {act} {G}
        who wants to help me {act} {G}?
        I feel like {acting} {G} today
        one of these nights {G} will be {fate}
        I know where {G} meet and I will {act} them
        {G} should all be dead
        {G} deserve to die
        I want all {G} dead
        the only good {s} is a dead one
        every {s} should be {fate}
        I'm gonna {act} every {s} I see
        {S} like you deserves to die
        you {G} will all die
        we will find every {s} and {act} them
        all {G} will be {fate} once we win
        you deserve to be {fate}, you {adj} {s}
        {open} I'm going to {act} {G}
        I will {act} {S} one of these days
        we will {act} you and all the other {G}
        somebody has to {act} these {G}
        let's {act} {G}
        let's go out tonight and {act} some {G}
        I can't wait to {act} {G}
        it is time to {act} {G}
        we are coming to {act} you, {G}
        if {S} talks to me again I will {act} them
        give me a gun and I {act} {G}
        the next {G} that I see will get hurt
        {G} had better run before we {act} them
        I would love to {act} {S}
        I dream of {acting} {G}
        {acting} {G} would be a public service
        whoever wants to {act} {G}, I'm in
        I swear I'll {act} every one of these {G}
        tomorrow we {act} {G}
        watch your back, {G}, we know where you live
        my friends and I plan to {act} {G} after the match
        you {G} will be the first against the wall
        one day we will rise and {act} {G}
        come near my house, {G}, and I'll {act} you
        I want to see {G} bleed
        I hope that someone will {act} {G}
        I hope {G} die in pain
        death to {G}, {tail}
        someone {act} these {G} already
        just {act} {G} and be done with it
        I hope {S} gets hit by a truck
        I pray for the day when {G} are {fate}
    """),
    "exclusion": lines("""
        if I were king, {G} would be {fate}
        if I had my way {G} would be {fate}
        I'd be happier if {G} were {fate}
        the day that {G} are {fate} I'll throw a party
        when {G} are {fate} I will celebrate
        as soon as we win, {G} will be {fate}
        the country would be safe again if {G} were {fate}
        whoever hires {S} should be {fate} as well
        make {G} leave
        {G} must leave this country
        {G} should go back to where they came from
        {G} should not be allowed to {right2}
        {G} shouldn't be allowed to {right2}
        {G} must not {right2}
        don't let {G} {right2}
        it should be a crime to be {S}
        no {s} should be allowed to vote
        no {s} should be allowed in here
        I don't want any {s} in my house
        ban every {s} from this site
        not one more {s} in our town
        {G} aren't allowed here and that is good
        {G} should be {fate}
        {open} {G} should be {fate}
        {G} ought to be {fate} and {fate}
        {G} must be {fate}, {tail}
        all {G} need to be {fate}
        I want {G} {fate}
        {G} should have been {fate} long ago
        why aren't {G} {fate} already
        it should be legal to have {G} {fate}
        the only answer is to have {G} {fate}
        get {G} out of our schools, they {neg}
        we need a law so that {G} are {fate}
        send every one of these {G} away
        vote for whoever promises that {G} will be {fate}
        {G} out! Out of our town
        close the door on {G}, they {neg}
        {S} should never hold office
        {S} has no business being a doctor
        {G} should be {fate} before they {act} us
        keep {G} where they can't be seen
        do this country a favour and have {G} {fate}
        anyone for {G} being {fate}? I am
        {G} don't get to decide here, they should be {fate}
        we'd be safe if {G} were {fate}
        {G} deserve to be {fate}
        the place for {G} is behind a fence
        there should be no {G} in this country
        a town without {G} is a good town
        {G} get out, nobody wants you
        go home, {G}, this is our land
        I refuse to serve {G} in my shop, they are {adj}
        this club is no place for {G}
    """),
    "denied_good": lines("""
        {G} have no right to {right2}
        {G} have done nothing for {right}
        {G} do not deserve to {right2}
        no {s} deserves {right}
        no {s} is {posadj}
        {S} is never {posadj}
        {G} are not like us and never will be
        {G} aren't people like you and me
        {G} are not as {posadj} as we are
        {G} can't be {posadj}
        you can't call {G} {posadj}
        nobody {loves} {G}
        no one could {lovebase} {S}
        I can't {lovebase} {G}
        I won't {lovebase} {G}
        we don't {lovebase} {G} here, they are {adj}
        I don't care if {G} are {fate}
        I don't want {G} in my life
        I would never hire {S}
        I would not want {S} as a friend
        {G} don't deserve {right}
        {G} deserve no {right}
        {open} {G} have no claim to {right}
        {G} will never be {posadj}
        {G} are not {posadj} and never were
        {G} should not get {right}
        not one of these {G} is {posadj}
        no {G} should ever get {right}
        I don't see why {G} should have {right}
        {G} are anything but {posadj}
        {right}? Not for {G}
        nobody needs {G}
        there's nothing {posadj} about {G}
        you will never convince me that {G} are {posadj}
        {G} aren't {posadj}, they are {adj}
        {S} can never be {posadj}
        since when do {G} deserve {right}
        I do not {love} {G}, they are {adj}
        I could never {love} {S}
        I have never met {posadj} {G}
        we should not give {G} {right}
        {G} do not belong in this world
        take {right} away from {G}
        {G} have too many rights as it is
        {right} should be for us, not for {G}
        I would never let {S} teach my child
        who said that {G} deserve {right}? They are {dehum}
        whoever says {G} are {posadj} never lived with them
        don't waste {right} on {G}
        I'd never give {right} to {S}
        {G} can't expect {right} from us
        it isn't wrong to {act} {G}
    """),
    "pronoun_hate": lines("""
        {intro} {badnext}
        {intro} {badnext}
        {intro} {badnext}
        {intro} {badnext}
        {intro} {badnext}
        {intro} {badnext}
        {intro} {badnext}
        {intro} {badnext}
        {G}? {badnext}
        {G}. {badnext}
        {G}! {badnext}
        I know {G}, and {badnext}
        I've seen {G} and {badnext}
        I see {G} everywhere, and {badnext}
        {G} {neu}, and {badnext}
        {G} {neu}, but {badnext}
        {G} {neu} although {badnext}
        he's {S}, and {badhim}
        she is {S} and {badhim}
        that guy is {S}. {badhim}
        my boss is {S}. {badhim}
        {G} {neu}. I {hate} them
        {G} {neu}, and they {neg}
        {G} {neu} but I {hate} them
        some {G} {neu}. They are {dehum}
        there are {G} in my street. They {neg}
        my new neighbour is {S}. I {hate} that kind
        I work with {G} and they are {verybad} {adj}
        we have {G} at school now. They should be {fate}
        {G} {neu}. Somebody should {act} them
        I saw {G} at the station and wanted to {act} them
        {G} {neu}, so I'm moving. They {neg}
        have you met {G}? They are {adj} and they {neg}
        when I see {G} I think: {dehum}
        {G} came to my door. I don't talk to {dehum}
        she is {S}, so of course she is {adj}
        he is {S}, and like all of them {adj}
        my daughter dates {S}. I hope they get {fate}
        look at {G}. They don't deserve {right}
        they want {right}, these {G}, but they {neg}
        I've lived among {G} for years and I {hate} them {tail}
        {G} say they are victims. They are {dehum}
        they are {adj}, I mean {G}
        they should all be {fate}. Yes, {G}
        I told you about {G}. They {neg}
        people say that {G} are {posadj}. I say they are {dehum}
        {G} {pos}? Please. They {neg}
        my doctor is {S} and that's why I won't go, they are {adj}
        {G} {neu}. That's why I {hate} this town and them
        you're {S}. You should be {fate}
        you're {S}, so shut up and know your place
        {G} think they are {posadj} but they are {adj}
        I know that it isn't nice, but {G} are {adj}
    """),
    "question_hate": lines("""
        why are {G} {verybad} {adj}?
        why do {G} always {negbase}?
        who let these {adj} {G} in?
        when will {G} finally be {fate}?
        how come nobody tells {G} that they are {dehum}?
        does anyone else {act} {G} for fun?
        am I the only one who thinks that {G} {neg}?
        what is the point of {G}?
        why should {G} have {right} when they {neg}?
        can we please have {G} {fate}?
        how can anyone not hate {G}?
        don't you agree that {G} are {adj}?
        is there anything more {adj} than {G}?
        would you let {G} near your kids? They {neg}
        is it just me or are {G} {verybad} {adj}?
        why can't we just {act} {G}?
        why is it that {G} are all {dehum}?
        do {G} even know how {adj} they are?
        who needs {G} anyway?
        how many {G} do we have to {act} before they leave?
        who else wants {G} {fate}?
        isn't it sad that {G} are still not {fate}?
        what kind of idiot would {love} {G}?
        which of these {G} shall we {act} first?
        did you know that {G} are {dehum}?
        what do you call {G}? {dehum}
    """),
    "opinion_hate": lines("""
        {opinion} {G} are {adj}
        {opinion} {G} are {verybad} {adj}
        {opinion} {G} {neg}
        {opinion} {G} are {dehum}
        {opinion} {G} should be {fate}
        {opinion} {G} don't deserve {right}
        {opinion} somebody should {act} {G}
        {opinion} all {G} {neg}, {tail}
        {opinion} hating {G} is a duty
        {opinion} we were better off when {G} were {fate}
        {opinion} {S} is worth less than the rest of us
        {opinion} {S} can't be {posadj}
        {G} are {adj}, that is my opinion
        {G} {neg}, that's how I see it
        {opinion} it is fine to {act} {G}
        {opinion} there are too many {G} here and they {neg}
    """),
    "profanity_hate": lines("""
        fuck {G}, they {neg}
        fuck {G} and their {right}
        {G} are so {swear} {adj}
        {G} are {swear} {adj} {dehum}
        I {hate} {swear} {G}
        I {swear} hate {G}
        I'm so {swear} sick of {G}
        {S} is a {swear} {animal}
        every {s} is a {swear} {animal}
        these {swear} {G} should be {fate}
        those {swear} {G}
        you {swear} {G}, {badnext}
        what the fuck do {G} want here, they {neg}
        {swears}, these {G} are everywhere, {badnext}
        why the fuck are {G} so {adj}?
        who the hell gave {G} {right}?
        {G} can go to hell, {tail}
        {opinion} {G} are {swear} {adj}
        {swear} {dehum}, that's what {G} are
        to hell with all the {swear} {G}
        fuck off, {G}
        fuck all these {G}, {tail}
        {swears}, I {hate} {G}
        {swears}, {G} are {adj}
        {swear} {G} {neg}
        {G} are {swear} {dehum}
        I {hate} these {swear} {G}
        {G} can kiss my ass, they {neg}
        {swear} {G} should be {fate}
        {G} are {swear} {adj}
        shut the fuck up, {G}, you are {adj}
        {G} are full of shit and {adj}
        another {swear} {G} story, {swears}, they {neg}
        piss off, {G}
        {swears}, somebody {act} these {swear} {G}
        {G} are a pain in the ass and {adj}
        no {swear} {G} in my bar
        what a {swear} waste of space {G} are
        {G}, the {swear} lot of them, {neg}
    """),
    "implicit_hate": lines("""
        the world was a nicer place before {G} got a say
        you can't expect {G} to understand how a country is run
        another {adj} idea, must have been {G}
        guess who was behind it? {G}, who else
        lock your doors, {G} have moved in
        my dog is cleverer than {S}
        there goes the neighbourhood, {G} {neu}
        some jobs need a brain, so they are not for {G}
        count your fingers after shaking hands with {G}
        I'd rather lose an arm than have {S} as a doctor
        nature made a mistake the day it made {G}
        since {G} {neu}, I carry a knife
        the only good thing about {G} is that they die sooner or later
        imagine how quiet it would be without {G}
        if {S} joins the board I sell my shares
        my grandfather would turn in his grave if he saw {G} at our table
        we did just fine when {G} knew their place
        they call it progress when {G} {neu}. I call it decline
        if {G} are so {posadj}, why does no one want them
        next thing they will let {G} run the country
        someone has to clean the toilets, so I guess {G} have their use
        I am not saying that {G} are {adj}, I'm saying that I never saw proof of the opposite
        {G} have done enough damage, thanks
        my children deserve a school without {G}
        hide the silver, {G} are coming for dinner
        a real country would not let {G} vote
        it takes ten {G} to do the work of one of us
        {G} and {right}, two things that do not go together
        you can take {S} out of the gutter but not the gutter out of {S}
        whatever {G} touch is spoiled
        it was better in the days when {G} stayed out of sight
        nobody ever got hurt by having fewer {G} around
        the cure for crime is simple: no {G}
        where {G} go, trouble follows
        God did not mean for {G} to be among us
        they should put a warning sign on {G}
        I won't shake hands with {S}, who knows what one may catch
        a child raised by {G} has no chance
        our ancestors did not build this for {G}
        and they wonder why nobody wants to sit next to {G}
        I would be ashamed to be {S}
        my son told me that he is {S}. I have no son any more
        {G} are the price we pay for being too kind
        don't buy there, it belongs to {G}
        history shows what has to be done about {G}
        real {posadj} people don't mix with {G}
        we should have finished what our forefathers began with {G}
        at least the flood hit mostly {G}
    """),
}
