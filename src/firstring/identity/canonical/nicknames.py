"""A modest table of nicknames and spellings of given names, folded. Each line: the formal name, then its short forms.

Written for this project out of general knowledge; see docs/decisions/identity-keys.md. A short form with several
formal names (alex, chris, sam) stays itself as a key, and only helps a comparison.
"""

from __future__ import annotations

from typing import Final

from firstring.identity.canonical.spellings import given_key

_TABLE: Final = """
abigail abby abbie gail
abraham abe bram
adelaide addie
agatha aggie
agnes aggie nessa
albert al bert bertie
alexander alex alec lex sandy sasha xander aleksander alejandro aleksandr
alexandra alex lex sandra sandy sasha lexi aleksandra alejandra
alfred al alf alfie fred freddie
alice ally
amanda mandy
andrew andy drew
anthony tony antony
antonio tony toni
arthur art artie
barbara barb babs barbie
bartholomew bart
beatrice bea trixie beatrix
benjamin ben benny benji
bernard bernie
bridget biddy bridie
cameron cam
caroline carrie carolyn
catherine cathy kate katie kathy cath kay kit kitty katherine kathryn catharine cathryn katharine kathleen
charles charlie chuck chas chaz
charlotte charlie lottie lotte
christina chris chrissy tina christine cristina kristina kristine
christopher chris kit topher kristopher
clifford cliff
cornelius cor kees cornelis
cynthia cindy
daniel dan danny
danielle dani
david dave davey
deborah deb debbie debra
dennis denny denis
dominic dom dominick
donald don donnie
dorothy dot dottie dolly
douglas doug
edward ed eddie ted teddy ned eduard
edwin ed eddie
eleanor ellie nell nellie elinor
elizabeth liz lizzie beth betty bess eliza elsie libby lisa elisabeth elspeth
emily em emmy
emma em
eugene gene
ezekiel zeke
florence flo florrie
frances fran fanny frankie
francis frank frankie
francisco paco pancho
franklin frank
frederick fred freddie freddy frederic fredrick
gabriel gabe
gabriella gabby ella
geoffrey geoff jeff jeffrey
george georgie
gerald gerry jerry
gerard gerry
gertrude gertie trudy
gregory greg gregg
gwendolyn gwen
harold hal harry
harriet hattie
henry hank harry hal hendrik
herbert herb bert
hubert bert
isabella bella izzy isabel isabelle
jacob jake jakob
jacqueline jackie
james jim jimmy jamie jem
jane janie jenny
jennifer jen jenny jennie
jeremy jerry jem
jessica jess jessie
johannes hans jan
john johnny jack jon
jonathan jon jonny johnathan jonathon
jose pepe
joseph joe joey jos
josephine jo josie
joshua josh
joan joanie
joanna jo joanne
judith judy
julia julie
kenneth ken kenny
kimberly kim kimberley
lawrence larry laurie laurence
leonard len lenny leo
leslie les
lewis lew louis louie
lillian lil lily
louise lou
lucille lucy
madeline maddie madeleine
manuel manolo manny
margaret maggie meg peg peggy marge margie greta rita madge
maria marie
marilyn lynn
martha marty
martin marty
mary molly polly
matilda tilly mattie
matthew matt mathew
maximilian max
maxwell max
melissa mel missy
michael mike mick mickey micky mikey mikael
mildred millie
miriam mimi
mitchell mitch
nancy nan
nathan nate
nathaniel nate nat nathan
nicholas nick nicky nicolas nikolas
nicole nicky nikki
norman norm
oliver ollie
olivia liv livvy
pamela pam
patricia pat patty trish tricia patsy
patrick pat paddy
penelope penny
peter pete
philip phil phillip
priscilla cilla
rachel rach rae rachael
randolph randy
raymond ray
rebecca becky becca bex rebekah
reginald reg reggie
richard rick dick rich richie ricky
robert bob bobby rob robbie robby bert
roberta bobbie
rodney rod
roger rodge
ronald ron ronnie
rosemary rose rosie
rudolph rudy
russell russ
samantha sam sammy
samuel sam sammy
sandra sandy
sarah sally sadie sara
sebastian seb bas bastian
sidney sid
simon si
solomon sol
sophia sophie
stanley stan
stephanie steph
stephen steve stevie steven
susan sue susie suzie suzy
suzanne sue suzie suzy
sylvester sly
sylvia syl
terence terry terrance
theodore ted teddy theo
theresa terry tess tessa teresa
thomas tom tommy
timothy tim timmy
tobias toby
ursula ursie
valerie val
vanessa nessa
veronica ronnie roni
victor vic
victoria vicky vicki tori
vincent vince vinny
virginia ginny
vivian viv
walter walt wally
wilfred wilf
wilhelmina mina minnie
william bill billy will willy willie liam
winifred winnie
winston win
zachary zach zack zac
"""

_LANGUAGES: Final = """
carl karl
philip filip philipp filipp
stefan stephan stephen
sophia sofia
francisco paco pancho curro kiko
jose pepe chepe pepito
ignacio nacho
guadalupe lupe
dolores lola
concepcion concha conchita
rosario charo
mercedes merche
enrique quique kike
jesus chuy chus suso
antonio tono antonito
manuel manolo manu lolo
luis lucho
alberto beto
roberto beto berto
eduardo lalo edu
gonzalo gonza
sebastian sebas
santiago santi
alejandro ale alex jandro
alejandra ale alex jandra
isabel isa chabela
maria mari maruja marita mariquita
pilar pili
montserrat montse
juan juanito juancho
guillermo memo guille
rafael rafa
fernando fer nando
vicente chente
consuelo chelo
francisca paca paqui
inmaculada inma
johannes hannes johann
friedrich fritz fiete friedel
wilhelm willi
heinrich heinz heini
joachim jochen achim
hans hansi hannes johannes
josef sepp beppo jupp joseph
georg schorsch jorg
ludwig lutz wiggerl
matthias mathias hias matze
michael michi michel
sebastian basti wastl
andreas andi anderl
christian chris
stefan steffen steff
ulrich uli ulli
wolfgang wolfi wolf
elisabeth lisa sissi elli lisbeth liesel betti
katharina kathi katja kati kathrin katrin
margarete grete gretel gretchen marga
magdalena magda leni lena
susanne susi sanne
barbara babsi barbel
johanna hanna hanne
franziska franzi
theresia resi
jean jeannot
jacques jacquot
francois fanfan
guillaume guigui
nicolas nico
elodie elo
catherine cathy caro
veronique vero
dominique domi
frederic fred
giuseppe peppe beppe pino peppino
giovanni gianni nanni vanni
francesco franco cecco ciccio checco
luigi gigi gino
antonio tonino nino toto
domenico mimmo
salvatore toto turi
vincenzo enzo cenzo
lorenzo enzo renzo
raffaele lello
alessandro sandro ale
alessandra sandra ale
roberto berto
filippo pippo
giacomo mino
giuseppina pina giusy
elisabetta betta
francesca franca
caterina rina cate
aleksandr sasha sanya shura alex
aleksandra sasha sanya shura alex ola
aleksei alyosha lyosha lesha
andrei andryusha
anatoli tolya
anna anya annushka ania anka
anastasia nastya nastia asya
boris borya
vladimir volodya vova vladi
vladislav vlad slava
viktor vitya
vyacheslav slava
galina galya
grigori grisha
dmitri dima mitya
evgeni zhenya jenya
evgenia zhenya jenya
ekaterina katya katia
elena lena alyona
ivan vanya vanechka
irina ira
konstantin kostya
ksenia ksyusha
larisa lara
lyudmila lyuda mila
maria masha marusya
mikhail misha
nadezhda nadya nadia
natalia natasha nata
nikolai kolya
oleg olezhka
olga olya
pavel pasha
petr petya
roman roma
svetlana sveta
sergei seryozha serezha serzh
sofia sonya
stanislav stas slava
tatiana tanya tania
yulia yulya julka
yuri yura
fyodor fedya
yakov yasha
malgorzata gosia malgosia
katarzyna kasia kaska
agnieszka aga agusia
joanna asia joasia
barbara basia
elzbieta ela elka
krzysztof krzys krzysiek
stanislaw staszek stas
andrzej andrzejek jedrek
tomasz tomek
jan janek jas
piotr piotrek
pawel pawelek
michal michalek
grzegorz grzesiek grzes
wojciech wojtek
tadeusz tadek
zbigniew zbyszek
jerzy jurek
jozef jozek
marcin marcinek
magdalena magda madzia
ewa ewka ewunia
zofia zosia
stanislawa stasia
dorota dorotka
danuta danka
antonio toninho toze tonho
jose ze zezinho
joao joaozinho jao
francisco chico xico quico
maria mariazinha
luis luisinho
paulo paulinho
carlos carlinhos
pedro pedrinho
fernando nando nandinho
eduardo edu dudu duda
eduarda duda
rodrigo digo
gabriel biel gabi
gabriela gabi
beatriz bia
isabela bela isa
mariana mari
fernanda nanda fe
rafael rafa
rafaela rafa
cornelis cees kees cor
johannes johan jan hans joop
willem wim
hendrik henk hein
gerardus gerard gerrit
petrus piet peter
adrianus adri arie
wilhelmina mien mina
elisabeth els liesbeth betsy bep
catharina trijntje toos rina
johanna jo hanneke annie
konstantinos kostas costas dinos
dimitrios mitsos
georgios yiorgos giorgis
ioannis yannakis
athanasios thanos sakis
panagiotis takis panos
vasileios vassos billis
nikolaos nikos nicos
emmanouil manolis manos
aikaterini katerina katina
eleni lena nitsa
istvan pista isti
jozsef jozsi
laszlo laci
sandor sanyi
janos jancsi
ferenc feri
katalin kati kata
erzsebet erzsi bozsi zsoka
"""


def _read(*tables: str) -> dict[str, frozenset[str]]:
    """Each name with the formal names it may stand for; a formal name stands for itself too.

    A formal name that an earlier table takes for a form of one other (elisabeth, elizabeth) stands for that one.
    """
    found: dict[str, set[str]] = {}
    for table in tables:
        before = {name: next(iter(formals)) for name, formals in found.items() if len(formals) == 1}
        for line in table.split("\n"):
            names = [given_key(name) for name in line.split()]
            for name in names:
                found.setdefault(name, set()).add(before.get(names[0], names[0]))
    return {name: frozenset(formals) for name, formals in found.items()}


FORMAL_NAMES: Final = _read(_TABLE, _LANGUAGES)


_ROOTS: Final = {name: next(iter(formals)) for name, formals in FORMAL_NAMES.items() if len(formals) == 1}


def formal_names(given: str) -> frozenset[str]:
    """The formal names that a folded given name may stand for; a name that is not in the table stands for itself."""
    key = given_key(given)
    return FORMAL_NAMES.get(key) or frozenset((key,))


def root(given: str) -> str:
    """The one formal name of a folded given name, or its key where there are several or none."""
    key = given_key(given)
    return _ROOTS.get(key, key)


def related(left: str, right: str) -> bool:
    """Whether two folded given names may be forms of one name: bob and robert, liz and beth."""
    return bool(formal_names(left) & formal_names(right))
