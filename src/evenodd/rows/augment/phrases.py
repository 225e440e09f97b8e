"""The words that the counterexamples are made of: groups in many surface forms, and phrases hostile, kind and neutral.

A hostile phrase stands with protected groups (hate), and with persons, things and other groups of people (no hate by
this project's definition); a comment above a slot shows the form in which its phrases stand.
"""

from __future__ import annotations


def phrases(block: str) -> tuple[str, ...]:
    """The phrases of a block, divided by `|` and line ends."""
    return tuple(part.strip() for part in block.replace("\n", "|").split("|") if part.strip())


# plural forms, and singular ones with their article
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "women": (
        phrases("women | women | females | girls | young women | working women | mothers | single women | wives"),
        phrases("a woman | a woman | a girl | a female | a single mother"),
    ),
    "trans people": (
        phrases("""
            trans people | trans people | trans women | trans men | transgender people | transsexuals | trans kids |
            trans folks
        """),
        phrases("a trans person | a trans woman | a trans man | a transgender person | a transsexual"),
    ),
    "gay people": (
        phrases("""
            gay people | gay people | gays | gay men | lesbians | homosexuals | gay couples | queer people | bisexuals
        """),
        phrases("a gay person | a gay man | a lesbian | a homosexual | a gay guy | a bisexual"),
    ),
    "black people": (
        phrases("""
            black people | Black people | blacks | Black men | black folks | Black women | African Americans |
            Africans | black kids
        """),
        phrases("a black person | a Black man | a Black woman | an African | a black guy | an African American"),
    ),
    "disabled people": (
        phrases("""
            disabled people | disabled people | people with disabilities | the disabled | wheelchair users |
            deaf people | blind people | autistic people | people with Down syndrome | mentally ill people
        """),
        phrases("""
            a disabled person | a wheelchair user | a blind person | a deaf man | an autistic person |
            a person with a disability
        """),
    ),
    "Muslims": (
        phrases("""
            Muslims | Muslims | Muslim people | Muslim men | Muslim women | followers of Islam | Muslim families |
            muslims
        """),
        phrases("a Muslim | a Muslim | a Muslim man | a Muslim woman | a follower of Islam"),
    ),
    "immigrants": (
        phrases("""
            immigrants | immigrants | migrants | foreigners | immigrant families | newcomers from abroad |
            people born abroad
        """),
        phrases("an immigrant | an immigrant | a migrant | a foreigner | a migrant worker"),
    ),
    "refugees": (
        phrases("refugees | asylum seekers | Syrian refugees | refugee families"),
        phrases("a refugee | an asylum seeker"),
    ),
    "Jewish people": (
        phrases("Jewish people | Jews | Jews | the Jews | Jewish families | Israelis"),
        phrases("a Jew | a Jewish person | a Jewish man | a Jewish woman"),
    ),
    "Asians": (
        phrases("Asians | Asian people | Asian people | Chinese people | Indians | Pakistanis | Koreans | the Chinese"),
        phrases("an Asian | an Asian person | a Chinese person | an Indian | an Asian man | a Pakistani"),
    ),
    "Latinos": (
        phrases("Latinos | Mexicans | Hispanics | Puerto Ricans | Latin Americans"),
        phrases("a Latino | a Mexican | a Hispanic person"),
    ),
    "Arabs": (
        phrases("Arabs | Arab people | Turks | Moroccans"),
        phrases("an Arab | a Turk | a Moroccan"),
    ),
    "Roma": (
        phrases("Roma | Roma people | Sinti and Roma | Travellers"),
        phrases("a Roma woman | a Roma person"),
    ),
    "Christians": (
        phrases("Christians | Catholics | Hindus | Sikhs | Buddhists"),
        phrases("a Christian | a Catholic | a Hindu | a Sikh"),
    ),
    "old people": (
        phrases("old people | the elderly | pensioners | elderly people"),
        phrases("an old person | an elderly man | a pensioner"),
    ),
    "men": (
        phrases("men | white people | white men | whites"),
        phrases("a white man | a white person"),
    ),
    "indigenous people": (
        phrases("Native Americans | Aboriginal people | indigenous people"),
        phrases("a Native American | an Aboriginal woman"),
    ),
}

GROUP_WEIGHTS = {
    "women": 9,
    "trans people": 9,
    "gay people": 9,
    "black people": 9,
    "disabled people": 9,
    "Muslims": 9,
    "immigrants": 9,
    "refugees": 3,
    "Jewish people": 8,
    "Asians": 6,
    "Latinos": 3,
    "Arabs": 2,
    "Roma": 2,
    "Christians": 2,
    "old people": 2,
    "men": 2,
    "indigenous people": 1,
}

SLOTS: dict[str, tuple[str, ...]] = {
    # "I ... {G}"
    "hate": phrases("""
        hate | hate | hate | despise | loathe | detest | can't stand | cannot bear | abhor | resent | can't tolerate
        | am sick of | am fed up with | am disgusted by | am repulsed by | have no respect for
        | feel nothing but contempt for | have zero sympathy for | look down on | dislike | have always hated
        | have learned to hate | want nothing to do with | wish nothing good on | can't abide | spit on
        | am so done with | have had it with | feel sick around | don't trust | refuse to live next to
        | would never shake hands with
    """),
    "hates": phrases("""
        hates | hates | despises | loathes | can't stand | detests | looks down on | spits on | is disgusted by
        | mocks
    """),
    "hating": phrases("""
        hating | despising | insulting | mocking | loathing | attacking | threatening | dehumanising | bullying
        | harassing
    """),
    "feeling": phrases("""
        sick | want to throw up | furious | cringe | want to scream | feel nothing but disgust | see red | angry
        | shudder | want to hit something | lose my faith in mankind | sick to my stomach
    """),
    "contempt": phrases("contempt | hatred | disgust | scorn | rage | pure hate | loathing | revulsion | spite"),
    "thing_of": phrases("""
        faces | voices | smell | food | children | music | clothes | jokes | parades | holidays | whining | culture |
        laughter | language
    """),
    "int": phrases("""
        really | truly | honestly | absolutely | just | simply | fucking | so fucking | still | deeply | seriously
        | openly | secretly
    """),
    # "{G} are ..."
    "adj": phrases("""
        stupid | lazy | filthy | dirty | disgusting | worthless | useless | evil | inferior | repulsive | pathetic
        | ugly | vile | revolting | dishonest | violent | dangerous | primitive | backward | greedy | feeble | rotten
        | corrupt | brainless | gross | nasty | deranged | cowardly | dumb | idiotic | ignorant | uncivilised
        | perverted | degenerate | treacherous | two-faced | crooked | hideous | sickening | abnormal | unnatural
        | immoral | contemptible | incompetent | irrational | weak | deceitful | sly | barbaric | savage | toxic
        | appalling | wicked | sinful | freakish | creepy | unclean | smelly | subnormal | soulless | heartless
        | arrogant
    """),
    "verybad": phrases("""
        so | very | utterly | completely | totally | unbelievably | fucking | just | all | born | always | as a rule
    """),
    # "{G} are ..." (plural or mass)
    "dehum": phrases("""
        vermin | parasites | cockroaches | rats | pigs | animals | beasts | leeches | maggots | lice | a disease
        | a cancer | a plague | a virus | garbage | trash | filth | scum | sewage | waste | a mistake of nature
        | subhuman | savages | pests | weeds | dogs | snakes | insects | monsters | demons | dirt | an infection
        | an infestation | freaks of nature | human rubbish | less than human | not fully human | a lower species
        | rodents | bloodsuckers | ticks | mould | rot | poison | toxic waste | swine | brutes | creatures | livestock
        | slime | ants | the scum of the earth | a stain on humanity | a swarm | a horde | termites | worms | hyenas
        | a burden
    """),
    # "{name} is a ..."
    "animal": phrases("""
        parasite | cockroach | rat | pig | leech | maggot | snake | worm | piece of garbage | piece of trash
        | waste of oxygen | clown | weasel | toad | liar | moron | idiot | coward | loser | thief | monster | disgrace
        | joke | fool | brute | rodent | bloodsucker | freak | creep | scumbag
    """),
    # "they ..." and "{G} ...", without "are"
    "neg": phrases("""
        steal everything that isn't nailed down | bring crime into every town | spread disease
        | live off other people's money | ruin every place that they touch | never work a day in their lives
        | lie as easily as they breathe | have no morals at all | smell like a sewer | have the brains of a brick
        | cannot be civilised | want to destroy our way of life | corrupt our children | belong in a cage
        | belong in the gutter | belong in prison | don't belong here | don't belong in our schools | are after our jobs
        | are to blame for everything that went wrong | should not have the vote | bring nothing but misery
        | contribute nothing | will stab you in the back | breed like rabbits | drag the whole country down
        | make me want to throw up | make my skin crawl | turn my stomach | disgust me to the core
        | cause every problem that we have | are behind every crime in this city | can't think straight
        | can't control themselves | only understand force | are not like normal people | don't feel pain as we do
        | have no place in a decent society | deserve every beating that they get | deserve to suffer
        | deserve to be treated like dirt | deserve nothing | should know their place | are good for one thing only
        | have smaller brains | don't have a soul | pollute our blood | take and take and never give back
        | are plotting against us | run the banks and the news | hate this country | want to replace us
        | are a threat to our children | are a danger to everybody | are an insult to God | are a drain on the state
        | are a waste of tax money | get everything for free | play the victim all the time | whine about rights all day
        | spoil every workplace | can't do anything right | should be ashamed to exist | should never have been born
        | should stay in the kitchen where they belong | were made to serve us | don't count as people
        | will never be one of us | will always be second class | are worth less than my dog | are lower than animals
        | are the root of all evil | are what is wrong with the world | give this city a bad name
        | bring the standard down wherever they work | act like wild beasts | cheat on every form that they fill in
        | are born criminals | are not fit to raise children | should be kept away from kids
        | should be grateful that we let them live | have ruined this country | need a good beating
        | make every street unsafe | are sick in the head | are unfit to vote | are good for nothing | are beneath us
        | are a disgrace | are an embarrassment | are a bunch of liars | are less intelligent than we are | are below us
        | are natural criminals | poison the minds of the young | deserve to rot | can't be trusted an inch
        | have no right to be here
    """),
    # base form, "{act} {G}"
    "act": phrases("""
        kill | shoot | hurt | beat up | attack | stab | hunt down | get rid of | wipe out | run over | burn | punish
        | drive out | smash | put down | eliminate | eradicate | kick out | throw stones at
        | set fire to | hang | murder | crush | spit at | slap | lock up | starve | torture
        | whip | bomb | exterminate | destroy | finish off | round up | take a bat to | teach a lesson to
    """),
    "acting": phrases("""
        killing | shooting | hurting | beating up | attacking | stabbing | hunting down | driving out | burning
        | wiping out | deporting | hanging
    """),
    # "{G} should be ..."
    "fate": phrases("""
        deported | locked up | banned | wiped out | sterilised | removed | exterminated | segregated | put in camps
        | put down | kicked out | thrown out | sent back | shot | hanged | beaten | burned | eliminated
        | eradicated | rounded up | shipped off | enslaved | caged | punished | stripped of their rights
        | kept apart from us | refused at the door | barred from schools | killed | executed | arrested on sight
        | denied treatment | cut off from benefits | fired | chased away | forbidden to marry
        | forbidden to have children | treated like animals | whipped | spat on | silenced | put back in their place
        | forced to leave | purged | fenced off | stopped by any means
    """),
    # what is denied or granted: "{G} deserve ..."
    "right": phrases("""
        rights | equal rights | respect | the vote | a voice | protection | our help | a place at the table | love
        | dignity | human rights | the same pay | an education | medical care | to be happy | to live among us
        | to be treated as equals | to live in peace | to marry | to raise children | to be heard | to be safe | freedom
        | our sympathy | a decent life | housing | kindness | a fair trial | jobs | citizenship | mercy
    """),
    "posadj": phrases("""
        kind | brave | wonderful | amazing | clever | hard-working | honest | beautiful | generous | strong | funny
        | great | lovely | smart | talented | friendly | warm | brilliant | valuable | decent | gentle | gifted | lively
        | helpful | polite | creative | inspiring | fantastic | loyal | trustworthy | normal | awesome | cool
    """),
    "love": phrases("""
        love | respect | admire | adore | like | support | stand with | am proud of | appreciate | cherish
        | enjoy working with | look up to | care about | feel at home with | am grateful to | trust | am happy for
        | celebrate | root for | learn a lot from | stand up for | welcome
    """),
    "pos": phrases("""
        deserve the same rights as all of us | deserve respect | enrich our town | make the best neighbours
        | should be proud of who they are | have made this country richer | should be able to live without fear
        | can do whatever they set their minds to | are welcome in my home | work harder than most
        | should get equal pay | have so much to give | make this team better | bring joy to the neighbourhood
        | should be free to love whom they want | have helped me more than once | raise wonderful children
        | inspire me every day | are people like you and me | must be protected from violence | deserve better than this
        | belong here as much as I do | should be heard in parliament | are part of our family
        | have fought hard for their freedom | make great friends | are a big part of our history
        | need our support right now | should have a say in this | are just as capable as everyone else
        | have the right to vote like everybody | are an important part of society | should never be made to feel small
        | can be whatever they want to be | have taught me so much | are our equals | are welcome here
        | are a blessing | are a gift to this country | are full of life | are good people | are simply the best
    """),
    "neu": phrases("""
        live in our street | met the minister on Tuesday | were counted in the census | took part in the survey
        | have a club near the station | wrote a letter to the council | attend the evening course
        | run the cafe on the corner | moved here in the nineties | came to the meeting
        | are interviewed in the second part of the film | make up a third of the staff | often work night shifts
        | were asked about the new law | rent the flat upstairs | vote in local elections
        | have lived in this valley for ages | read the same newspapers | use the north entrance
        | go to the clinic in the old town | celebrated until late last night | have their own page in the magazine
        | travel by train mostly | appear in chapter six | waited in line for tickets | are mentioned in the report
        | sat in the front row | joined the union last year | answered the questionnaire
        | are older on average than the rest | play chess in the park | earn less on average | work in my office
        | set up a choir | marched through the centre on Saturday | were on the radio this morning
        | have a long history in this region | like coffee as much as anyone | have different opinions on this
        | shop here on Fridays | take the bus to school
    """),
    "O": phrases("""
        bankers | landlords | tourists | politicians | journalists | lawyers | hipsters | vegans | smokers | cyclists
        | lobbyists | scammers | gamers | joggers | football fans | referees | car dealers | tax collectors
        | influencers | managers | thieves | murderers | rapists | terrorists | drug dealers | bullies | liars
        | capitalists | communists | conservatives | liberals | billionaires | celebrities | teachers | dentists
        | police officers | drunk drivers | loud neighbours | spoilers | bots | telemarketers | recruiters | racists
        | Nazis | fascists | sexists | homophobes | bigots | people who litter | people who chew loudly | students
        | economists | artists | critics | accountants | tech bros | rich kids | hackers | burglars | kidnappers
        | warlords | dictators | corrupt judges | poachers | trolls | spammers | internet trolls | animal abusers
        | soldiers | plumbers | bakers | waiters | programmers | engineers | philosophers | Arsenal supporters | Tories
        | Democrats | Republicans
    """),
    "thing": phrases("""
        this printer | my phone | the new update | Monday mornings | this weather | that song | broccoli | traffic
        | this stupid game | the coffee here | his last film | cilantro | homework | the bus timetable | this laptop
        | my alarm clock | that advert | winter | this sofa | the food in the canteen | your haircut | the tax form
        | rainy weather | the sequel | this job | paperwork | mayonnaise | the traffic light on Main Street | cold soup
        | spam mail | this keyboard | the ending of that book | plastic packaging | sand in my shoes | this project
        | the smell of paint | their new album | the wallpaper | the last season of that show | that pizza | algebra
        | this chair | the flu | malaria | the queue at the bank
    """),
    "things": phrases("""
        mosquitoes | wasps | cockroaches | rats | printers | Mondays | potholes | taxes | meetings | weeds
        | traffic jams | adverts | spiders | exams | pop-ups | hangovers | slow computers | leaf blowers | pigeons
        | passwords | bank fees | wet socks | stairs | alarm clocks | speed cameras | viruses | moths | ticks
        | mobile games | e-scooters | plastic bags | zombies | reality shows | sequels | umbrellas
    """),
    "name": phrases("""
        Daniel | Laura | my ex | my boss | the guy in seat 12 | Tom | Mrs Hill | your brother | that referee | Peter
        | my landlord | Susan | the dentist | Jake | our coach | Emma | this cashier | Steve | my sister-in-law | Mark
        | the mayor | Nina | Oliver | that singer | Chris | Anna | Bob
    """),
    "open": phrases("""
        honestly, | look, | I'm serious, | listen, | let me be clear: | say what you like, | no offence but
        | sorry not sorry, | fact: | the truth is, | wake up people, | I'll say it again: | between you and me,
        | once and for all, | as a father I say | unpopular opinion: | well, | oh please, | everyone knows it:
        | my grandfather was right, | trust me, | I don't care who reads this, | ok so | hear me out, | lol | ugh,
        | yeah,
    """),
    "tail": phrases("""
        with all my heart | more than anything | and I always will | and I'm not ashamed of it | and so should you
        | and that's that | every single one of them | no matter what anyone says | so much it hurts
        | from the bottom of my soul | these days | and everyone in my family does | with a passion
        | and I can't hide it any more | wherever they come from | full stop | to be honest | and nobody can stop me
        | like nothing else on earth
    """),
    "swear": phrases("fucking | damn | goddamn | bloody | fuckin | shitty | motherfucking | freaking | stinking"),
    "swears": phrases("""
        fuck | damn it | shit | holy shit | bloody hell | for fuck's sake | what the fuck | goddammit | crap
        | son of a bitch
    """),
    "opinion": phrases("""
        I think | I believe | in my opinion | in my view | I am convinced that | if you ask me | I'd say
        | my take is that | the way I see it | I feel that | I'm of the opinion that | personally I find that
        | call me old-fashioned but | I have come to the conclusion that | as far as I'm concerned
        | it's my firm belief that | I maintain that | to my mind | I can't help thinking that | I suspect that
        | deep down I know that
    """),
    "quoter": phrases("""
        he said | she yelled | the man on the bus told us | some idiot wrote | my uncle said at dinner
        | the leaflet says | a stranger screamed | one comment reads | the graffiti says | he actually tweeted
        | the speaker claimed | my teacher once said | that party's poster says | some troll posted | the old song goes
        | a customer told me | the email read | a lawmaker said on air | your post says
    """),
    "reply": phrases("""
        this is not okay | that is so wrong | what a horrible thing to say | please report it | I was shocked
        | nobody should talk like that | that's hate speech | this kind of talk must stop
        | I will not stay silent about it | he should apologise | such words hurt people
        | and people wonder why they are afraid | we have to speak up against that | I deleted it at once
        | shame on the writer | pure bigotry | and he was fired for it | that is racist nonsense
        | how can anybody be so cruel | this is exactly the hate that we are fighting | I told him to leave
        | it made me cry | do not share this | that is sexist and stupid | it is a lie | he got banned for that
        | unacceptable | we don't tolerate this here | not in my house
    """),
    "wrong": phrases("""
        is wrong | is disgusting | is never okay | is plain bigotry | is hateful | is cruel and false
        | gets you banned here | should shame you | helps nobody | is a lie | is unacceptable
        | is the oldest lie in the book | has to stop | is a crime in many countries | makes me sad | makes me furious
        | is ignorant | is vile | is not an opinion, it's hate | says more about you than about them | has consequences
        | is what fascists do | is beneath you
    """),
    "bigot": phrases("""
        is an idiot | is a coward | needs help | should be ashamed | is part of the problem
        | has learned nothing from history | is not my friend | can leave right now | will be blocked | is a bigot
        | is pathetic | makes me sick | has no place in this club | deserves to be called out | disgusts me | is scum
        | ought to grow up | is wrong | won't get my vote | should be fired | is full of hate
    """),
    # after "don't"
    "hatebase": phrases("""
        hate | hate | despise | loathe | detest | dislike | resent | look down on | mistrust | fear | avoid | mind
    """),
    "negbase": phrases("""
        steal | bring crime | spread disease | live off other people's money | ruin this town | lie more than others
        | want to destroy anything | corrupt our children | take our jobs | smell | hate this country
        | want to replace anybody | run the banks | deserve to suffer | deserve this | cause our problems
        | contribute less than we do | make streets unsafe | belong in a cage | drag the country down
        | deserve to be treated like dirt
    """),
    "lovebase": phrases("""
        love | respect | admire | support | stand with | appreciate | listen to | trust | celebrate | stand up for
        | welcome | learn from
    """),
    "neubase": phrases("""
        live in this street | play in your team | go to that church | vote in these elections | read this magazine
        | work in your office | like the new park | shop here | use this entrance | have a club in town
        | take part in the survey | speak at the event
    """),
    "wrong2": phrases("""
        are disgusting | are never okay | are hate speech | are bigotry | hurt people | get reported here | are cruel
        | must not stand | make me sad
    """),
    "loves": phrases("loves | loves | respects | admires | likes | trusts | supports | misses | wants | believes"),
    "posreason": phrases("""
        they are people like us | quite the contrary | I respect them | why would I | and neither should you
        | some of them are my friends | so stop it | I have worked with them for years | and I'm glad to say so
        | they {pos}
    """),
    "opinion2": phrases("""
        I think | in my opinion | if you ask me | I'd say | and I mean it | don't you agree?
        | as everybody should know
    """),
    "posadj2": phrases("a better place | brighter | more fun | richer | a kinder place"),
    # a first sentence, and what may follow it
    "intro": phrases("""
        there are many {G} in my street. | I have {G} for neighbours. | I met {G} on holiday.
        | I went to school with {G}. | my office is full of {G}. | last week I talked to some {G}.
        | I saw a programme about {G}. | you asked me about {G}. | let's talk about {G}.
        | have you ever worked with {G}? | do you know any {G}? | I read an article on {G} today.
        | a group of {G} got on the train. | {G} were at the party. | {G} {neu}. | some {G} {neu}.
        | I keep thinking about {G}. | there's a new family in our building, {G}. | our club has let in {G}.
        | {G} were on TV again. | so you are one of the {G}. | my cousin lives with {G}. | the mayor spoke about {G}.
        | I was at the doctor's, and there were {G}. | this bar is popular with {G}. | we got new colleagues, all {G}.
        | I know a lot of {G}. | here come the {G}. | the flat below us belongs to {G}. | {G} wrote to me.
    """),
    "badnext": phrases("""
        they are {adj} | they are {verybad} {adj} | they are {dehum} | they {neg} | they should be {fate}
        | they all should be {fate} | they don't deserve {right} | they deserve to be {fate} | I {hate} them
        | I {hate} them {tail} | I {int} {hate} them | I can't stand that lot | I want to {act} them
        | I am going to {act} them | somebody should {act} them | we have to {act} them | let's {act} them
        | such {dehum} must not be let in | all of them are {adj} | every one of them is {adj}
        | what {adj} {dehum} they are | {adj} {dehum}, all of them | I hope they get {fate} | I hope they die
        | I wish they were dead | nobody wants them here | how I {hate} these people | people like that are {dehum}
        | people like these should be {fate} | that kind {neg} | they will never be {posadj}
        | they have no {right}, and rightly so | why are they so {adj}? | {opinion} they are {dehum}
        | {opinion} they {neg} | {swears}, they are {adj} | those {swear} {dehum} | they make me sick | they disgust me
    """),
    "badhim": phrases("""
        people like that should be {fate} | that's why I {hate} them all | that lot is {adj} | they all {neg}
        | like the rest of them a {animal} | nothing but a {animal} | I don't talk to {dehum}
        | that kind should be {fate} | I {hate} that kind | they are all {adj} | we don't want that kind here
        | that says it all, they {neg}
    """),
    "goodnext": phrases("""
        they are {posadj} | they are so {posadj} | they {pos} | I {love} them | I {love} them very much
        | they deserve {right} | they should have {right} | what {posadj} people | I'd like to see them more often
        | they have always been {posadj} to me | I hope they stay | I wish them all the best
        | I would do anything for them | all of them are {posadj} | people like that {pos} | let's {lovebase} them
        | they are not {adj}, they are {posadj} | they never {negpast} anybody | I don't {hatebase} them at all
        | why would anyone {hatebase} them? | whoever {hates} them {bigot}
    """),
    "nextneutral": phrases("""
        they {neu} | they asked about the rent | they come from all over the place | I hate {thing}, so I left early
        | we talked about {thing} | I forgot their names | what do they think? | I haven't decided yet
        | they wanted to know the time | we had {thing} for a topic, I hate {thing} | there were about twenty of them
        | they left at nine
    """),
    "negpast": phrases("""
        hurt | bothered | insulted | cheated | harmed
    """),
    "neu1": phrases("""
        works at the post office | comes from the north | reads the paper every day | won a prize for cooking
        | has two sisters | takes the late bus | wrote to the council | lives in this street
        | was interviewed on the radio | studies law | runs a small shop | plays the piano | called me this morning
        | has lived here for ten years
    """),
    "neg1": phrases("""
        steals | lies | is a criminal | deserves to be {fate} | should be {fate} | belongs in a cage
        | wants to destroy us | is a danger to our children | disgusts me | makes me sick | is worth nothing
        | has got to go | must know their place
    """),
    "right2": phrases("""
        live | love whom they want | marry | vote | work | speak | be safe | be happy | be left alone | say no
        | be treated fairly
    """),
}  # fmt: skip
