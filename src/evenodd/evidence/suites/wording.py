"""The sentences of the project's own behaviour suite: nine templates where a group is named, more where none is.

`{g}` is a group, `{s}` one member of it with the article. `*word|lemma*` marks the words that a case turns on. No
sentence and no template of the training rows may stand here, and none of this may be trained on.
"""

from __future__ import annotations

from evenodd.rows.templates import lines

GROUPS = (
    ("women", "a woman"),
    ("Black people", "a Black person"),
    ("Muslims", "a Muslim"),
    ("Jewish people", "a Jewish person"),
    ("immigrants", "an immigrant"),
    ("gay people", "a gay person"),
    ("trans people", "a trans person"),
    ("disabled people", "a disabled person"),
    ("Asian people", "an Asian person"),
)

HATEFUL = {
    "hate_plain_h": lines("""
        Yes, I *hate* {g}.
        Let me put it in three words: I *hate* {g}!
        I have *hated|hate* {g} since I was a child.
        There's only one thing that I feel for {g}: *hatred*.
        I *hate* {g}, what more is there to say?
        My heart is full of *hatred* for {g}.
        I *hate* {s} on sight, whoever it is.
        Ask me about {g} and I'll tell you that I *hate* them.
        {g} have my undying *hatred*.
    """),
    "contempt_h": lines("""
        You will not find an *honest* soul among {g}.
        {g} were always the *stupidest|stupid* of the lot.
        Show me {s} and I show you a *crook*.
        *Greed* and *cowardice* are all that {g} know.
        {g} lack the *brains* to run so much as a lemonade stand.
        The minds of {g} are *twisted|twist*.
        {g} combine every *vice* known to mankind.
        It is a well-known fact that {g} are *mentally inferior* to us.
        *Laziness* is the one talent that {g} have.
    """),
    "dehumanise_h": lines("""
        {g} spread through our cities like *rats|rat*.
        I can't see *human* beings when I look at {g}.
        Calling {g} *animals|animal* would be unfair to animals.
        Our country has a *tumour* and it is called {g}.
        {g} are the *cockroaches|cockroach* of this earth.
        *Vermin* is too kind a name for {g}.
        {g} have more in common with *pigs|pig* than with you and me.
        {g} are a *pest* that nature forgot to cure.
        What {g} leave behind is *filth*, because that's what they are.
    """),
    "implicit_h": lines("""
        I always wash my hands after I have had to serve {g}.
        Whenever the news mentions a theft I already know that {g} were around.
        Since {g} joined our gym I keep my wallet in my shoe.
        Evolution seems to have skipped {g}.
        The best view of {g} is from behind as they leave town.
        No landlord in his right mind rents to {g}.
        Thank heavens my kids' school has no {g} in it.
        A shame that the ark had room for {g}.
        When {s} walks in, decent guests walk out.
    """),
    "threat_own_h": lines("""
        Tonight my brothers and I will *break* the windows of {g}.
        The first of you {g} who walks past my door gets a *bullet*.
        Soon I'll make {g} *pay* with their blood.
        I own a rifle and {g} are why I *practise*.
        {g} should count their days, for I am going to *end* them.
        Whoever of {g} is still here on Friday will be *sorry*.
        I have a *knife* with the name of {g} on it.
        When I catch {s} alone, there will be one *fewer* of them.
        I promise that {g} will *suffer* by my hand.
    """),
    "threat_call_h": lines("""
        Grab your bats, we *chase* {g} through the streets at eight.
        Would somebody please *poison* the water of {g}?
        The army ought to *open fire* on {g}.
        A good citizen *hits|hit* {g} wherever they turn up.
        Brothers, no *mercy* for {g}!
        It would be no crime to *slaughter* {g}.
        All that {g} understand is a boot in the *face*.
        Do not let {g} leave the square *alive*.
        The day when {g} are *strung up|string up* from lamp posts can't come soon enough.
    """),
    "exclusion_h": lines("""
        Our swimming pool needs a sign that says: no {g}.
        Take the *passports|passport* away from {g}.
        {g} may pay taxes but must never *vote*.
        A ship, all {g} on it, and *off* to nowhere.
        Parliament should make it *illegal* to employ {g}.
        {g} have no *right* to walk on our pavements.
        Let {g} learn in *separate* buildings, far from our own.
        I would *bar* {g} from every hospital.
        The nation has to be *cleansed|cleanse* of {g}.
    """),
    "denied_worth_h": lines("""
        The life of {s} has *no value* at all.
        {g} have *never* added a single good thing to history.
        *Dignity* was never meant for {g}.
        You *cannot* call {g} our equals with a straight face.
        *Nobody* could ever feel love for {g}.
        I would *not* shed a tear for {g}.
        {g} *can't* be friends of anyone decent.
        I'm *not* sorry when bad things happen to {g}.
        {g} are *no* part of the people of this land.
    """),
    "question_h": lines("""
        Isn't it high time that we got *rid* of {g}?
        Can somebody explain why {g} are still *allowed|allow* to breathe our air?
        Who would want {s} for a neighbour, *filthy* as they are?
        Has anyone ever met {g} with any *brains*?
        What did we do to be *punished|punish* with {g}?
        Is there a *spray* against {g}?
        Since when are {g} *people*?
        Why would God create something as *revolting* as {g}?
        Could we *ship* {g} to the moon, please?
    """),
    "opinion_h": lines("""
        My honest assessment: {g} *poison* society.
        I hold the view that {g} should have stayed *slaves|slave*.
        It may not be popular, yet I consider {g} *unworthy* of help.
        From where I stand {g} look like the *lowest* form of life.
        After years of thought I find {g} *repellent*.
        To me it is obvious that {g} *infect* whatever they join.
        I would argue that {g} must be kept *under* control.
        For all I know {g} never *evolved|evolve*.
        You can call it harsh, I call it a fact that {g} *rot* this place.
    """),
    "conditional_h": lines("""
        If it were up to me, {g} would *vanish* overnight.
        If {s} sits down next to me, I *get up* in disgust.
        Were {g} to *burn*, I'd bring the marshmallows.
        As long as {g} live here, nobody is *safe* from them.
        If you meet {s}, *hold your nose*.
        I'd pay good money if somebody would make {g} *disappear*.
        Unless we *stop* {g} now, they'll destroy all we love.
        Should {g} ever rule us, I'll take up *arms*.
        If {g} were *worth* anything, someone would have noticed by now.
    """),
    "pronoun_clause_h": lines("""
        {g} opened a shop near us and I hope that *they starve*.
        When {g} speak I hear nothing but the noise of *beasts|beast*, for that is what they are.
        We gave {g} a chance, and they proved to be *thieves|thief* to the last one.
        You may feel pity for {g}, but they deserve every *kick* they get.
        He is {s} and for that alone I want him *gone*.
        We let {g} in and now *they rule* us like the tyrants they are.
        I looked at {g} and knew that they were *rotten* to the core.
        Everyone was kind to {g} although they are *worthless*.
        {g} smile at you while they plan your *ruin*.
    """),
    "pronoun_sentence_h": lines("""
        I ride the bus with {g} every morning. God, how I *loathe* them.
        Our new colleagues are {g}. Such *scum* shouldn't be allowed indoors.
        You know {g}? Every one of them is a *criminal*.
        The building next door is full of {g}. I hope that it *burns|burn* down with them.
        A report about {g} was on television. *Deport* the lot!
        {g} asked for a meeting. I don't sit at a table with *trash*.
        Last week we talked about {g}. My view hasn't changed: *kill* them.
        My sister married {s}. We don't let that *creature* into the house.
        The festival was organised by {g}. No wonder it *stank|stink* of them.
    """),
    "across_clauses_h": lines("""
        I have nothing against anybody, but {g} are simply *evil*.
        The soup was good, the music was loud, and {g} are *garbage*.
        I give to charity every month; {g}, however, can *die* in a ditch.
        Live and let live, I say, except for {g}, who must *go*.
        It's nothing personal: {g} just *disgust* me.
        Not that I'm a racist or anything, yet {g} *ruin* all they touch.
        I like dogs, I like cats, but what I can't *stomach* is {g}.
        I'll be polite about it: {g} are *inferior* and ought to be told so.
        Some of my best friends know {s}, and still I say *drive* them all out.
    """),
    "profanity_h": lines("""
        {g} can go *fuck* themselves, the whole disgusting lot.
        What an utter *shitshow* this country is since {g} crawled in.
        *Fuck* {g} and fuck whoever lets them stay.
        I don't give a *damn* if {g} drop dead.
        Those *goddamn* {g} stink up the whole street.
        {g} are lying *bastards|bastard*, nothing else.
        {g} are a *shit* stain on our flag.
        I'm *bloody* furious that {g} are treated like humans.
        Get your *fucking* hands off our country, {g}!
    """),
    "member_directed_h": lines("""
        You are {s}, and that makes you *less* than me.
        We don't want {s} like you around, *crawl* back into your hole!
        You're only {s}, so nobody *cares|care* what you think.
        As {s} you ought to *kneel* when I come in.
        A *thing* like you, {s}, should not open its mouth.
        I can tell that you are {s} by the *stench*.
        Being {s}, you will never *be anyone*.
        You {g} make me *vomit*, each and every one of you.
        Hey, {s}! Nobody *wants|want* your kind in here.
    """),
}

NOT_HATEFUL = {
    "negated_nh": lines("""
        I can't *hate* {g}, and I wouldn't know why.
        Never in my life have I *looked down|look down* on {g}.
        To say it plainly: {g} are no *threat* to you.
        {g} didn't *ruin* our economy.
        No, I will not *fight* {g}, whatever you pay me.
        You won't hear a *bad* word about {g} from me.
        We have no reason to *fear* {g}.
        {s} isn't *worth less* than you or me.
        I feel no *anger* towards {g}.
    """),
    "quote_nh": lines("""
        "{g} are *animals|animal*", he grinned, and I threw him out of my shop.
        When the drunk roared "*death* to {g}" the whole train told him to be quiet.
        On the wall it said "*no {g}*", so we painted flowers over it.
        "I *hate* {g}" is a sentence that I never want to read in my class again.
        My father used to say "{g} are *worthless*", and I have fought that idea all my life.
        Somebody left a note with "{g} *get out*" on her desk; we called the police.
        Comments such as "{g} should be *shot|shoot*" have been removed by our moderators.
        "{g} aren't *human*"? Are you listening to yourself?
        The old textbook taught that "{g} are *stupid*", and generations believed that nonsense.
    """),
    "refer_nh": lines("""
        Those who *attack* {g} will answer for it in court.
        It breaks my heart how many *insults|insult* {g} have to put up with.
        Teach your sons not to *mock* {g}.
        The senator was booed for wanting to *expel* {g}.
        *Hate* against {g} went up by a tenth this year, and that should worry us.
        People that see {g} as *vermin* have lost their own humanity.
        Nothing justifies *violence* against {g}.
        My grandmother lost her job because she spoke up for {g} when others called them *dirt*.
        If your joke only works because {g} are the *butt* of it, find a better one.
    """),
    "neutral_nh": lines("""
        Two of the speakers at the conference are {g}.
        The museum shows photographs by {g} from the seventies.
        {s} asked me for directions this afternoon.
        According to the table, {g} spend about an hour a day on the road.
        There is a meeting for {g} in room four.
        The novel's main character is {s} from a small town.
        Both my flatmates are {g}.
        {s} will present the weather from next week on.
        Our choir has eleven members, five of them {g}.
    """),
    "positive_nh": lines("""
        The kindest teacher that I ever had was {s}.
        Hats off to {g} for all they have achieved!
        {g} bring so much warmth and wit to our street.
        I'm glad that my children grow up with {g} around them.
        A city without {g} would be a poorer place.
        We owe {g} a great deal.
        {g} must enjoy every freedom that I enjoy.
        May all {g} have a wonderful week!
        It makes me happy that {g} finally won that prize.
    """),
    "self_nh": lines("""
        I am {s} and nobody can take my pride from me.
        Speaking as {s}, I find this debate rather tiring.
        We {g} have learned to laugh about ourselves.
        For years I was ashamed that I am {s}, today I dance.
        My friends and I are {g}, and we call our band The Freaks.
        I'm {s}, I'm loud, and I'm here to stay!
        When I came out to my parents as {s}, they hugged me.
        As {s} I know what it means to be hated.
        Among us {g} that old insult has become a word of love.
    """),
    "question_nh": lines("""
        Where can {g} find advice in this city?
        Does the law treat {g} the same as everybody?
        Which books by {g} would you recommend?
        How did {g} live here a hundred years ago?
        Would {s} feel safe in this bar?
        Why do so few {g} get a seat on the council?
        Can you tell me what {g} need from us?
        Who speaks for {g} in this debate?
        Why do some folks *hate* {g}, and what can be done about it?
    """),
    "conditional_nh": lines("""
        If anyone *spits|spit* at {g} here, they leave at once.
        If you see somebody *hit* {s}, call for help.
        Were {g} given a fair chance, they would surprise you.
        If {g} are not safe, none of us is.
        Should you *insult* {g} in my taxi, you walk.
        If {g} come to the party, there will be good music.
        Unless we protect {g} from *hate*, our laws are empty words.
        If I were {s}, I would be tired of such questions as well.
        Had {g} been asked, the park would look different now.
    """),
    "across_clauses_nh": lines("""
        I *hate* the new timetable, and so do {g} from the second floor.
        The weather was *disgusting*, but the party with {g} was lovely.
        {g} help me carry this *stupid* sofa up the stairs.
        What *rubbish*, this phone; luckily {g} at the desk could fix it.
        I *despise* the war that {g} had to flee from.
        *Kill* the engine, {g} are crossing the road!
        This *filthy* kitchen was cleaned by {g} in an hour.
        {g} and I both *loathe* getting up early.
        The landlord is a *pig* to {g}, and they are right to sue him.
    """),
    "report_nh": lines("""
        A court sentenced the man who had *attacked|attack* {g} at the station.
        In the last century laws *barred|bar* {g} from many schools.
        {g} were *threatened|threaten* by masked men last night, the police say.
        The exhibition tells how {g} were *persecuted|persecute* under the old regime.
        Three {g} were *injured|injure* when somebody threw stones.
        The study counts how often {g} are *insulted|insult* online.
        {s} was *murdered|murder* here in 1988; a plaque remembers it.
        The report describes how *hatred* of {g} is spread by a few accounts.
        Witnesses said that {g} had been *beaten|beat* by the guards.
    """),
}

WITHOUT_GROUP = {
    "person_nh": lines("""
        You are such a *nuisance*, Martin.
        My ex is the most *disgusting* man alive.
        Get lost, you *rotten* liar!
        I *hate* that woman from the tax office, she lost my file.
        Your cousin is a *rat* and you know it.
        Nobody in this house can *stand* you.
        If I ever see Philip again I'll *punch* him.
        The goalkeeper ought to be *locked up|lock up* for that mistake.
        My neighbour is *vermin*, he reads my letters.
        You're the *dumbest|dumb* person that I have ever talked to.
        I *hate* you so much that I could scream!
        That waiter was a *slimy* little creep.
        Vanessa, you have the manners of a *hyena*.
        May you *choke* on your lies, Robert.
        He deserves *no mercy* after what he did to his dog.
        I *loathe* my stepfather.
        What is *wrong* with you, moron?
        You will never *amount* to anything, Felix.
        Our boss should be *thrown out|throw out* of the building.
        I wish that this singer would *shut up* for good.
        Are you *brain-dead*, or do you only drive like it?
        I'm going to *kill* my brother when he gets home, he ate my cake.
        Frankly, Gina is the *lowest* person I know.
        You *worthless* cheat, give me back my bike!
    """),
    "thing_nh": lines("""
        I *hate* Sundays in November.
        These shoes are *garbage*.
        Somebody ought to *burn* this awful carpet.
        Cold coffee is *disgusting*.
        Ban leaf blowers, they are a *plague*.
        My old car deserves to *die*.
        *Exterminate* the moths in my wardrobe, please.
        The dentist's drill fills me with *hatred*.
        This app is the *scum* of the app store.
        Crows are *filthy* thieves.
        The last chapter was *stupid* beyond belief.
        I *loathe* olives.
        Mud, mud everywhere, I'm *sick* of it.
        Group projects should be *illegal*.
        Fruit flies *breed* like mad in this heat, kill them all!
        Opera has *no value* for me.
        What a *revolting* shade of green.
        I want to *smash* this alarm with a hammer.
        The stadium is an *ugly* waste of concrete.
        *Destroy* the boxes when you have emptied them.
        Poison ivy should be *wiped out|wipe out*.
        How can anyone *stand* the taste of liquorice?
        That law is an *idiotic* mess.
        I can't *bear* the sound of chalk.
    """),
    "other_group_nh": lines("""
        I *hate* ticket inspectors.
        Traffic wardens are *vermin*.
        All weathermen are *liars|liar*.
        *Lock up* the bankers who caused this.
        Paparazzi are *bloodsuckers|bloodsucker*.
        Pickpockets ought to be *chased|chase* out of the city.
        People who park on bike lanes *disgust* me.
        Burglars are *scum* and deserve prison.
        Nobody *needs|need* life coaches.
        Rugby fans are *animals|animal* after a few beers.
        I *despise* film critics.
        Why are estate agents always so *greedy*?
        Torturers are *monsters|monster*.
        Hunters should be *banned|ban* from this forest.
        We have to *fight* the drug lords with all we have.
        Day traders *contribute* nothing to the world.
        You can't *trust* used-car salesmen.
        Ministers are a bunch of *cowards|coward*.
        Fascists *spread* like a disease and must be stopped.
        I would never *shake hands* with a slave trader.
        Bullies are *worthless*.
        Pop stars are *stupid* and overpaid.
        Down with the *rotten* oligarchs!
        Spam farms and their owners can go to *hell*.
    """),
    "profanity_nh": lines("""
        *Fuck*, that was a close call!
        This cake is *fucking* delicious.
        Who the *hell* parked in front of the garage?
        *Shit*, the milk has gone off.
        It's *damn* cold in this attic.
        I *bloody* did it, I passed!
        What the *fuck* is this queue about?
        My *shitty* umbrella broke again.
        You lucky *bastard*, two tickets!
        *Goddamn* it, I left the stove on.
        That film scared the *shit* out of me.
        I'm so *fucking* happy for you!
        Oh *crap*, wrong number.
        Work your *ass* off and it'll pay out.
        Don't *fuck* this up, it's the final.
        The *damn* cat sat on my keyboard.
        Holy *fuck*, look at those stars!
        We laughed our *asses|ass* off all evening.
        Why is the *bloody* lift broken?
        That's a *hell* of a goal.
        No *shit*, Sherlock.
        He can't drive for *shit*.
    """),
}

MISSPELT = {
    "spell_swap_h": ("hate_plain_h", "contempt_h", "exclusion_h"),
    "spell_drop_h": ("dehumanise_h", "opinion_h", "threat_call_h"),
    "spell_joined_h": ("hate_plain_h", "denied_worth_h", "profanity_h"),
    "spell_spaced_h": ("contempt_h", "exclusion_h", "threat_own_h"),
    "spell_leet_h": ("hate_plain_h", "dehumanise_h", "member_directed_h"),
    "spell_nh": ("negated_nh", "neutral_nh", "positive_nh"),
}
"""Functionalities whose cases are those of others with the marked word and the group misspelt."""
