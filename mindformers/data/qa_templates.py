"""The wording of the question-answering corpus: phrases, sentences, questions and word lists of its two splits.

A wording is text with slots. ``{P}`` is the person who speaks or is spoken of (a name, he, she or I), ``{Q}`` the
second person of a sentence, ``{0}`` and ``{1}`` are places for phrases, ``<third|first>`` holds the form of the third
and of the first person, ``{their}`` is his, her or my, ``{owner}`` is a name with 's, or my. The facts stand in
``{home} {origin} {workplace}`` (cities), ``{a} {job}``, ``{age}`` and ``{count} {item}``. The two splits share words
and word order of English, but no sentence and no question.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

Lines = Tuple[str, ...]


@dataclass(frozen=True)
class Wording:
    """Everything that one split may say."""

    phrases: Lines
    """What follows a subject; states one fact, or two."""
    sentences: Lines
    """Places for one or two phrases about one person."""
    pair_sentences: Lines
    """Two people in one sentence: the second is there to be confused with the first."""
    introductions: Lines
    """The narrator's own name, with up to two phrases."""
    wholes: Lines
    """Sentences whose fact does not follow the subject, any person."""
    before: Lines
    """Words that may stand before any phrase and change nothing; none: phrases stand as they are."""
    after: Lines
    """Words that may follow any phrase and change nothing."""
    openers: Lines
    """Words that may stand before any question, and what may follow it in `closers`."""
    closers: Lines
    fillers: Lines
    """Sentences without a fact that is asked for, with other cities, names and numbers."""
    fact_questions: Lines
    """Ask for a fact of a person; the kind asked for is told in front of the colon."""
    who_questions: Lines
    """Ask whose fact it is: the answer is a name."""
    name_questions: Lines
    """Ask for the narrator's name."""


def lines(text: str) -> Lines:
    """Return the entries of a block: one line each, or several in a line with " / " between them."""
    return tuple(entry.strip() for line in text.splitlines() for entry in line.split(" / ") if entry.strip())


TRAIN = Wording(
    phrases=lines("""
        ~<lives|live> in {home} / ~<has|have> a flat in {home} / ~<is|am> at home in {home} / ~was born in {origin}
        ~<is|am> from {origin} / ~was raised in {origin} / ~<works|work> in {workplace}
        ~<has|have> a job in {workplace} / ~<works|work> as {a} {job} / ~<is|am> {a} {job}
        ~<works|work> as {a} {job} in {workplace} / ~<is|am> {a} {job} in {workplace} / ~<is|am> {age} years old
        ~<is|am> {age} / ~turned {age} / ~<has|have> {count} {item} / ~<keeps|keep> {count} {item}
        ~<looks|look> after {count} {item} / <has|have> lived in {home} for a long time
        <has|have> worked in {workplace} for many years / <has|have> been {a} {job} for many years
        <works|work> for a small firm in {workplace} / turned {age} just now / <has|have> a small company in {workplace}
        <has|have> {count} very beautiful {item} / now <lives|live> in {home} / still <lives|live> in {home}
        <lives|live> in {home} these days / <lives|live> in {home} at the moment / <lives|live> in the city of {home}
        <lives|live> with {their} family in {home} / <lives|live> near the river in {home}
        <lives|live> alone in {home} / <has|have> a house in {home} / <has|have> a big home in {home}
        <has|have> moved to {home} / <has|have> been living in {home} since last year
        <rents|rent> a small flat in {home} / <rents|rent> a room in the city of {home}
        <stays|stay> in {home} with friends / <is|am> living in {home} / <makes|make> {their} home in {home}
        <is|am> settled in {home} with {their} family / was born in the city of {origin}
        was born and raised in {origin} / was born in {origin} many years ago / was also born in {origin}
        <comes|come> from {origin} / <comes|come> from the city of {origin} / grew up in {origin}
        grew up with {their} family in {origin} / spent {their} childhood in {origin} / <is|am> originally from {origin}
        <has|have> {their} roots in {origin} / <works|work> in the city of {workplace} / now <works|work> in {workplace}
        <works|work> in {workplace} every day / <works|work> for a big company in {workplace}
        <works|work> hard in {workplace} / <has|have> an office in {workplace} / <goes|go> to work in {workplace}
        <has|have> found work in {workplace} / <drives|drive> to work in {workplace} every morning
        <is|am> working in {workplace} this year / <has|have> a new job in {workplace} / now <works|work> as {a} {job}
        <works|work> as {a} {job} these days / <works|work> part time as {a} {job} / <works|work> hard as {a} {job}
        <is|am> {a} {job} by profession / <is|am> now {a} {job} / <is|am> also {a} {job} / <is|am> working as {a} {job}
        <is|am> employed as {a} {job} / <has|have> a new job as {a} {job} / <earns|earn> {their} money as {a} {job}
        has become {a} {job} / became {a} {job} last year / <works|work> as {a} {job} in the city of {workplace}
        now <works|work> as {a} {job} in {workplace} / <is|am> employed as {a} {job} in {workplace}
        <is|am> {a} {job} with an office in {workplace} / now <works|work> in {workplace} as {a} {job}
        <has|have> found work in {workplace} as {a} {job} / <is|am> {a} {job} who lives in {home}
        <is|am> {a} {job} from {origin} / <is|am> now {age} years old / <is|am> already {age} years old
        <is|am> only {age} years old / <is|am> {age} years of age / <is|am> now {age} / <is|am> about {age} years old
        turned {age} last week / <has|have> reached the age of {age} / <is|am> at the age of {age}
        <owns|own> {count} {item} / <owns|own> {count} old {item} / <has|have> {count} old {item}
        <has|have> {count} {item} at home / <has|have> got {count} {item} / <has|have> exactly {count} {item}
        <has|have> about {count} {item} / now <has|have> {count} {item} / <keeps|keep> {count} {item} at home
        bought {count} {item} / bought {count} new {item} last week / <takes|take> care of {count} {item}
        <is|am> the owner of {count} {item} / <has|have> a collection of {count} {item}
        <has|have> a house with {count} {item}
        """),
    sentences=lines("""
        {P} {0}. / {P} {0} and {1}. / {P} {0}, and {P} {1}. / Everybody knows that {P} {0}.
        It is true that {P} {0} and {1}. / We heard that {P} {0}. / As you know, {P} {0}. / {P} {0}; {P} {1}.
        {P} {0} and also {1}. / {P} {0}, but also {1}. / {P} {0}, but {P} {1}. / I think {P} {0}. / You know that {P} {0}.
        These days, as you may know, {P} {0}. / {P} {0} and then {1}.
        They say that {P} {0} and also {1}. / {N}, who {0}, {1}. / My friend {N} {0}. / My neighbour {N} {0} and {1}.
        There is a person called {N} who {0}. / This is {N}, who {0} and {1}. / A friend called {N} {0}.
        My cousin is called {N} and {0}. / This is my cousin {N}, who {0}. / Her good friend {N} {0}.
        {N}, my neighbour, {0}. / Her cousin {N} {0} and {1}. / Our friend {N}, who {0}, {1}.
        """),
    pair_sentences=lines("""
        {P} {0}, but {Q} {1}. / {P} {0} and {Q} {1}. / {P} {0}; {Q} {1}. / While {P} {0}, {Q} {1}.
        {P} {0} and, while we are here, {Q} {1}. / {P} {0}, and {Q} {1}.
        """),
    introductions=lines("""
        My name is {P}. / I am {P}. / Hello, I am {P}. / Hello, my name is {P}. / I am {P} and I {0}.
        I am {P} and {0}. / I am {P}, I {0} and I {1}. / I am called {P} and I {0}. / {P} is my name and I {0}.
        Hello, my name is {P}, I {0}. / My name is {P}, I {0} and {1}. / My first name is {P} and I {0}.
        People call me {P} and I {0}. / You can call me {P}. / Good morning, my name is {P}.
        Good morning, people call me {P} and I {0}. / Good morning, I am called {P}, I {0}.
        Everybody knows me as {P} and I {0}. / Hello, everybody calls me {P}. / My name, as you know, is {P} and I {0}.
        """),
    wholes=lines("""
        {owner} home is in {home}. / {owner} house is in the city of {home}. / In {home} {P} <has|have> a small house.
        {home} is the city where {P} <lives|live>. / {home} is {owner} home town now.
        {owner} family comes from {origin}, where {P} was born. / {origin} is the city where {P} was born.
        In {origin} {P} was born. / {owner} place of birth is the city of {origin}.
        {owner} office is in the city of {workplace}. / {workplace} is the city where {P} <works|work>.
        In {workplace} {P} <goes|go> to work every day. / {owner} job is in {workplace}. / {owner} profession is {job}.
        {owner} work is that of {a} {job}. / {owner} new job is {job}. / {owner} age is now {age}.
        {owner} age is {age} years. / At the age of {age}, {P} <is|am> still happy.
        {count} {item} belong to {owner} family. / In {owner} house there are {count} {item}.
        There are {count} {item} in {owner} garden. / The home of {N} is in the city of {home}.
        The birthplace of {N} is {origin}. / The office of {N} is in {workplace}. / The job of {N} is {job}.
        The age of {N} is {age}. / The {count} {item} belong to {N}. / The flat of {N} is in {home}.
        The house of {N} is in the city of {home}. / {home} is where {owner} flat is.
        The city where {N} grew up is {origin}. / {owner} birthplace is the city of {origin}.
        The profession of {N} is that of {a} {job}. / {owner} job is {job}.
        There are {count} old {item} in {owner} flat. / The city where {N} has {their} work is {workplace}.
        """),
    before=lines("""
        also / really / surely / in fact / of course / indeed / certainly / as we know / clearly
        """),
    after=lines("""
        too / as well / , as you know / , of course / indeed / , by the way / , I think / , it seems / , as people say
        , in fact / , they say / for sure
        """),
    openers=lines("""
        Tell me: / Please tell me: / Say: / My question is: / Well, / So / And / Now, / Please say: / You know it:
        """),
    closers=lines("""
        then / again / , please / in fact / really / , do you know / , can you tell me / , would you say
        """),
    fillers=lines("""
        The weather was fine. / The sun was very warm. / The road was long. / The house is old. / {name} came home late.
        It was a long day. / The train to {city} was late again. / A letter from {city} came this morning.
        The road to {city} is closed today. / Many people visit {city} in summer. / {name} called this morning.
        We met {name} at the market. / The bus number {number} was late. / It cost {number} euros.
        We waited for {number} minutes. / {name} likes coffee and music. / They went to {city} for a holiday.
        """),
    fact_questions=lines("""
        age: ~What is {owner} age? / origin: ~Where <is|am> {P} from? / origin: ~Where <does|do> {P} come from?
        count: ~How many {item} <does|do> {P} have? / age: ~How old <is|am> {P}? / job: ~What job <does|do> {P} have?
        job: ~What is {owner} job? / job: ~What <does|do> {P} do? / workplace: ~Where <does|do> {P} work?
        origin: ~Where was {P} born? / home: ~Where <does|do> {P} live? / home: Where <does|do> {P} live now?
        home: Where <does|do> {P} live these days? / home: Where <does|do> {P} live at the moment?
        home: Where exactly <does|do> {P} live? / home: Where <is|am> {P} living? / home: Where <is|am> {P} living now?
        home: In which city <does|do> {P} live? / home: Which city <does|do> {P} live in?
        home: In what city <is|am> {P} living? / home: Where is {owner} home? / home: Where is {owner} house?
        home: In which city is {owner} home? / home: Can you say where {P} <lives|live>?
        home: Do you know the city where {P} <lives|live>? / home: What is {owner} home town?
        home: Tell me the city where {P} <lives|live>. / home: What city <is|am> {P} living in?
        home: Where can {owner} house be found? / origin: Where was {P} born and raised?
        origin: Where exactly was {P} born? / origin: In which city was {P} born?
        origin: Which city <does|do> {P} come from? / origin: Where <does|do> {P} originally come from?
        origin: Where did {P} grow up? / origin: In which city did {P} grow up?
        origin: Which city <is|am> {P} originally from? / origin: Do you know where {P} was born?
        origin: What is {owner} place of birth? / origin: Tell me where {P} was born.
        origin: What city <does|do> {P} come from? / origin: Where <is|am> {P} from originally?
        origin: From which city <is|am> {P}? / origin: What is the birthplace of {N}?
        workplace: Where <does|do> {P} work now? / workplace: Where <does|do> {P} work these days?
        workplace: Where exactly <does|do> {P} work? / workplace: Where <is|am> {P} working?
        workplace: In which city <does|do> {P} work? / workplace: Which city <does|do> {P} work in?
        workplace: Where is {owner} office? / workplace: In which city is {owner} office?
        workplace: Where <does|do> {P} go to work? / workplace: Do you know where {P} <works|work>?
        workplace: Tell me where {P} <works|work>. / workplace: What city <does|do> {P} work in?
        workplace: In which city <is|am> {P} working? / workplace: Where <has|have> {P} found work?
        job: What is {owner} profession? / job: What is {owner} new job? / job: What job <does|do> {P} have now?
        job: Which job <does|do> {P} have? / job: What kind of job <does|do> {P} have?
        job: What <does|do> {P} work as? / job: As what <does|do> {P} work? / job: How <does|do> {P} earn {their} money?
        job: What work <does|do> {P} do? / job: What <does|do> {P} do every day? / job: What <is|am> {P} by profession?
        job: Tell me what {P} <does|do>. / job: Which job <is|am> {P} doing? / job: What <does|do> {P} do for work?
        job: Do you know the job of {N}? / age: How old <is|am> {P} now? / age: How old exactly <is|am> {P}?
        age: What age <is|am> {P}? / age: What is {owner} age now? / age: At what age <is|am> {P}?
        age: Tell me how old {P} <is|am>. / age: What is the age of {N}? / age: How many years old <is|am> {P}?
        age: Do you know how old {P} <is|am>? / age: Can you say how old {P} <is|am>?
        count: How many {item} <does|do> {P} have now? / count: How many {item} <does|do> {P} own?
        count: How many {item} <has|have> {P} got? / count: What number of {item} <does|do> {P} have?
        count: How many {item} belong to {N}? / count: Do you know how many {item} {P} <has|have>?
        count: How many {item} are there in {owner} house? / count: {P} <has|have> how many {item}?
        count: Tell me how many {item} {P} <has|have>. / count: How many {item} does {owner} family have?
        count: How many {item} <is|am> {P} keeping?
        """),
    who_questions=lines("""
        ~Who has {count} {item}? / ~Who is {age} years old? / ~Who is {a} {job}? / ~Who works as {a} {job}?
        ~Who works in {workplace}? / ~Who was born in {origin}? / ~Who lives in {home}? / Who lives in {home} now?
        Tell me who lives in {home}. / Who lives in the city of {home}? / Who has a house in {home}?
        Who is living in {home}? / Which person lives in {home}? / Who has a home in {home}?
        Who was born in the city of {origin}? / Which person was born in {origin}? / Who grew up in {origin}?
        Tell me who was born in {origin}. / Who was born and raised in {origin}? / Who comes from {origin}?
        Who works in {workplace} now? / Tell me who works in {workplace}. / Who is working in {workplace}?
        Who works in the city of {workplace}? / Which person works in {workplace}? / Who has an office in {workplace}?
        Who works as {a} {job} now? / Tell me who is {a} {job}. / Who is working as {a} {job}? / Who is now {a} {job}?
        Who has a job as {a} {job}? / Which person is {a} {job}? / Who is employed as {a} {job}?
        Who is now {age} years old? / Which person is {age} years old? / Who is {age}? / Tell me who is {age} years old.
        Who is {age} years of age? / Who owns {count} {item}? / Which person has {count} {item}?
        Who is the owner of {count} {item}? / Tell me who has {count} {item}. / Who has got {count} {item}?
        Who has {count} {item} at home?
        """),
    name_questions=lines("""
        ~What is my name? / What am I called? / What is my first name? / Who am I? / How do people call me?
        Do you know my name? / Can you say what my name is?
        """),
)

DEV = Wording(
    phrases=lines("""
        <lives|live> in {home} / <has|have> a flat in {home} / <has|have> lived in {home} for many years
        <is|am> at home in {home} / was born in {origin} / <is|am> from {origin} / was raised in {origin}
        <works|work> in {workplace} / <has|have> a job in {workplace} / <works|work> for a small company in {workplace}
        <works|work> as {a} {job} / <is|am> {a} {job} / <has|have> worked as {a} {job} for many years
        <works|work> as {a} {job} in {workplace} / <works|work> in {workplace} as {a} {job}
        <is|am> {a} {job} in {workplace} / <is|am> {age} years old / <is|am> {age} / just turned {age}
        <has|have> {count} {item} / <keeps|keep> {count} {item} / <has|have> {count} beautiful {item}
        <looks|look> after {count} {item}
        """),
    sentences=lines("""
        {P} {0}. / {P} {0}, and also {1}. / {P} {0} but {1}. / These days {P} {0} and {1}. / I think that {P} {0}.
        You may know that {P} {0} and {1}. / My cousin {N} {0}. / {N}, a good friend who {0}, {1}.
        Her neighbour {N} {0} and {1}.
        """),
    pair_sentences=lines("""
        {P} {0}, while {Q} {1}. / While {P} {0}, we know that {Q} {1}.
        """),
    introductions=lines("""
        My name is {P} and I {0}. / My name is {P} and I {0} and {1}. / Good morning, I am {P} and I {0}.
        Everybody calls me {P} and I {0}.
        """),
    wholes=lines("""
        {owner} flat is in {home}. / {home} is where {P} <lives|live>. / {owner} birthplace is {origin}.
        {P} <does|do> {their} work in {workplace}. / {owner} job is that of {a} {job}. / {owner} age is {age}.
        There are {count} {item} in {owner} house. / The house of {N} is in {home}.
        The city where {N} was born is {origin}. / The profession of {N} is {job}.
        """),
    before=(),
    after=(),
    openers=(),
    closers=(),
    fillers=lines("""
        The sun was warm. / The road to {city} was long. / The train from {city} was late. / {name} came late.
        The number of the house is {number}.
        """),
    fact_questions=lines("""
        home: Where <does|do> {P} live? / home: What city <does|do> {P} live in?
        home: Where <has|have> {P} got {their} home? / home: Tell me where {P} <lives|live>.
        origin: Where was {P} born? / origin: Where <does|do> {P} come from? / origin: Where <is|am> {P} from?
        workplace: Where <does|do> {P} work? / workplace: In what city <does|do> {P} work?
        workplace: Which city <is|am> {P} working in? / job: What <does|do> {P} do? / job: What is {owner} job?
        job: What job <does|do> {P} have? / job: Which profession <does|do> {P} have? / age: How old <is|am> {P}?
        age: What is {owner} age? / count: How many {item} <does|do> {P} have?
        count: How many {item} <does|do> {P} keep?
        """),
    who_questions=lines("""
        Who lives in {home}? / Who was born in {origin}? / Who works in {workplace}? / Who works as {a} {job}?
        Who is {a} {job}? / Who is {age} years old? / Who has {count} {item}?
        """),
    name_questions=lines("""
        What is my name? / Tell me my name.
        """),
)

TRAIN_JOBS: Lines = tuple("""
accountant|actor|architect|artist|barber|bookseller|builder|butcher|captain|chemist|clerk|coach|cook|dancer|dentist
detective|director|editor|electrician|farmer|fisherman|florist|geologist|guard|hunter|jeweller|judge|librarian|locksmith
manager|mathematician|mechanic|merchant|midwife|miller|musician|optician|painter|philosopher|poet|porter|potter|priest
printer|publisher|reporter|roofer|sailor|sculptor|secretary|shepherd|singer|soldier|statistician|tailor|translator
umpire|violinist|waiter|weaver|welder|writer|zoologist|office assistant|ice cream seller|air traffic controller
""".replace("\n", "|").strip("|").split("|"))
JOB_FIELDS: Lines = tuple("art boat book bread car cheese dance film flower garden glass history language machine music "
                          "night paper piano radio science shoe sport street tea toy train travel wine wood".split())
JOB_ROLES: Lines = tuple("collector critic dealer designer driver engineer guide inspector maker painter reporter "
                         "scientist seller student teacher worker".split())
DEV_JOBS: Lines = tuple("""
nurse|doctor|baker|plumber|lawyer|pilot|gardener|carpenter|journalist|photographer|economist|pharmacist|surgeon|firefighter
astronaut|bus driver|software developer|taxi driver|police officer|primary school teacher|data analyst|interior decorator
""".replace("\n", "|").strip("|").split("|"))

ITEMS: Lines = tuple("apples balls bicycles birds boats books bottles boxes cameras candles carpets cars cats chairs "
                     "clocks coats coins computers cows cups dogs dolls ducks flowers goats guitars hats hens horses "
                     "keys kites lamps maps mirrors paintings pencils pens phones pianos pictures plants plates rabbits "
                     "radios records rings rugs sheep shirts shoes spoons stamps tables tents tickets toys trees "
                     "umbrellas vases watches".split())
NUMBER_WORDS: Lines = tuple("two three four five six seven eight nine ten eleven twelve".split())

DEV_WOMEN: Lines = tuple("""
Agnes Alice Amelia Andrea Angela Anna Beatrice Bianca Camille Carmen Caroline Catherine Charlotte Chiara Christine Clara
Claudia Cornelia Daniela Deborah Diana Elena Elisabeth Emily Emma Fatima Fiona Franziska Gabriele Gisela Greta Hannah
Heidi Helen Ingrid Irina Isabel Jane Jasmin Jennifer Jessica Johanna Julia Karin Katharina Laura Leila Lena Lucia Manuela
Margaret Maria Martha Melanie Monika Nadia Natalie Nicole Nina Olga Olivia Patricia Paula Petra Rachel Rebecca Regina
Renate Sabine Sandra Sarah Silvia Simone Sophie Susan Susanne Sylvia Tanja Teresa Ursula Valentina Vanessa Veronika
Victoria Yasmin Yvonne Zoe
""".split())
DEV_MEN: Lines = tuple("""
Aaron Abdul Adam Albert Alexander Andreas Anthony Antonio Arthur Benjamin Bernd Boris Bruno Carlos Charles Christian
Daniel David Dennis Dieter Dmitri Edward Emil Enrique Eric Erik Felix Ferdinand Florian Francesco Francis Frank Frederick
Friedrich George Georg Gerhard Giovanni Giuseppe Gregor Gustav Hans Harald Heinrich Henry Hiroshi Hugo Ivan James Jan
Javier Jens Joachim Johann John Jonathan Jorge Joseph Juan Karl Kevin Klaus Konrad Kurt Lars Leonard Lorenzo Louis Ludwig
Luis Lukas Manfred Marcel Marco Martin Matthias Maximilian Michael Miguel Mohammed Nicolas Nikolai Oliver Omar Oscar Otto
Pablo Patrick Paul Pedro Peter Philip Pierre Rafael Ralf Ricardo Richard Robert Rolf Rudolf Samuel Sebastian Sergei Simon
Stefan Stephen Steven Thomas Tobias Tom Ulrich Victor Viktor Vincent Walter Werner Wilhelm William Wolfgang Yusuf
""".split())
DEV_SURNAMES: Lines = tuple("""
Anderson Bauer Becker Braun Brown Costa Dubois Evans Fernandez Fischer Garcia Hansen Hoffmann Jansen Johnson Keller Klein
Kowalski Larsen Lopez Martinez Meyer Moreau Mueller Nguyen Novak Olsen Petrov Richter Romano Rossi Sanchez Schmidt Schneider
Schulz Silva Smith Suzuki Tanaka Vogel Wagner Weber Williams Wilson Zimmermann
""".split())
DEV_CITIES: Lines = tuple("""
Amsterdam|Ankara|Antwerp|Athens|Auckland|Baghdad|Baltimore|Bangkok|Barcelona|Basel|Beijing|Belgrade|Bergen|Berlin|Bilbao
Birmingham|Bogota|Bologna|Bonn|Bordeaux|Boston|Bremen|Brisbane|Bristol|Brussels|Bucharest|Budapest|Buenos Aires|Cairo
Calgary|Cape Town|Caracas|Casablanca|Chicago|Cologne|Copenhagen|Dallas|Damascus|Delhi|Denver|Detroit|Dortmund|Dresden
Dublin|Edinburgh|Florence|Frankfurt|Geneva|Genoa|Glasgow|Graz|Hamburg|Hanoi|Hanover|Havana|Helsinki|Hong Kong|Houston
Istanbul|Jakarta|Jerusalem|Johannesburg|Karachi|Kiev|Kyoto|Lagos|Leeds|Leipzig|Lima|Lisbon|Liverpool|London|Los Angeles
Lyon|Madrid|Manchester|Manila|Marseille|Melbourne|Memphis|Mexico City|Miami|Milan|Montreal|Moscow|Munich|Nairobi|Naples
New Orleans|New York|Nuremberg|Oslo|Oxford|Palermo|Paris|Philadelphia|Porto|Prague|Quebec|Riga|Rio de Janeiro|Rome
Rotterdam|Salzburg|San Diego|San Francisco|Santiago|Seattle|Seoul|Shanghai|Singapore|Sofia|Stockholm|Strasbourg|Stuttgart
Sydney|Tallinn|Tehran|Tokyo|Toronto|Toulouse|Tunis|Turin|Utrecht|Valencia|Vancouver|Venice|Vienna|Vilnius|Warsaw
Washington|Zagreb|Zurich
""".replace("\n", "|").strip("|").split("|"))

ONSETS: Lines = tuple("b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kn kr l m n p ph pl pr qu r rh s sch sh sk sl sm "
                      "sp st str sv t th tr ts v vl w wh wr x y z zh".split()) + ("",) * 4
VOWELS: Lines = tuple("a a a e e e i i i o o o u u aa ae ai au ay ea ee ei eo eu ia ie io oa oe oi oo ou ue ui y".split())
CODAS: Lines = tuple("b ck d f ff g gg h k l lb ld lf lk ll lm ln lp ls lt m mb mm mp n nc nd nf ng nk nn ns nt nz p ph pp "
                     "r rb rd rf rg rk rl rm rn rp rs rt rth rv s sch sh sk ss st t th tt tz v w x z".split()) + ("",) * 20
TOWN_BEGINNINGS: Lines = tuple("Bad Cape East El Fort Great Lake Las Little Los Mount New North Old Port Saint San South "
                               "Upper West".split())
TOWN_ENDINGS: Lines = tuple("berg borough bridge burg bury by chester dam field ford furt grad ham haven heim holm hurst "
                            "land lin mouth polis pool port stadt stein stock ton town ville wick worth".split())
