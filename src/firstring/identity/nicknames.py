"""A modest table of nicknames and spellings of given names, folded. Each line: the formal name, then its short forms.

Written for this project out of general knowledge; see docs/decisions/identity-keys.md. A short form with several
formal names (alex, chris, sam) stays itself as a key, and only helps a comparison.
"""

from __future__ import annotations

from typing import Final

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


def _read(table: str) -> dict[str, frozenset[str]]:
    """Each name of the table with the formal names it may stand for; a formal name stands for itself too."""
    found: dict[str, set[str]] = {}
    for line in table.split("\n"):
        formal, *shorts = line.split() or [""]
        for name in (formal, *shorts) if formal else ():
            found.setdefault(name, set()).add(formal)
    return {name: frozenset(formals) for name, formals in found.items()}


FORMAL_NAMES: Final = _read(_TABLE)


def formal_names(given: str) -> frozenset[str]:
    """The formal names that a folded given name may stand for; a name that is not in the table stands for itself."""
    return FORMAL_NAMES.get(given) or frozenset((given,))


def root(given: str) -> str:
    """The one formal name of a folded given name, or the name itself where there are several or none."""
    formals = formal_names(given)
    return next(iter(formals)) if len(formals) == 1 else given


def related(left: str, right: str) -> bool:
    """Whether two folded given names may be forms of one name: bob and robert, liz and beth."""
    return bool(formal_names(left) & formal_names(right))
