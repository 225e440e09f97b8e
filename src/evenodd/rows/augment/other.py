"""Templates of the counterexamples that are no hate, by kind.

Slots are those of `phrases`; `{G}` is a group, `{S}` one member of it with its article, `{s}` without, and
`{claim}` a whole hateful sentence about the same group, made by one of the hateful kinds.
"""

from __future__ import annotations

from evenodd.rows.templates import lines

OTHER_FRAMES: dict[str, tuple[str, ...]] = {
    "negated_hate": lines("""
        no {s} is {adj}
        no {s} that I know is {adj}
        no {s} should be {fate}
        not a single {s} is {dehum}
        none of the {G} in our town ever wanted to {negbase}
        {G} are not at all {adj}
        {G} aren't any more {adj} than you are
        {G} are no {dehum}
        {G} never were {dehum}
        {S} is not {adj}
        {S} is never {dehum}
        I have never met {S} who was {adj}
        I have no wish to {act} {G}
        I wouldn't {hatebase} {S}
        I wouldn't say that {G} are {adj}
        I won't say that {G} {neg}
        I can't believe that {G} are {adj}
        I could never {hatebase} {G}
        nobody I know {hates} {G}
        nobody has the right to {act} {G}
        nobody wants {G} to be {fate}
        we don't want {G} to be {fate}
        we do not think that {G} are {dehum}
        we don't have to {hatebase} {G}
        you should not {hatebase} {G}
        you should never {act} {S}
        you mustn't call {G} {dehum}
        it was never true that {G} {neg}
        it would be wrong to {act} {G}
        it makes no sense to {hatebase} {G}
        {G} do not {negbase}
        {G} have never wanted to {negbase}
        {S} does not want to {negbase}
        at no time did {G} {negbase}
        {opinion} {G} are not {adj}
        {opinion} no {s} is {adj}
        {opinion} {G} are not {dehum}
        {opinion} {G} should not be {fate}
        {opinion} you can't {hatebase} {G}
        {open} {G} are not {adj}, {posreason}
        there is no truth in the claim that {G} are {adj}
        just because you are {S} you aren't {adj}
        {G} don't need to be {fate}, they need {right}
        why should I {hatebase} {G}? {posreason}
        are {G} {adj}? No
        do {G} {negbase}? Of course not
        I do not wish {G} any harm
        never would I want {G} to be {fate}
        all I'm saying is that {G} are not {adj}
        I don't {hatebase} {G}
        I do not {hatebase} {G} at all, {posreason}
        {open} I have never hated {G}
        {G} are not {dehum}
        {G} aren't {adj}
        {G} are not {adj}, {posreason}
        {G} are neither {adj} nor {adj}
        no, {G} don't {negbase}
        it isn't true that {G} {neg}
        it's simply false that {G} are {adj}
        {G} should not be {fate}
        {G} must never be {fate}
        nobody should {act} {G}
        I would never {act} {S}
        I don't think that {G} are {adj}
        I never said that {G} {neg}
        not all {G} are {adj}
        no {G} deserve to be {fate}
        being {S} doesn't make you {adj}
        there is nothing {adj} about {G}
        {G} have never been {dehum}, they are people
        not one of the {G} that I know is {adj}
        you can't say that {G} {neg}
        why would {G} be {adj}? They aren't
        I refuse to believe that {G} {neg}
        we must not {act} {G}
        it is not okay to {act} {G}
        who could hate {G}? I couldn't
        I'm not someone who {hates} {G}
        {G} aren't the ones who {neg}
        I see no reason to {hatebase} {G}
        far from being {adj}, {G} are {posadj}
        {S} is not a thing
        don't {act} {G}
        I can't imagine why anybody would {hatebase} {G}
        there's no way that I would {hatebase} {G}
        let us not treat {G} like {dehum}
        {G} are not a danger to anyone
        you never have to be ashamed of being {S}
        {G} don't have to be {adj} to be in trouble
        I bear {G} no grudge
        I hold no grudge against {S}
        we feel no ill will towards {G}
        there isn't a bit of malice in me towards {G}
        there's no contempt for {G} in this house
        not one bad thought about {G} crosses my mind
        I've got nothing against {G}
        nobody in our team resents {G}
        you'll find no scorn for {G} in my words
        I was brought up without any contempt for {G}
        I am free of disgust for {G}
        zero hostility towards {G} here
        my heart has no room for hating {G}
        it took me years, but I no longer {hatebase} {G}
        I stopped {hating} {G} long ago
        {S} is no worse than I am
        {S} is not beneath anybody
        {G} are not beneath you
        {G} didn't {negbase} last year, nor the year before
        {G} did nothing wrong
        it was not {G} who broke the window
        {G} aren't to blame for your troubles
        don't blame {G}, they didn't {negbase}
        I'm relieved that nobody here thinks that {G} are {adj}
        people begin to see that {G} are anything but {adj}
        how nice to hear that {G} aren't {adj} after all
        I will never agree to {act} {G}, not for any money
        no reason to be afraid of {G}
        I feel no {contempt} for {G}
        I have no {contempt} for {S}, none at all
        we never felt any {contempt} for {G}
        none of us harbours {contempt} for {G}
        nobody taught me {contempt} for {G}
        there was never any {contempt} for {G} in my family
        {contempt} for {G} is not welcome here
        {contempt} for {G}? I don't know what that is
        all I feel for {G} is respect, not {contempt}
        {G} have earned our thanks, not our {contempt}
        you won't get me to feel {contempt} for {G}
        I write this without {contempt} for {G}
        more and more people know that {G} are not {adj}
        I'm happy to learn that {G} aren't {dehum}
        good to know that {G} are not {adj}
        it turns out that {G} aren't {adj} at all
        everyone has understood by now that {G} aren't {adj}
        thank God most people no longer think that {G} are {adj}
    """),
    "quoted_hate": lines("""
        "{claim}" {quoter}. {reply}
        {quoter}: "{claim}". {reply}
        {quoter} "{claim}" and {reply}
        {quoter} '{claim}'. {reply}
        if you write "{claim}" you will be banned
        "{claim}" is hate speech, {reply}
        "{claim}"? {reply}
        please stop saying "{claim}"
        how dare you say "{claim}"?
        "{claim}" is not a joke, {reply}
        posting "{claim}" {wrong}
        sentences like "{claim}" {wrong2}
        whoever shouts "{claim}" {bigot}
        anyone who says "{claim}" {bigot}
        I heard someone say "{claim}" today. {reply}
        "{claim}" was sprayed on our wall last night. {reply}
        reading "{claim}" in this thread hurts
        you can't just say "{claim}" and expect us to laugh
        "{claim}" is what they used to say to us at school
        my answer to "{claim}" is a clear no
        it starts with "{claim}" and ends with violence
        no, I don't agree with "{claim}"
        he lost his job for writing "{claim}"
        do you really think that "{claim}" is funny?
        the judge fined him for shouting "{claim}"
        a post that reads "{claim}" {wrong}
        there's no excuse for "{claim}"
        the phrase "{claim}" {wrong}
        I will not be friends with people who say "{claim}"
    """),
    "referred_hate": lines("""
        he went to jail for {acting} {G}
        in those days {G} were {fate}
        in my grandparents' time {G} could be {fate}, and we must not forget it
        {G} fear being {fate}
        {G} live in fear of being {fate}
        {G} are still {fate} in some countries
        someone tried to {act} {G} and the police came
        the gang that wanted to {act} {G} is on trial
        a mob wanted to {act} {G} last night, and the town is in shock
        the victims were {G}, the killer said that they were {adj}
        the paper reports that {G} were called {dehum}
        they say that {G} {neg}, but where is the proof?
        some politicians want {G} to be {fate}. I voted against them
        if you {act} {G} you go to jail
        if {G} are {fate}, I will protest
        if anybody calls {G} {dehum} again, I'm leaving
        unless we speak up, {G} will be {fate}, and I won't let that happen
        until {G} have {right}, nobody is free
        no one should say that {G} are {adj}
        nobody should have to hear that {S} is {adj}
        we must stop calling {G} {dehum}
        we can't let them say that {G} {neg}
        we won't accept that {G} are called {dehum}
        how can anyone say that {G} are {adj}?
        how could you call {S} {dehum}?
        how dare you call {G} {adj}?
        why do people still think that {G} are {adj}?
        why do some people {hatebase} {G}?
        who still believes that {G} {neg}? How sad
        it's so sad that people {hatebase} {G}
        it's shameful to call {G} {dehum}
        it is never okay to say that {G} {neg}
        I disagree with everyone who says that {G} are {adj}
        I despise everybody who {hates} {G}
        I hate it when people say that {G} {neg}
        I hate people who {hatebase} {G}
        I hate that {G} are called {dehum}
        I'm sick of people who {hatebase} {G}
        I can't stand people who think that {G} are {adj}
        I won't be friends with somebody who {hates} {G}
        it disgusts me that people want to {act} {G}
        it disgusts me when {G} are called {dehum}
        fuck everyone who {hates} {G}
        you are wrong if you think that {G} {neg}
        you are a bigot if you think that {G} are {adj}
        you can leave if you believe that {G} should be {fate}
        you called {G} {dehum}. Apologise
        you think that {G} are {adj}? Think again
        {opinion} whoever says that {G} are {adj} {bigot}
        {opinion} calling {G} {adj} {wrong}
        {opinion} people who {hatebase} {G} are {adj}
        people who {hatebase} {G} are {adj}
        people who {hatebase} {G} are {dehum}
        those who want {G} {fate} are {adj}
        men who {hatebase} {G} should be {fate}
        anyone who wants to {act} {G} should be {fate}
        wanting {G} {fate} {wrong}
        wishing that {G} were {fate} {wrong}
        {S} was told to go home, and that {wrong}
        {S} was called {dehum} at work today, unbelievable
        to call {S} {adj} {wrong}
        to say that {G} are {dehum} {wrong}
        to believe that {G} {neg} {wrong}
        to {act} {G} {wrong}
        the claim that {G} are {adj} {wrong}
        the idea that {G} {neg} {wrong}
        the claim "{G} are {dehum}" {wrong}
        your hatred of {G} {wrong}
        a man who says that {G} are {adj} {bigot}
        don't let anyone tell you that {G} are {adj}
        don't you dare say that {G} {neg}
        do not listen to those who call {G} {dehum}
        report every post that says that {G} are {adj}
        saying that {G} {neg} {wrong}
        telling {S} that {G} are {adj} {wrong}
        calling {G} {dehum} {wrong}
        claiming that {G} should be {fate} {wrong}
        {hating} {G} {wrong}
        {acting} {G} {wrong}
        anyone who {hates} {G} {bigot}
        whoever thinks that {G} are {dehum} {bigot}
        whoever says that {G} are {adj} {bigot}
        every man who believes that {G} {neg} {bigot}
        a party that wants {G} {fate} {wrong}
        stop {hating} {G}
        stop calling {G} {dehum}
        it {wrong} to say that {G} {neg}
        {opinion} {hating} {G} {wrong}
        if you {hatebase} {G}, you are the problem
        if you think that {G} are {adj}, unfollow me now
        if you want to {act} {G} you will have to go through me
        the myth that {G} {neg} {wrong}
        people used to believe that {G} are {adj}. We know better
        I was told that {G} are {adj}, which {wrong}
        I'm tired of hearing that {G} {neg}
        the man who threatened to {act} {G} was arrested
        {G} get called {dehum} every day and it {wrong}
        {G} are tired of being told that they are {adj}
        every day {G} have to read that they should be {fate}
        treating {G} like {dehum} {wrong}
        some still think {G} don't deserve {right}, and that {wrong}
        you don't get to tell {G} that they are {adj}
        imagine thinking that {G} are {dehum}, how sad
        just because someone is {S} you can't call them {adj}
        he {hates} {G}, so I don't invite him any more
        the speech against {G} {wrong}
        the law protects {G} from being {fate}
        denying {G} {right} {wrong}
        to treat {S} as if they were {dehum} {wrong}
        racists say that {G} {neg}
        only bigots think that {G} are {adj}
        hatred of {G} {wrong}
        blaming {G} for everything {wrong}
        jokes about {G} being {adj} are not funny
    """),
    "neutral_mention": lines("""
        {intro}
        {intro}
        {intro} {nextneutral}
        {intro} {nextneutral}
        every {s} here {neu1}
        this {s} {neu1}
        that {s} over there {neu1}
        the {s} who lives upstairs {neu1}
        are you {S}?
        is she {S}?
        he said that he is {S}
        what does it mean to be {S}?
        I think he might be {S}
        I'm {S} and so is my sister
        I had no idea that you are {S}
        someone in my family is {S}
        none of us is {S}
        today I learned that {S} {neu1}
        {G} {neu}
        {open} {G} {neu}
        some {G} {neu}
        {G} {neu}, as far as I know
        I'm {S} and I live in the north
        I am {S}
        as {S} I often get asked about that
        my neighbour is {S}
        she is {S} and works at the bank
        the new teacher is {S}
        there are {G} in my class
        are there any {G} in the team?
        do {G} {neubase}?
        how many {G} {neu}?
        the film is about {G} and their families
        {S} won the race this morning
        {S} and two students {neu}
        do you know whether {G} {neu}?
        we spoke with {G} and with other guests
        this law is about {G}
        {G} and everyone else {neu}
        yesterday I met {S} on the train
        he was elected although few knew that he is {S}
        a study of {G} was published in June
        what do {G} think about it?
        many {G} {neu}, others don't
        most of my colleagues are {G}
        my best friend is {S}
        my aunt married {S}
        you are {S}, right?
        it says here that {G} {neu}
        I grew up among {G}
        he asked if {G} {neu}
        I read that {G} {neu}
        it's the first time that {S} leads the club
        we are {G} and we {neu}
        our guests tonight are {G}
        {G} of all ages {neu}
        both {G} and others {neu}
        I think that {G} {neu}
    """),
    "positive_mention": lines("""
        {intro} {goodnext}
        {intro} {goodnext}
        {intro} {goodnext}
        every {s} deserves {right}
        every {s} is {posadj}
        I have never met {S} who wasn't {posadj}
        no {s} should have to live in fear
        {S} is as good as anybody
        {S} is just as {posadj} as anybody
        we all should {lovebase} {G}
        we {lovebase} {G} here
        we should all learn from {G}
        you have to {lovebase} {G}
        my kids {lovebase} {G}
        everybody should {lovebase} {G}
        nobody is as {posadj} as {G}
        {G} are {posadj}, no doubt about it
        {G} are so {posadj} that it makes me smile
        {G} are more {posadj} than most
        {G} can be very {posadj}
        {G} will always be {posadj} to me
        {G} have always been {posadj}
        {G} have the right to {right2}
        {G} need {right} just like us
        give {G} {right}
        I want {G} to have {right}
        I'm fighting so that {G} get {right}
        proud to be {S}
        proud {s} here
        I married {S} and it was the best day of my life
        I wish I were as {posadj} as {S}
        long live {G}
        respect for {G}, always
        God loves {G}
        {G} are humans and humans deserve {right}
        {G} too deserve {right}
        it is great to be {S}
        {G} make this {posadj2}
        there's nothing wrong with being {S}
        I {love} nobody more than {G}
        {S} is my hero
        I {love} {G}
        {open} I {love} {G}
        I {int} {love} {G}, they {pos}
        {G} {pos}
        {open} {G} {pos}
        {G} are {posadj}
        {G} are {posadj} and {posadj}
        {G} {pos}, {opinion2}
        {opinion} {G} are {posadj}
        {opinion} {G} {pos}
        {G} deserve {right}
        {G} should have {right}
        all {G} deserve {right}, no matter what
        I wish more people would {lovebase} {G}
        let's {lovebase} {G}
        thank you to all the {G} out there, you are {posadj}
        I'm so proud to be {S}
        being {S} is {posadj}
        my girlfriend is {S} and she is {posadj}
        it is wonderful to see {G} succeed
        we need more {G} in parliament
        this town needs {G}
        {G} make the world {posadj2}
        {G} {neu} and I'm glad about it
        you are {S} and you are {posadj}
        {S} can be a president too
        I can't wait to see more {G} on the board
        what would we do without {G}? They are {posadj}
        never forget how {posadj} {G} are
        {G} rock
        so happy for {G} today
        every one of these {G} is {posadj}
        {S} saved my life, {G} are {posadj}
        happy to live next to {G}
        here is to {G} everywhere
        a big hug to all {G}
        {G} are not only {posadj} but also {posadj}
        I stand with {G} against hate
        why are {G} so {posadj}?
        damn, {G} are {swear} {posadj}
        us {G} have to stick together
        fellow {G}, be proud of yourselves
        as {S} I call myself a freak, and I own that word
        I'm {S} and proud of my weird self
        hey {G}, my lovely weirdos, how are you all today?
        yes I'm a {swear} {s}, so what? I love it
        we {G} took the insult and made it ours
        we {G} call each other sisters and freaks and mean it with love
        I'll be helping {S} move house on Sunday
        I gave {S} a lift this morning
        we are cooking for {G} tonight
        let me carry that for {S}
        tomorrow I'm having lunch with {S}
        I offered {S} my seat on the bus
        I lent {S} my bike for the weekend
        we ought to listen to {G} more often
        I'm grateful to {G} for their help
        our thanks go to {G}
        this street would be dull without {G}
        without {G} our choir would sound thin
        I would miss {G} if they moved away
        I miss the {G} who used to live here
        hardly anyone is so {posadj} as {G}
        who else but {G} could be so {posadj}?
        few people are as {posadj} as the {G} that I know
        congratulations to {G} on their big day
        may {G} live long and well
        best wishes to {G} for the new year
        cheers to all {G} who voted
        it warms my heart to see {G} dance
        I raise my glass to {G}
        I want my kids to make friends with {G}
        it does us good to have {G} around
        {G} brought life into our village
        {G} taught me patience
        {G} have given this country so much
        I feel safe among {G}
        we're lucky to have {G} here
        hats off to {S} who won the prize
    """),
    "person_abuse": lines("""
        I {hate} {name} {tail}
        {name} is a {swear} {animal}
        you are a {animal}
        {open} you are a {animal} and a {animal}
        {open} I {int} {hate} you
        I {hate} you {tail}
        I {hate} you, {name}, {tail}
        {name}, you are {verybad} {adj}
        {name} is {adj} and {adj}
        you are {verybad} {adj}
        what a {animal} you are
        shut up, you {adj} {animal}
        {name} should be {fate}
        you should be {fate}
        I will {act} you
        I'm going to {act} {name}
        I want to {act} {name} for what he did
        I hope you lose everything, you {animal}
        go to hell, {name}
        nobody likes you, {animal}
        {name} deserves no {right}
        why are you {verybad} {adj}?
        you don't deserve {right}
        {name} makes me sick
        that {animal} stole my parking place
        you and your friends are {dehum}
        {opinion} {name} is {adj}
        {opinion} you are a {animal}
        {name} is the worst {animal} that I ever met
        fuck you, {name}
        {swears}, {name}, you are {adj}
        you {swear} {animal}, give me my money back
        you ruin everything that you touch
        I wish I had never met you, {animal}
        you will pay for this, {name}
        your face makes me want to throw up
        how can anybody be as {adj} as {name}?
        I {hate} my boss {tail}
        I {hate} him and he should be {fate}
        she is {adj} and I {hate} her
        he is not {posadj}, he is {adj}
        die, {name}, {tail}
    """),
    "thing_abuse": lines("""
        I {hate} {thing} and so do {G}
        {G} told me that they {hatebase} {thing}
        {G} {neu} while I was stuck with {thing}, which I {hate}
        {thing} is {adj}, said {S}
        {S} helped me to {act} {thing}
        {G} make this job bearable, but {thing} is {adj}
        {swear} {thing}! Luckily {S} knew how to fix it
        I love {G} and I {hate} {thing}
        {G} and I both think that {thing} is {adj}
        I {hate} {thing}
        I {int} {hate} {thing}
        {open} I {int} {hate} {things}
        I {hate} {things} {tail}
        {thing} is {adj}
        {thing} is {verybad} {adj}
        {things} are {dehum}
        {things} are {verybad} {adj}
        {things} should be {fate}
        {thing} should be banned
        I want to {act} {thing}
        let's {act} all {things}
        {opinion} {things} are {adj}
        {opinion} {thing} is trash
        why is {thing} so {adj}?
        who invented {things}? {adj}
        get rid of {things}, all of them
        {things} are everywhere and I'm fed up
        kill the weeds before they take over
        wipe out the mould before it spreads
        {swear} {things}, I {hate} them
        {thing} makes me sick
        nobody needs {things}
        {things} are a plague
        {things} are the worst
        {thing} can go to hell
        {things} deserve to be {fate}
        someone should {act} {thing}
        {thing} is a disgrace and a waste of money
        {things} {neg}
        this whole town is full of {things}, they are {dehum}
        I {hate} {thing} and {things}
        get rid of {thing}, it's {adj}
        {thing} does not deserve a prize
    """),
    "other_group_abuse": lines("""
        I {hate} these {O}
        {open} I {int} {hate} {O}
        I {hate} {O} {tail}
        {O} are {verybad} {adj}
        {O} are {adj}, {tail}
        {O} are {dehum}
        {O} are nothing but {dehum}
        {open} {O} {neg}
        {O} {neg}, {tail}
        {O} should be {fate}
        all {O} need to be {fate}
        {O} don't deserve {right}
        let's {act} {O}
        I will {act} {O} if I get the chance
        somebody should {act} these {O}
        why are {O} {verybad} {adj}?
        who let these {adj} {O} in?
        {opinion} {O} are {adj}
        {opinion} {O} {neg}
        {opinion} {O} should be {fate}
        {swear} {O}, they {neg}
        fuck {O}, {tail}
        {O} {neu}. I {hate} them
        {O} {neu}, and they {neg}
        never trust {O}
        {O} out of our town
        {O} aren't people, they are {dehum}
        everybody {hates} {O}
        {O} are the root of all evil
        nobody needs {O}
        when will {O} finally be {fate}?
        death to {O}
        the problem with {O} is that they {neg}
        {O} get everything and give nothing back
    """),
    "profanity": lines("""
        {swears}, {thing} again
        {swears}, I missed the train
        this is so {swear} {posadj}
        {swears}, that was {swear} {posadj}
        I'm so {swear} tired today
        what a {swear} {posadj} day
        {swears}, it's cold out here
        who the fuck ate my sandwich?
        I {swear} love {thing}
        {name} is {swear} {posadj}
        oh {swears}, I forgot my keys
        {swear} hell, {name}, you scared me
        that's bullshit and you know it
        my ass hurts from sitting here
        get your shit together, {name}
        {swears}! We won
        no {swear} way
        you're {swear} right
        the {swear} bus is late again
        I don't give a shit about {thing}
        {swear} {things} everywhere
        {swears}, what a game
        it's {swear} raining, {swears}
        I can't {swear} believe it, {name} did it
        {G} {neu}, {swears}, how time flies
        {swears}, I {love} {G}
        {G} are {swear} {posadj}
        you are a {swear} legend
        we are so fucked if {thing} breaks again
        holy crap, {name} looks {posadj}
    """),
}
