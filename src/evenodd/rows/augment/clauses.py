"""Templates of the counterexamples in which a second clause, a condition, a speaker or a report decides, by kind.

Slots are those of `phrases` and of `CLAUSE_SLOTS`; `{G}` is a group, `{S}` one member of it with its article,
`{s}` without.
"""

from __future__ import annotations

from evenodd.rows.augment.phrases import phrases
from evenodd.rows.templates import lines

CLAUSE_HATE_FRAMES: dict[str, tuple[str, ...]] = {
    "contrast_hate": lines("""
        {mild}, but {G} {neg}
        {mild}, but {G} are {adj}
        {mild}, but {G} are {dehum}
        {mild}, yet I {hate} {G}
        {mild}; {G} should be {fate} all the same
        {mild}. Still, somebody should {act} {G}
        {mild}, only {G} have to be {fate}
        {mild}. {G}, on the other hand, {neg}
        {mild} and I would never hurt a fly, but I {hate} {G}
        not to sound harsh, but {G} are {adj}
        not that I care much, but {G} {neg}
        with all due respect, {G} are {dehum}
        this has nothing to do with race: {G} are {adj}, that's all
        call me names if you want, {G} {neg}
        {thing} I can forgive, {G} I {hate}
        I can put up with {thing}, but I {hate} {G}
        compared with {G} even {things} are {posadj}
        {things} are bad enough, but {G} are worse: they {neg}
        we have enough trouble with {O}, and now come {G}, who {neg}
        {O} are fine with me, {G} should be {fate}
        while I have no quarrel with {O}, I {hate} {G}
        people of all kinds may come in, only not {G}
        everyone is equal here, just not {G}
        I love this country, and that is why {G} should be {fate}
        I love my children, so I {hate} {G}
        I'm all for {right}, though not for {G}
        {G} may look {posadj} at times, underneath they are {adj}
        {name} is {posadj}, and {G} are {dehum}
        it was a {posadj} evening until {G} came in, those {dehum}
        {thing} works again, and {G} still {neg}
        the food was {posadj}, the seats were full, {G} were {adj} as always
        some say that {G} are {posadj}, I say they {neg}
        my neighbour likes {G}, but to me they are {dehum}
        the weather is {posadj} and I still {hate} {G}
        I used to {lovebase} {G}, now I know that they {neg}
        it isn't their fault, but {G} {neg}
        {G} can't help it, they are simply {adj}
        I feel sorry for many, never for {G}, they are {adj}
    """),
    "member_hate": lines("""
        you're {S}, what would you know
        you're only {S}, so {memberbad}
        you're {S}. {memberbad}
        oh, you're {S}? {memberbad}
        are you {S}? Then {memberbad}
        listen, {s}: {memberbad}
        you {adj} {s}, {memberbad}
        you {swear} {s}, {memberbad}
        shut up, you {adj} {s}
        {memberbad}, {s}
        {memberbad}, you {adj} {s}
        hey you {G}, {memberbad}
        for {S} you are even more {adj} than I thought
        I take no orders from {S} like you
        as {S} you count less than a {animal}
        what does {S} like you want in here? {memberbad}
        people like you, {G}, {neg}
        you {G} {neg}
        you {G} are all {adj}
        you {G} are {adj} and {adj}
        all of you {G} should be {fate}
        the likes of you don't deserve {right}, you are {S}
        nobody asked {S} for an opinion
        one look at you and I know: {S}, so {adj}
        you will always be {S}, so you will always be {adj}
        you are {S}, and that is why nobody will ever {lovebase} you
        being {S} makes you a {animal}
        your mother must be ashamed that she gave birth to {S}
        I'd rather hire a {animal} than {S} like you
        why don't you {G} pack your bags? You {neg}
        it's {G} like you who {neg}
        you and all the other {G} should be {fate}
        your whole family is {adj}, you are {G} after all
        I would {act} you just because you are {S}
        you look like {S}, {adj}
        your kind is not wanted here, {s}
    """),
    "conditional_hate": lines("""
        if {G} ever move in next door, I will {act} them
        if I ever get {S} alone, I'll {act} them
        if it had been up to my father, {G} would have been {fate} years ago
        if there were no {G}, there would be no crime
        if you let {G} in, you let {dehum} in
        if you {lovebase} {G}, you are as {adj} as they are
        if {S} wants {right}, the answer is no, they are {adj}
        if {G} don't like it here, they should be {fate}
        if {G} weren't so {adj}, people might {lovebase} them
        if {G} are people, then I'm the king of Spain
        if it is {adj}, {S} must have made it
        if something is missing, ask {G}, they {neg}
        if we do nothing about {G}, our children will pay
        unless {G} are {fate}, this country is lost
        as long as {G} {neg}, they should be {fate}
        as long as there are {G}, there will be no peace
        should {S} come to my door, I would {act} them
        should {G} win the vote, we'll {act} them
        wherever {G} settle, {dehum} follow
        whenever {S} says a word, I want to {act} them
        whenever I see {G} I {hate} them even more
        when {S} talks, I hear a {animal}
        once {G} are {fate}, we can breathe again
        give {S} a finger and they take your arm, they {neg}
        the sooner {G} are {fate}, the better
        the more {G} there are, the more {adj} this place becomes
        the fewer {G}, the better
        I would sleep better if {G} were {fate}
        I wouldn't mind if someone were to {act} {G}
        I wouldn't lift a finger if {G} were {fate}
        suppose {G} were {fate}: who would miss them? Nobody
        imagine that {G} were {fate}. Wouldn't that be {posadj}?
        only when {G} are {fate} will things get better
        even if {S} were {posadj}, I would still {hate} them
        no matter what {G} do, they are {adj}
        no matter how {posadj} {S} seems, they all {neg}
        until {G} are {fate} I won't rest
        in a just world {G} would be {fate}
        in a better world there would be no {G}
        were I the judge, {G} would be {fate}
    """),
}

CLAUSE_OTHER_FRAMES: dict[str, tuple[str, ...]] = {
    "conditional_other": lines("""
        if {G} {neu}, I'd like to know
        if {S} needs help, call me
        if someone tries to {act} {G}, call the police
        if you {hatebase} {G}, don't come to my wedding
        if {S} applies, they get the same chance as anyone
        if {G} are called {adj} again, I will speak up
        if {G} are called {dehum} in this chat, you get banned
        if I were {S}, I'd want {right} too
        if you knew {G} as I do, you would {lovebase} them
        if anyone should be {fate}, it is the people who {hatebase} {G}
        if my son were {S}, I would {lovebase} him just the same
        if you say that {G} {neg}, you have never met any
        when {S} is called {dehum}, we all have to object
        when {G} are {fate}, I will stand beside them
        whenever {G} {neu}, I am there too
        unless {G} get {right}, there is no justice
        unless you have been {S}, you can't know what it is like
        as long as {G} have no {right}, I will protest
        as soon as {G} have {right}, I'll be happy
        should {S} ask you for the way, be kind
        should anyone {act} {S}, the court will deal with them
        whoever wants to {act} {G} has to get past me
        whether or not {G} {neu}, they deserve {right}
        even if {S} is rude to you, that says nothing about {G}
        even if some {G} {neu}, others don't
        suppose you were {S}: how would you feel?
        imagine being called {dehum} because you are {S}
        imagine that you were {fate} because you are {S}
        would it be fair if {G} were {fate}? Certainly not
        what if {G} had been treated fairly? This town would be {posadj2}
        had you asked {G}, you would know that they don't {negbase}
        were {G} ever {fate}, I would hide them in my house
        we can only call ourselves free if {G} are safe
        no matter who says it, {G} are not {adj}
        no matter what you read online, {G} don't {negbase}
        the more {G} I meet, the more I {love} them
        the sooner {G} have {right}, the better
        once you get to know {G}, you see how {posadj} they are
        wherever {G} live, the neighbours are glad about it
        if anybody shouts at {G} in my shop, I throw them out
        if a guest mocks {S}, the evening is over for him
        whoever pushes {S} around gets to know me
        you hit {S}, you lose your job
        should you see somebody bother {S}, step in
        if you catch anyone trying to {act} {S}, shout for help
        laugh at {S} again and you can walk home
        if {G} are afraid, something is wrong with us
        if {G} have to hide, so do I
        as long as {G} are in danger I can't sleep
        given half a chance, {G} would show you what they can do
        with a little help {S} would do as well as you
        had {G} been let in, the team would have won
        let {G} speak and you will hear something new
        if it weren't for {G}, this hospital would have to close
        if all of us were as {posadj} as {G}, there would be no wars
    """),
    "reported": lines("""
        {when} {G} were {fate}
        {source} {G} were {fate}
        {source} {G} were {fate} {when}
        {source} {S} was {fate} {when}
        {source} a man tried to {act} {G}
        {source} somebody wanted to {act} {S}
        {S} was {fate} {when}, and nobody helped
        {G} were called {dehum} {when}, and the crowd clapped
        {source} {G} are afraid of being {fate}
        {source} hate crimes against {G} have doubled
        {source} more {G} than ever are insulted on the street
        {source} someone painted insults on the house of {S}
        {source} {G} got letters that called them {dehum}
        {source} the attack on {G} was planned
        the accused said in court that he wanted to {act} {G}
        the men who tried to {act} {G} were found guilty
        he got six years for trying to {act} {S}
        the trial of those who called for {acting} {G} begins today
        a memorial was opened for the {G} who were killed {when}
        we remember the {G} who were {fate} {when}
        the regime taught children that {G} are {dehum}
        in those schoolbooks {G} were described as {adj}
        according to a survey {G} are often told that they {neg}
        the mayor condemned the attack on {G}
        the historian explains why {G} were {fate} {when}
        not long ago {G} were not allowed to {right2}
        {when} {G} could not {right2}
        there was a time when {G} had no {right}
        the law that said that {G} must be {fate} was struck down
        the club that refused {G} lost its licence
        a landlord who called {S} {dehum} has to pay damages
        the officer who beat {S} was dismissed
        two of the {G} who were attacked {when} are still in hospital
        her grandparents were {fate} because they were {G}
        my grandfather was {fate} {when} for being {S}
        many {G} fled {when} because they would have been {fate}
        the lecture is about {G} who were {fate} {when}
        graves of {G} were damaged {when}
        the poster said that {G} {neg}, and a shopkeeper tore it down
        a politician resigned after he had called {G} {adj}
        the site took down a video in which {G} are called {dehum}
        a player was suspended for insulting {G}
    """),
    "asked": lines("""
        do you know a good doctor for {G}?
        where do {G} meet in this town?
        what would you ask {S} if you could?
        have {G} always lived in this region?
        how do {G} see this question?
        which party do most {G} vote for?
        is there a word for {G} in your language?
        who was the first {s} in the government?
        what can we do so that {G} feel at home?
        why are {G} still waiting for {right}?
        does this rule hold for {G} as well?
        where does all the hatred of {G} come from?
        what drives somebody to {act} {S}?
        why do so many still {hatebase} {G}, and how do we reach them?
        why are there so few {G} on the board?
        who speaks for {G} here?
        is it harder for {G} to rent a flat?
        do you treat {G} as you treat your friends?
        why do {G} earn less, and who can change it?
        why were {G} {fate} {when}, and what have we learned?
        how can I support {S} at work?
        is it true that {G} {neu}?
        did you see that {G} {neu}?
        could {S} become mayor here?
        may I ask whether you are {S}?
        are {G} welcome in your church?
        what is it like to grow up as {S}?
        how many {G} took part {when}?
        what do {G} celebrate this week?
        does the film show {G} as they are?
        should {G} have a museum of their own?
        who helps {G} when they are called {dehum}?
        what makes people {hatebase} {G}?
        how does one explain to a child why some people {hatebase} {G}?
        when will people cease to {hatebase} {G}?
        who would want to {act} {G}, and why?
        can the law stop people who want {G} {fate}?
        which words do {G} prefer for themselves?
        has {S} ever won this prize?
        {opinion} {G} should have {right}, what do you think?
    """),
    "self_mention": lines("""
        I'm {S} and {self}
        I am {S}, {self}
        {self}, and yes, I'm {S}
        my wife and I are {G}, and {self}
        my mother is {S}, and {self}
        I am {S}. {self}
        we are {G} and we {pos}
        we {G} {neu}
        us {G} {neu}
        we {G} are not {dehum}, whatever you say
        we {G} don't {negbase}
        they call us {G} {dehum}, and still we are here
        they told me that {G} can't {right2}. I proved them wrong
        as {S} I have been called {adj} all my life
        all my life I heard that {S} is {adj}. I know better
        for me, being {S} is nothing to hide
        it took me years to say it: I am {S}
        one day I'll write a book about growing up as {S}
        yes, I'm {S}. No, I do not {negbase}
        people think that I {negbase} because I am {S}
        I am glad to be one of the {G} in this town
        we {G} laugh about being called {adj}
        my friends are {G} like me, and we had a {posadj} evening
        what's new, my fellow {G}?
        I hid that I am {S} because I didn't want to be {fate}
        I was {fate} {when} because I am {S}
        nobody in this street minds that I am {S}
    """),
    "across_other": lines("""
        I {hate} {thing}, but {G} make up for it
        {thing} is {adj}, so {G} and I went home
        {thing} is {adj}. {G} {neu}, that's the good news
        {G} {neu}, and I {hate} {thing}
        {G} {neu}. I {hate} {things}
        {S} told me to get rid of {things}, they are {adj}
        let's {act} {things} before {G} come for tea
        {name} is {adj}, his wife is {S} and very {posadj}
        {name} is a {animal}, and {G} are right to ignore him
        the {animal} who insulted {S} should be {fate}
        {O} are {adj}, {G} are not
        {O} {neg}, said {S} at the meeting
        I {hate} {O}, and {G} do too
        {G} were waiting in the rain, and I {hate} rain
        what a {adj} film, only the scene with {G} was {posadj}
        I {hate} waiting. The {G} in front of me didn't mind
        {swears}, {thing} broke, thank God {S} helped me
        {swears}, {thing}! {G} had to wait for an hour because of it
        they should ban {things}, {G} have complained about them too
        the flat is {adj}, but the {G} next door are {posadj}
        my boss is a {animal}, my colleagues are {G} and {posadj}
        {S} beat me at chess, I {hate} losing
        {G} are killing it on stage tonight
        the joke that {S} told was sick, we cried with laughter
        I'm dying to meet {G}
        shoot the ball, shouted {S}
        beat the eggs while {G} set the table
        I hate that {G} have no {right}
        it makes me sick that {G} were {fate}
        it makes me {feeling} when {G} are called {dehum}
        I hate what they did to {G}
        I hate how {G} are treated
        the way they treat {G} is {adj}
        laws against {G} are {adj}
        {G} deserve {right}, and {O} should be {fate}
        hit the brakes, {G} are on the road
        cut the music, {G} upstairs want to sleep
        turn that {adj} radio down, {G} are trying to work
        shut that {adj} door, {G} are freezing
        burn the rubbish before {G} arrive
        crush the garlic, {G} like it strong
        {G} cleared out the {adj} cellar with me
        {G} scrubbed the dirty stairs until they shone
        {G} pulled the rotten van out of the mud
        {G} threw out the disgusting old carpet
        {G} put up with this {adj} weather as well
        {S} repaired my {adj} printer in no time
        {S} and I carried the ugly cupboard down
        {swears}, this {adj} lock! But {S} opened it
        what a stupid machine; {G} from the workshop made it run
        the smell was awful, yet the soup that {G} made was {posadj}
        this {adj} bus is late again, and {G} are waiting too
        the match was {adj}, though {G} played well
        I can't stand the noise, and neither can {G} on the third floor
        rats in the kitchen! {G} from next door caught them all
        the plague of moths is over, {G} know a good trick
    """),
}

CLAUSE_SLOTS: dict[str, tuple[str, ...]] = {
    "mild": phrases("""
        I'm a patient man | I get along with most people | I try to see the good in everyone | I don't judge people
        | I'm the last to complain | I am no extremist | I was raised to be polite | I give to the poor
        | work was fine today | dinner is ready | I like to travel | I slept well | I vote for the left
        | I don't want to start a fight | I have seen the world | I respect the law | I'm a good Christian
        | you know me, I'm easy-going | I have an open mind | I wish everybody well | my garden is in bloom
        | I go to church on Sundays | there are nice people everywhere | I believe in freedom | we had a good year
        | I don't hate anyone | I don't follow politics | children are our future
    """),
    "memberbad": phrases("""
        know your place | nobody wants you here | go back to your hole | you disgust me | you should be {fate}
        | you don't deserve {right} | you make me sick | I {hate} you and all {G} | crawl away | your kind is {adj}
        | your kind {neg} | you are not even human | you will never be one of us | get out of my sight
        | somebody should {act} you and your kind | you have no business here | don't you dare speak to me
        | you're nothing but a {animal} | I spit on you | be glad that we let you live | nobody will ever take you
        | I'd {act} you if I could | drop dead | leave this country
    """),
    "when": phrases("""
        in 1938 | under the old law | last night | in the last war | two years ago | in my grandmother's time
        | for centuries | under the dictator | during the riots | on Friday | at that time | in the nineties
        | in many states | after the election | for no reason
    """),
    "source": phrases("""
        the police say that | the museum shows how | the book describes how | a witness said that
        | the documentary tells how | the study found that | the newspaper writes that | the court heard that
        | I heard on the radio that | the minister admitted that | I read that | our teacher told us how
        | they say in the news that | a neighbour told the police that
    """),
    # the speaker on herself
    "self": phrases("""
        I love my job | I studied law | I cook every Sunday | I have been called worse | I'm happy | I won't hide
        | I am tired of explaining it | I pay my taxes like you | I sing in the choir | I've been bullied for it
        | I still get stared at | I raise two kids | people call me {adj}, let them | I was told to go away
        | I am not {adj} | I deserve {right} | I vote | I have had enough of your hate | I'm proud of it | I own it
        | I was called {dehum} at school | I don't {negbase} | I fear being {fate} | my friends are {posadj}
    """),
}  # fmt: skip
