"""The wording of the embedded question-answering corpus: what its two splits say, and which names occur in them.

A wording is text with slots: ``{S}`` the person (a name, or I), ``{s}`` the same person again (he, she, I), ``{o}`` the
owner (Anna's, my), ``{v}`` the value that can be asked for, ``{item}`` what is counted; ``<lives|live>`` holds the form of
the third and of the first person. The splits share the words of English, but no sentence, question, name, city or job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

Lines = Tuple[str, ...]


def lines(text: str) -> Lines:
    """Return the entries of a block, separated by line ends or " / "."""
    return tuple(entry.strip() for line in text.splitlines() for entry in line.split(" / ") if entry.strip())


@dataclass(frozen=True)
class Wording:
    """Everything that one split may say."""

    phrases: Dict[str, Lines]
    """Kind of fact -> what follows the person."""
    questions: Dict[str, Lines]
    """Kind of fact -> questions whose answer is the value."""
    who: Dict[str, Lines]
    """Kind of fact -> questions whose answer is the person."""
    frames: Lines
    """Sentences with places ``{0}`` and ``{1}`` for phrases about one person."""
    introductions: Lines
    """Sentences in which the speaker says a name."""
    name_questions: Lines
    fillers: Lines
    """Sentences without a fact, with other cities, names and numbers."""


TRAIN = Wording(
    phrases={
        "home": lines("""
            <lives|live> in {v} now / <lives|live> in the city of {v} / <lives|live> near the river in {v}
            still <lives|live> in {v} / now <lives|live> in {v} / <lives|live> with a friend in {v}
            <has|have> a house in {v} / <has|have> a small flat in {v} / <is|am> at home in {v}
            <is|am> living in {v} / <has|have> lived in {v} for ten years / <has|have> lived for many years in {v}
            <has|have> a home in {v} / <lives|live> in {v} as well
        """),
        "work": lines("""
            <works|work> in {v} now / <works|work> in the city of {v} / now <works|work> in {v}
            <works|work> for a company in {v} / <has|have> a job in {v} / <has|have> an office in {v}
            <is|am> working in {v} / <goes|go> to work in {v} / still <works|work> in {v}
            <works|work> for a big company in {v} / <has|have> a small company in {v}
            <has|have> found a new job in {v}
        """),
        "birth": lines("""
            was born in the city of {v} / was born in {v} long ago / grew up in {v} / <comes|come> from {v}
            was raised in {v} / <is|am> from the city of {v} / was also born in {v} / <is|am> originally from {v}
            <is|am> from {v} as well / was raised near {v} / was born near {v}
        """),
        "job": lines("""
            <works|work> as a {v} now / now <works|work> as a {v} / <is|am> a {v} by profession
            <is|am> working as a {v} / <has|have> a new job as a {v} / <is|am> now a {v}
            <has|have> worked as a {v} for ten years / became a {v} last year / <is|am> also a {v}
            <has|have> found a job as a {v}
        """),
        "age": lines("""
            <is|am> now {v} years old / <is|am> already {v} years old / turned {v} last year
            <is|am> {v} years of age / <is|am> only {v} years old / <is|am> now {v} / <is|am> about {v}
            <is|am> {v} now
        """),
        "count": lines("""
            <has|have> {v} old {item} / now <has|have> {v} {item} / <owns|own> {v} {item} / <keeps|keep> {v} {item}
            <has|have> got {v} {item} / bought {v} {item} last year / <has|have> {v} {item} at home
            <owns|own> {v} old {item} now / <keeps|keep> {v} old {item}
        """),
    },
    questions={
        "home": lines("""
            Where <does|do> {S} live now? / In which city <does|do> {S} live? / Where <is|am> {S} living?
            Which city <does|do> {S} live in? / Where is {o} house? / Tell me where {S} <lives|live> now.
            Where exactly <does|do> {S} live? / What city <is|am> {S} living in? / In what city <does|do> {S} live?
            Tell me in which city {S} <lives|live>. / What is the city where {S} <lives|live>?
        """),
        "work": lines("""
            Where <does|do> {S} work now? / In which city <does|do> {S} work? / Where <is|am> {S} working?
            Which city <does|do> {S} work in? / Where is {o} office? / Tell me where {S} <works|work> now.
            Where exactly <does|do> {S} work? / What city <is|am> {S} working in? / In what city <does|do> {S} work?
            Tell me in which city {S} <works|work>. / What is the city where {S} <works|work>?
        """),
        "birth": lines("""
            In which city was {S} born? / Where was {S} born and raised? / Where <does|do> {S} come from now?
            Which city <is|am> {S} from? / Where did {S} grow up? / Tell me where {S} was born.
            Where exactly was {S} born? / In what city was {S} born? / Tell me where {S} <comes|come> from.
            Where <is|am> {S} originally from?
        """),
        "job": lines("""
            What job <does|do> {S} have now? / What is {o} profession? / What <does|do> {S} work as?
            What is {o} new job? / Which job <does|do> {S} have? / As what <does|do> {S} work?
            Tell me what job {S} <has|have>. / Tell me what {S} <works|work> as now. / What is {o} job now?
            What job has {S} got?
        """),
        "age": lines("""
            How old <is|am> {S} now? / What is {o} age now? / How many years old <is|am> {S}?
            Tell me how old {S} <is|am>. / What age <is|am> {S}? / How old exactly <is|am> {S}?
        """),
        "count": lines("""
            How many {item} <does|do> {S} have now? / How many {item} <does|do> {S} own?
            How many {item} <has|have> {S} got? / Tell me how many {item} {S} <has|have>.
            How many {item} <does|do> {S} keep?
        """),
    },
    who={
        "home": lines("""
            Who lives in {v} now? / Who lives in the city of {v}? / Who has a house in {v}?
            Tell me who lives in {v}.
        """),
        "work": lines("""
            Who works in {v} now? / Who works in the city of {v}? / Who has a job in {v}?
            Tell me who works in {v}.
        """),
        "birth": lines("Who was born in the city of {v}? / Who comes from {v}? / Tell me who was born in {v}."),
        "job": lines("Who works as a {v} now? / Who is a {v} by profession? / Tell me who works as a {v}."),
    },
    frames=lines("""
        {S} {0}. / {S} {0} and {1}. / {S} {0}, and {s} {1}. / {S} {0}. As you know, {s} {1}.
        I think {S} {0} and {1}. / Everybody knows that {S} {0}. / As we heard, {S} {0} but {1}.
        {S} {0}. {s} also {1}. / We know that {S} {0} and {1}. / You know that {S} {0} and {1}.
        People say that {S} {0}. / Some people think {S} {0}. / As you know, {S} {0}. / {S} {0} and then also {1}.
    """),
    introductions=lines("""
        I am {N}. / My name is {N}. I {0}. / I am {N} and I {0}. / Hello, I am {N}. I {0} and {1}.
        My name is {N}, I {0}. / Hello, my name is {N}, and I {0}. / I am called {N} and I {0}.
        {N} is my name and I {0}. / I am {N}, I {0} and I {1}. / My first name is {N} and I {0}.
        Hello, people call me {N}. I {0}, but I {1}. / People call me {N}, I {0} and I {1}.
        Hello, I am called {N} and I {0}.
    """),
    name_questions=lines(
        "What is my first name? / What is my name? / What am I called? / Who am I? / Tell me what my name is. / Tell me my first name."
    ),
    fillers=lines("""
        The weather was fine. / The train to {city} was late again. / {name} called this morning.
        It was a long day. / A letter from {city} came last week. / We met {name} at the market.
        The bus number {number} was late. / It cost {number} euros. / The road to {city} is closed.
        {name} likes coffee.
    """),
)

DEV = Wording(
    phrases={
        "home": lines("<lives|live> in {v} / <has|have> a flat in {v} / <has|have> lived in {v} for many years"),
        "work": lines("<works|work> in {v} / <works|work> for a small company in {v} / <has|have> a new job in {v}"),
        "birth": lines("was born in {v} / <is|am> from {v} / was born and raised in {v}"),
        "job": lines("<works|work> as a {v} / <is|am> a {v} / <has|have> a job as a {v}"),
        "age": lines("<is|am> {v} years old / <is|am> about {v} years old / <is|am> {v}"),
        "count": lines("<has|have> {v} {item} / <owns|own> {v} old {item} / <keeps|keep> {v} {item} at home"),
    },
    questions={
        "home": lines("Where <does|do> {S} live? / What city <does|do> {S} live in? / Tell me where {S} <lives|live>."),
        "work": lines("Where <does|do> {S} work? / What city <does|do> {S} work in? / Tell me where {S} <works|work>."),
        "birth": lines("Where was {S} born? / Where <is|am> {S} from? / Where <does|do> {S} come from?"),
        "job": lines("What job <does|do> {S} have? / What is {o} job? / Tell me what {S} <works|work> as."),
        "age": lines("How old <is|am> {S}? / What is {o} age?"),
        "count": lines("How many {item} <does|do> {S} have? / {S} <has|have> how many {item}?"),
    },
    who={
        "home": lines("Who lives in {v}?"),
        "work": lines("Who works in {v}?"),
        "birth": lines("Who was born in {v}? / Who is from {v}?"),
        "job": lines("Who works as a {v}?"),
    },
    frames=lines("""
        {S} {0} and also {1}. / {S} {0}, but {s} {1}. / You know that {S} {0}. / As you know, {S} {0}, and {s} {1}.
        People think that {S} {0} and {1}.
    """),
    introductions=lines("""
        My name is {N} and I {0}. / My name is {N} and I {0} and {1}. / Hello, I am called {N}, I {0}.
        People call me {N} and I {0}.
    """),
    name_questions=lines("Tell me my name. / Which name do I have?"),
    fillers=lines("""
        The day was fine. / The train from {city} was late. / {name} came this morning.
        The number of the house is {number}. / The road to {city} was long.
    """),
)

ITEMS: Lines = tuple(
    "apples balls birds books boxes cars cats chairs clocks coats coins cups dogs dolls flowers goats guitars hats horses keys "
    "lamps maps mirrors pens phones pictures plants rabbits radios rings shirts shoes spoons stamps tables tickets toys trees "
    "vases watches".split()
)
TRAIN_JOBS: Lines = tuple(
    "actor artist barber builder butcher captain cook dancer dentist director editor farmer florist guard hunter judge "
    "librarian manager mechanic miller musician painter poet porter priest printer reporter sailor singer soldier tailor "
    "teacher waiter weaver welder writer".split()
)
JOB_FIELDS: Lines = tuple(
    "art book bread car cheese film garden glass music night paper piano radio shoe sport street".split()
)
JOB_ROLES: Lines = tuple("collector dealer designer driver guide maker seller worker".split())
DEV_JOBS: Lines = lines("""
    nurse / doctor / baker / plumber / lawyer / pilot / gardener / carpenter / journalist / photographer / surgeon
    firefighter / bus driver / police officer / data analyst / taxi driver
""")
DEV_WOMEN: Lines = tuple(
    "Agnes Alice Amelia Angela Anna Beatrice Carmen Caroline Charlotte Clara Claudia Daniela Diana Elena Emily Emma Fatima "
    "Fiona Greta Hannah Heidi Helen Ingrid Irina Isabel Jennifer Jessica Johanna Julia Karin Laura Leila Lena Lucia Margaret "
    "Maria Martha Melanie Monika Nadia Natalie Nina Olga Olivia Patricia Paula Petra Rachel Rebecca Regina Sabine Sandra "
    "Sarah Silvia Sophie Susan Tanja Teresa Ursula Valentina Vanessa Victoria Yasmin Yvonne Zoe".split()
)
DEV_MEN: Lines = tuple(
    "Aaron Abdul Adam Albert Alexander Andreas Anthony Arthur Benjamin Boris Bruno Carlos Charles Christian Daniel David "
    "Dennis Dieter Edward Emil Enrique Erik Felix Florian Francesco Frank Frederick George Gerhard Giovanni Gustav Hans "
    "Heinrich Henry Hiroshi Hugo Ivan James Jan Javier Jens Johann John Jonathan Jorge Joseph Karl Kevin Klaus Konrad Lars "
    "Leonard Louis Ludwig Lukas Marcel Marco Martin Matthias Michael Miguel Mohammed Nicolas Oliver Omar Oscar Otto Pablo "
    "Patrick Paul Pedro Peter Philip Rafael Ralf Richard Robert Rudolf Samuel Sebastian Sergei Simon Stefan Thomas Tobias "
    "Tom Ulrich Victor Vincent Walter Werner William Wolfgang Yusuf".split()
)
DEV_CITIES: Lines = lines("""
    Amsterdam / Ankara / Antwerp / Athens / Auckland / Baghdad / Baltimore / Bangkok / Barcelona / Basel / Beijing
    Belgrade / Bergen / Berlin / Bilbao / Birmingham / Bogota / Bologna / Bonn / Bordeaux / Boston / Bremen
    Brisbane / Bristol / Brussels / Bucharest / Budapest / Cairo / Calgary / Caracas / Casablanca / Chicago
    Cologne / Copenhagen / Dallas / Damascus / Delhi / Denver / Detroit / Dortmund / Dresden / Dublin / Edinburgh
    Florence / Frankfurt / Geneva / Genoa / Glasgow / Graz / Hamburg / Hanoi / Hanover / Havana / Helsinki
    Hong Kong / Houston / Istanbul / Jakarta / Jerusalem / Karachi / Kiev / Kyoto / Lagos / Leeds / Leipzig / Lima
    Lisbon / Liverpool / London / Los Angeles / Lyon / Madrid / Manchester / Manila / Marseille / Melbourne
    Memphis / Miami / Milan / Montreal / Moscow / Munich / Nairobi / Naples / New York / Oslo / Oxford / Palermo
    Paris / Philadelphia / Porto / Prague / Quebec / Riga / Rome / Rotterdam / Salzburg / San Diego / Santiago
    Seattle / Seoul / Shanghai / Singapore / Sofia / Stockholm / Stuttgart / Sydney / Tallinn / Tehran / Tokyo
    Toronto / Toulouse / Tunis / Turin / Utrecht / Valencia / Vancouver / Venice / Vienna / Vilnius / Warsaw
    Washington / Zagreb / Zurich
""")

ONSETS: Lines = (
    *"b bl br c ch cl d dr f fl fr g gl gr h j k kl l m n p pl pr qu r s sch sh st str t th tr v w wh z".split(),
    "",
)
VOWELS: Lines = tuple("a a e e i i o o u au ea ee ei ia ie oa oo ou y".split())
CODAS: Lines = (
    *"b ck d f g k l ld ll lm m mp n nd ng nn nt p r rd rg rk rn rt s sch ss st t th tz x z".split(),
    "",
    "",
    "",
    "",
)
JOB_ENDINGS: Lines = tuple("er ist or man ian".split())
TOWN_ENDINGS: Lines = tuple(
    "berg burg by dam field ford furt ham haven holm land mouth port stadt stein ton town ville".split()
)
TOWN_BEGINNINGS: Lines = tuple("East Fort Great Lake Los New North Old Port Saint San South West".split())
COMMON_WORDS: Lines = tuple(
    (
        "able above ache acid after ahead aid aim air ale all almost among ant any apart april are area ark army around "
        "ass ate atom august aunt away axe aye baby back bad bag bail bald ball ban band bang bar bare bark barn base "
        "bass bat bath bead beak beam bean bear beard beast beat become bed bee beef been beer bees beet before beg "
        "behind being bell bend bent beside best bet better beyond bias bid bike bill bin bind bird bit bite black "
        "bland blast bleak bleed blend bless blind bliss blob block blond blood bloom blue blunt blur board boast boat "
        "bob body bold bond bone boo boom boon boost boot booth boss both bound box boy bra brand brass brat break "
        "breast breath breed brick brief bring broad brood brook broom broth buck bud bug bull bum bump bun burn bury "
        "bust busy buy bye cab cage cake calm camp can cannot cap card care cart case cast cat cave cell chart chat "
        "cheap cheat check cheek cheer chess chest chick chief child chill chin chip chop chord clad clamp clan class "
        "clay clean clear clerk click client cling clip cloak clock clot cloth cloud club clue coal coast coat cock cod "
        "code cog coin cold con cool cop cord core cork corn cot could count court cove cub cube cue cull cup cure curt "
        "cut dad dam damp dare dark darn dart date days dead deaf deal dean dear death deck deed deem deep deer den "
        "dent dial die died dies diet dig dim dip dirt dive dock dog doll dome done doom door dot dove drab drag dread "
        "dream dress dried drill drip drop drug drum dry dual dub duck due dug duke dull dump dung during dust duty dye "
        "ear earn ease easter easy eat echo edge edit eel ego either elm else end even ever every evil exam exit eye "
        "eyes fab face fail fair fake fall fame family fan fang far fart fast fat fate father fear feast feat fed fee "
        "feed feel feet fell fern fib field fig file fill fin find fire fist fit five fix flag flap flea fled flee "
        "fleet flick fling flint flip flirt flock flood floor flop floss flour flu flung fly foam fog foil fold fond "
        "font food fool foot ford fork foul four fox fraud freak free freed fret friday fried frog front frost fuel "
        "full fun fund fur fury fuss gag gain gal gall game gang gap gas gate gave gaze gel gem get giant gig gill gin "
        "gist give glad gland glee gloom gloss glut goal goat god gold gone gong goo good gout grab grand grant grass "
        "gray greed green greet grey grid grief grill grim grin grip grit groan groom gross ground group grunt gull gum "
        "gun gust gut guy gym hack had hair hall ham hand hang hard hat hate haul haunt having hay head heal heap hear "
        "heart heat heath heed heel heir held hell helm hemp hen hence her herd here hero hey hid hide hill him hint "
        "hip hire his hiss hit hoard hoax hold hole holy hood hook hoop hop hope horn host hot hound hour hub hug hull "
        "hum human hump hung hunt hurt hut ice icy idea ill inn into iron island isle item jab jack jail jam jar jeep "
        "jerk jet jock jog join joke joy jug july jump june jury just keen key kick kid kill kin kind king kiss kit "
        "lack lad lady lag laid lamp land lane lap large lark lass laud lay lead leaf leak lean leap learn least led "
        "leg lent less lest let liar lick lid lie lied lies life like likely lily limp lint lion lip list load loaf "
        "loan lob lock log look loot lord lose loss lost lot loud love luck lug lull lump lung lust mad made mail main "
        "make making male man map mar mark mass mast mate may maybe meal mean meant meat meek meet men mend menu mere "
        "mess mice mid mile mill mind mine mint miss mist moan moat mob mock mod mold mom monday money mood moon more "
        "moss most mostly moth mother mound mount mourn mouth move mud mug mum must nab nail nap nearly neat neck need "
        "nerd nest net never nice nine nod node none noon nor nose not note noun nun nut oak oar oath often oil okay "
        "once one ones onto open ore other our oust out outer over owe pace pack pad page paid pain pair pal pale palm "
        "pan pant par park part pass past path pay pays pea peak pear peck peek peel peer peg pen pep per perk pest pet "
        "pick pie pier pig pike pile pill pin pine ping pint pipe pit pity place plan plant play plea plead plot plug "
        "plum plump plus ply pod poem pole poll pond pony pool poor pop pope pork porn pose post pot pound pour pray "
        "press prey prick print pro prod prom proof prop proud pub pull pump pup pure put queen queer quell quest quick "
        "quiet quit quite quiz race rack rag rage raid rail rain ram ramp ran rang rant rap rare rat rate rather read "
        "real really realm reap rear red reed reef reel rely rent rest rib rice rid ride rig rim rind ring riot rip "
        "rise roam roar roast rob robe rock rod rode role roll roof rook room roost root rope rose rot round rout rub "
        "rude rug ruin rule rum rump run rust rut sack sad safe sag said sail sake sale same sand sang sap sat save "
        "says school sea seal seam sear seat second see seed seek seem seen sees sell send sent set seven sex shack "
        "shall sham shark she sheath shed sheep sheer sheet shell shield shin ship shirt shock shook shoot shop short "
        "shot should shout shun shut shy sick side sill sin since sing sip sir sister site six size soak soap soar sob "
        "sock sod soda soil sold sole son song soon sore sort soul sound soup sour stab stack stag stall stamp stand "
        "star stark start state stay steak steal steam steel steep steer stem step stern stick sting stint stir stock "
        "stomp stood stool stop stout strand strap streak stream stress string strip stroll strong struck strung strut "
        "stub stuck stud stump stung stunt sub suck sue suit sum sun sunday sung sure tab tack tad tag tail take tale "
        "tall tan tang tap tape tar tart taunt tax tea team tear tee teen teeth tend tent test than their them there "
        "these they thick thief thin thing third thorn those thud thug thump thus tick tide tie tied ties till time tin "
        "tint tiny tip toad toast today toe told toll tone too took tool tooth top tore torn tort toss tour toward toy "
        "track tram trap tray tread treat tree trek trend trial trick tried tries trill trim trio trip troll troop "
        "trout truck true trump truss trust truth try tub tube tuck tug turn type ugly under unit unless until upon "
        "urge urn use used user van vary vast vat veil vein very vest vet via vice vim vine void vote wait wake wall "
        "wan wand want war ward warn wart water wave wax ways weak wear web wed weed weep weird weld went were wet "
        "wheat wheel when while whim whip whiz whom whose why wide widely wife wig wild will win wind wine wing wipe "
        "wire wise within woman wood wool word wore worn would wound yard yell yes yet your zeal zero zip zone zoo zoom"
    ).split()
)
"""English words that the syllables can compose, most of them in one draw; no name is one (And works in From)."""
