"""The generator's word lists, by country: names, places, streets, number plans. Frozen with people.VERSION.

Names are common ones of each country in the order of their frequency; rare family names are put together from parts,
because a real register has a long tail. Numbers have the form of the country's plan and belong to nobody we know of.
"""

# ruff: noqa: E501 - lists of words

from __future__ import annotations

from typing import Final, NamedTuple


class Country(NamedTuple):
    """share: part of all households. family parts: beginnings and ends of rare names. numbers: digits after the prefix."""

    code: str
    share: float
    language: str
    female: tuple[str, ...]
    male: tuple[str, ...]
    family: tuple[str, ...]
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[tuple[str, str], ...]
    """(name, beginning of its postcodes)."""
    postcode: str
    """What follows the beginning: 9 is any digit, A any letter."""
    calling: str
    trunk: str
    mobile: tuple[tuple[str, int], ...]
    landline: tuple[tuple[str, int], ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


def _cities(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (item.split(":") for item in text.split())
    return tuple((name.replace("_", " "), begins) for name, begins in pairs)


def _prefixes(text: str, digits: int) -> tuple[tuple[str, int], ...]:
    return tuple((prefix, digits) for prefix in text.split())


_US = Country(
    "US",
    0.56,
    "en",
    _words(
        "Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Margaret Sandra Ashley Kimberly "
        "Emily Donna Michelle Carol Amanda Dorothy Melissa Deborah Stephanie Rebecca Sharon Laura Cynthia Kathleen Amy Angela "
        "Shirley Anna Brenda Pamela Emma Nicole Helen Samantha Katherine Christine Rachel Carolyn Janet Maria Olivia Heather "
        "Diane Julie Victoria Joyce Lauren Kelly Christina Joan Evelyn Judith Andrea Hannah Megan Cheryl Jacqueline Martha "
        "Madison Teresa Gloria Sara Janice Ann Kathryn Abigail Sophia Frances Jean Alice Judy Isabella Julia Grace Amber "
        "Denise Danielle Marilyn Beverly Charlotte Natalie Theresa Diana Brittany Doris Kayla Alexis Lori Guadalupe Ximena "
        "Latoya Shanice Mei Priya Nguyet"
    ),
    _words(
        "James Michael Robert John David William Richard Joseph Thomas Christopher Charles Daniel Matthew Anthony Mark Donald "
        "Steven Andrew Paul Joshua Kenneth Kevin Brian Timothy Ronald Jason George Edward Jeffrey Ryan Jacob Nicholas Gary "
        "Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Alexander Patrick Frank Raymond Jack Dennis "
        "Jerry Tyler Aaron Jose Adam Nathan Henry Zachary Douglas Peter Kyle Noah Ethan Jeremy Christian Walter Keith Austin "
        "Roger Terry Sean Gerald Carl Dylan Harold Jordan Jesse Bryan Lawrence Arthur Gabriel Bruce Logan Billy Joe Alan Juan "
        "Elijah Willie Albert Wayne Randy Mason Vincent Liam Roy Bobby Caleb Bradley Russell Lucas DeShawn Jamal Wei Raj Minh"
    ),
    _words(
        "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson Anderson "
        "Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Walker Young "
        "Allen King Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter "
        "Roberts Gomez Phillips Evans Turner Diaz Parker Cruz Edwards Collins Reyes Stewart Morris Morales Murphy Cook Rogers "
        "Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos Kim Cox Ward Richardson Watson Brooks Chavez "
        "Wood James Bennett Gray Mendoza Ruiz Hughes Price Alvarez Castillo Sanders Patel Myers Long Ross Foster Jimenez "
        "O'Brien O'Connor McDonald De_La_Cruz Smith-Jones Van_Buren St._John"
    ),
    _words(
        "Ash Black Brad Burn Car Clay Comp Crow Dal Darn Dun East Edge Fair Farn Gar Gil Glen Gran Hal Ham Hart Hay Hollo Hunt "
        "Kirk Lam Lang Lin Lock Mans Mar Mil Nor Oak Pem Pres Ram Red Rock Rush San Shel Stan Stock Thorn Tren Wal Wes Whit"
    ),
    _words(
        "ford ley ton wood ham field worth bury by land well stead more man shaw ridge brook den wick combe dale bourne gate "
        "house kins son stone view way cott"
    ),
    _words(
        "Main_Street Oak_Avenue Maple_Street Cedar_Lane Park_Avenue Pine_Street Elm_Street Washington_Boulevard Lake_Drive "
        "Hill_Road Walnut_Street Spring_Street Ridge_Road Church_Street Willow_Way Mill_Road Sunset_Drive Railroad_Avenue "
        "Jackson_Street Chestnut_Street River_Road Highland_Avenue Forest_Drive Meadow_Lane Broadway Jefferson_Avenue"
    ),
    _cities(
        "New_York:100 Los_Angeles:900 Chicago:606 Houston:770 Phoenix:850 Philadelphia:191 San_Antonio:782 San_Diego:921 "
        "Dallas:752 Austin:787 Jacksonville:322 Columbus:432 Charlotte:282 Indianapolis:462 Seattle:981 Denver:802 Boston:021 "
        "Nashville:372 Detroit:482 Portland:972 Memphis:381 Louisville:402 Baltimore:212 Milwaukee:532 Albuquerque:871"
    ),
    "99",
    "1",
    "",
    _prefixes(
        "212 310 312 713 602 215 210 619 214 512 904 614 704 317 206 303 617 615 313 503 901 502 410 414 505 718 323", 7
    ),
    _prefixes("646 213 773 832 480 267 726 858 469 737 324 380 980 463 253 720 857 629 248 971 731 270 443 262 575", 7),
)
_GB = Country(
    "GB",
    0.14,
    "en",
    _words(
        "Olivia Amelia Isla Margaret Susan Sarah Emma Charlotte Jessica Sophie Lucy Chloe Elizabeth Katherine Rebecca Hannah "
        "Alice Grace Ruby Eleanor Fiona Siân Niamh Aoife Zoë Aisha Fatima Harriet Poppy Imogen"
    ),
    _words(
        "David John Paul James Andrew Mark Stephen Thomas Oliver George Harry Jack Jacob William Muhammad Daniel Callum "
        "Matthew Alexander Edward Rhys Owain Seán Hamish Angus Nigel Graham Imran Kwame Alistair"
    ),
    _words(
        "Smith Jones Taylor Brown Williams Wilson Johnson Davies Robinson Wright Thompson Evans Walker White Roberts Green Hall "
        "Wood Jackson Clarke Khan Patel Lewis Hughes Edwards Hill Moore Clark Harrison Ward Morris MacDonald O'Neill Begum "
        "Fitzgerald Ap_Rhys"
    ),
    _words("Ald Bex Bram Chad Cul Dart Ex Fel Grim Hax Ips Kett Lyn Mel Nant Ox Pick Rad Sed Tham Ux Wim Yar Heath Stow"),
    _words("ton ley ham worth wick by ford combe thwaite field bridge stow mere church well dean hurst more ridge sett"),
    _words(
        "High_Street Station_Road Church_Lane Victoria_Road Green_Lane Manor_Road Park_Road Queens_Road Kings_Road "
        "The_Crescent Mill_Lane School_Lane Albert_Road York_Road"
    ),
    _cities("London:E1 Birmingham:B1 Leeds:LS1 Glasgow:G1 Manchester:M1 Bristol:BS1 Cardiff:CF1 Edinburgh:EH1 Norwich:NR1"),
    " 9AA",
    "44",
    "0",
    _prefixes("7400 7500 7700 7800 7900 7710 7860 7970 7540 7455", 6),
    _prefixes("20794 121496 113496 141496 161496 117496 292018 131496", 5),
)
_DE = Country(
    "DE",
    0.1,
    "de",
    _words("Anna Ursula Sabine Petra Monika Claudia Katharina Jürgine Käthe Ayşe Renate Lena Sophie Birgit Heike Jana Zoé"),
    _words(
        "Peter Wolfgang Michael Jürgen Thomas Günther Björn Jörg Klaus Stefan Andreas Max Lukas Mehmet Sören Uwe Kai Felix"
    ),
    _words(
        "Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer Richter Klein Wolf "
        "Schröder Neumann Schwarz Zimmermann Braun Krüger Yılmaz Groß von_der_Heide zu_Guttenberg von_Bülow"
    ),
    _words(
        "Acker Alten Berg Birken Brand Eichen Eisen Falken Grün Hasel Kalten Linden Mühl Nieder Ober Reichen Rosen Stein"
    ),
    _words("bach berg brunn dorf feld hausen heim hof kamp mann meier reuter rode stein thal wald mayr schläger"),
    _words(
        "Hauptstraße Schulstraße Bahnhofstraße Gartenweg Dorfstraße Bergstraße Lindenallee Kirchgasse Am_Mühlbach Ringstraße"
    ),
    _cities("Berlin:101 Hamburg:200 München:803 Köln:506 Frankfurt:603 Düsseldorf:402 Leipzig:041 Würzburg:970"),
    "99",
    "49",
    "0",
    _prefixes("151 160 170 171 172 175 176 177", 8),
    _prefixes("30 40 89 221 69 211 341 931", 7),
)
_FR = Country(
    "FR",
    0.06,
    "fr",
    _words(
        "Marie Nathalie Isabelle Sylvie Françoise Hélène Chloé Léa Inès Zoé Anaïs Camille Aurélie Maëlys Fatoumata Noémie"
    ),
    _words("Jean Pierre Michel André Philippe François Jean-Luc Théo Jérôme Loïc Léo Hugo Rémi Mohamed Gaël Benoît Étienne"),
    _words(
        "Martin Bernard Dubois Thomas Robert Richard Petit Durand Leroy Moreau Simon Laurent Lefebvre Michel Bertrand Roux "
        "Lefèvre Béranger de_La_Fontaine d'Estaing Le_Goff Château du_Plessis"
    ),
    _words("Beau Bel Bois Champ Clair Font Grand Haut Long Mont Neuf Pont Roche Saint Val Vieux"),
    _words("bert blanc court fort gard igny lac lieu mont nac pré rond ville vois on eau"),
    _words("Rue_de_la_République Rue_Victor_Hugo Avenue_Jean_Jaurès Rue_de_l'Église Place_du_Marché Chemin_des_Écoliers"),
    _cities("Paris:750 Lyon:690 Marseille:130 Toulouse:310 Nantes:440 Strasbourg:670 Orléans:450"),
    "99",
    "33",
    "0",
    _prefixes("6 7", 8),
    _prefixes("1 2 3 4 5", 8),
)
_ES = Country(
    "ES",
    0.06,
    "es",
    _words("María Carmen Ana Isabel Laura Lucía Begoña Núria Inés Sofía Martina Pilar Rocío Marta Elena Concepción"),
    _words("Antonio José Manuel Francisco David Juan Javier Íñigo Raúl Álvaro Jesús Óscar Martín Hugo Andrés Iván"),
    _words(
        "García Rodríguez González Fernández López Martínez Sánchez Pérez Gómez Martín Jiménez Ruiz Hernández Díaz Muñoz "
        "Álvarez Núñez Ibáñez de_la_Torre del_Río García_López Ortega_y_Gasset Peña"
    ),
    _words("Alar Barr Cast Del Esp Font Guad Her Ibarr Lagun Mend Olmed Quint Rib Sal Urr Val Zam"),
    _words("era ero eda illo ar ón ez osa anco edo ía oya ana ueta iz"),
    _words("Calle_Mayor Calle_Real Avenida_de_la_Constitución Plaza_de_España Calle_del_Sol Paseo_de_Gracia"),
    _cities("Madrid:280 Barcelona:080 Valencia:460 Sevilla:410 Zaragoza:500 Málaga:290 Córdoba:140"),
    "99",
    "34",
    "",
    _prefixes("600 610 620 630 640 650 660 670 680 690", 6),
    _prefixes("910 930 960 954 976 952 957", 6),
)
_NL = Country(
    "NL",
    0.05,
    "nl",
    _words(
        "Johanna Maria Anna Cornelia Emma Julia Sophie Sanne Fleur Daniëlle Zoë Renée Marloes Fenna Noor Liesbeth Hanneke"
    ),
    _words(
        "Johannes Jan Cornelis Daan Sem Lucas Bram Thijs Pieter Willem André Kees Henk Sjoerd Joost Ruben Mohammed Wouter"
    ),
    _words(
        "de_Jong Jansen de_Vries van_den_Berg van_Dijk Bakker Janssen Visser Smit Meijer de_Boer Mulder de_Groot Bos Vos Peters "
        "Hendriks van_Leeuwen Dekker Brouwer de_Wit Dijkstra van_der_Meer 't_Hart Coöper van_'t_Hof"
    ),
    _words("Bloem Boom Brink Duin Eiken Groen Haver Kerk Konings Linden Meer Molen Noorder Ooster Rozen Veen Water Zand"),
    _words("aar berg burg dam dijk hof horst huis kamp laan man meer molen sma stra veld wijk zoon"),
    _words("Kerkstraat Schoolstraat Molenweg Dorpsstraat Julianalaan Stationsweg Wilhelminastraat Beatrixlaan Nieuwstraat"),
    _cities("Amsterdam:101 Rotterdam:301 Utrecht:351 Eindhoven:561 Groningen:971 's-Hertogenbosch:521"),
    "9 AA",
    "31",
    "0",
    _prefixes("61 62 63 64 65 68", 7),
    _prefixes("20 10 30 40 50 73", 7),
)
_PL = Country(
    "PL",
    0.03,
    "pl",
    _words("Anna Maria Katarzyna Małgorzata Agnieszka Barbara Ewa Krystyna Elżbieta Zofia Żaneta Łucja Bożena Julia"),
    _words("Piotr Krzysztof Andrzej Tomasz Jan Paweł Michał Łukasz Stanisław Grzegorz Sławomir Żelisław Jakub Rafał"),
    _words(
        "Nowak Kowalski Wiśniewski Wójcik Kowalczyk Kamiński Lewandowski Zieliński Szymański Woźniak Dąbrowski Łukaszewicz"
    ),
    _words("Bartosz Boro Czar Dobro Gór Jagod Krasn Lip Mazur Ole Raj Sosn Wil Zawad"),
    _words("ewski iński kowski czyk owicz ak ek owski nicki arski iak uk"),
    _words("ulica_Polna ulica_Leśna ulica_Słoneczna ulica_Krótka ulica_Szkolna aleja_Kościuszki"),
    _cities("Warszawa:00- Kraków:30- Łódź:90- Wrocław:50- Poznań:60- Gdańsk:80-"),
    "999",
    "48",
    "",
    _prefixes("501 502 601 602 660 690 720 880", 6),
    _prefixes("2262 1242 4263 7134 6185 5830", 5),
)

COUNTRIES: Final = (_US, _GB, _DE, _FR, _ES, _NL, _PL)

NICKNAMES: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(short.split(","))
    for name, short in (
        pair.split(":")
        for pair in [
            "William:Bill,Will,Billy",
            "Robert:Bob,Rob",
            "Richard:Rick,Dick",
            "James:Jim,Jimmy",
            "Michael:Mike",
            "Joseph:Joe",
            "Thomas:Tom",
            "Christopher:Chris",
            "Charles:Charlie,Chuck",
            "Daniel:Dan,Danny",
            "Matthew:Matt",
            "Anthony:Tony",
            "Steven:Steve",
            "Andrew:Andy",
            "Joshua:Josh",
            "Kenneth:Ken",
            "Timothy:Tim",
            "Ronald:Ron",
            "Edward:Ed,Ted",
            "Jeffrey:Jeff",
            "Nicholas:Nick",
            "Jonathan:Jon",
            "Stephen:Steve",
            "Benjamin:Ben",
            "Samuel:Sam",
            "Gregory:Greg",
            "Alexander:Alex",
            "Patrick:Pat",
            "Zachary:Zach",
            "Elizabeth:Liz,Beth",
            "Patricia:Pat,Trish",
            "Jennifer:Jen,Jenny",
            "Barbara:Barb",
            "Susan:Sue",
            "Jessica:Jess",
            "Margaret:Maggie,Peggy",
            "Kimberly:Kim",
            "Deborah:Deb,Debbie",
            "Stephanie:Steph",
            "Rebecca:Becky",
            "Katherine:Kate,Kathy",
            "Kathleen:Kathy",
            "Christine:Chris,Tina",
            "Samantha:Sam",
            "Victoria:Vicky",
            "Jacqueline:Jackie",
            "Abigail:Abby",
            "Theresa:Terry",
            "Katharina:Kathi",
            "Wolfgang:Wolf",
            "Francisco:Paco,Fran",
            "Antonio:Toni",
            "José:Pepe",
            "Concepción:Concha",
            "Johannes:Hans,Jan",
            "Cornelis:Kees",
            "Johanna:Hanna",
            "Katarzyna:Kasia",
            "Małgorzata:Gosia",
            "Krzysztof:Krzysiek",
            "Stanisław:Staszek",
        ]
    )
}

MAIL_HOSTS: Final = (
    "example.com",
    "mail.example.com",
    "example.net",
    "post.example.net",
    "example.org",
    "inbox.example.org",
)
