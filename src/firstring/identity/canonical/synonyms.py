"""Column names as they occur in exports, and the field of the vocabulary that each stands for."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from firstring.identity.canonical.fields import FIELDS

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_WORD = re.compile(r"[\W_]+")


def bare(name: str, separator: str = "") -> str:
    """A column's name without case, accents and punctuation: "E-Mail Adresse" -> "emailadresse" ("e_mail_adresse")."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.replace("ß", "ss")) if not unicodedata.combining(c))
    return _NOT_WORD.sub(separator, _CAMEL.sub("_", plain).lower()).strip("_") or "column"


_SPELLINGS: Final = {
    "full_name": "name fullname customername clientname contactname displayname personname naam volledigenaam "
    "vollername nomcomplet nombrecompleto nomecompleto nameofcustomer",
    "given_name": "givenname firstname first fname forename vorname prenom voornaam nombre primernombre nome "
    "christianname namefirst callname roepnaam",
    "middle_name": "middlename middle mname middleinitial mi secondname tussenvoegsels zweitervorname segundonombre",
    "family_name": "familyname lastname last lname surname nachname familienname nomdefamille nom achternaam apellido "
    "apellidos cognome sobrenome namelast secondsurname",
    "suffix": "suffix namesuffix generation",
    "birth_date": "birthdate dateofbirth dob birthday bday borndate birth geburtsdatum gebdatum geboren datedenaissance "
    "naissance geboortedatum fechadenacimiento fechanacimiento nacimiento datadinascita datanascimento",
    "gender": "gender sex geschlecht sexe geslacht sexo genero sesso",
    "phone": "phone phonenumber phoneno telephone telephonenumber tel telno telnr telefon telefonnummer "
    "telefoonnummer telefoon telefono telephonique mobile mobilephone mobilenumber mobil mobiltelefon "
    "mobiel mobielnummer movil celular cell cellphone cellnumber handy handynummer homephone workphone "
    "businessphone officephone landline festnetz msisdn contactnumber primaryphone secondaryphone "
    "alternatephone otherphone portable gsm rufnummer whatsapp numerodetelefono",
    "email": "email emailaddress mail mailaddress emailadresse emailadres adressemail courriel correo "
    "correoelectronico primaryemail secondaryemail workemail homeemail personalemail contactemail posta",
    "address": "address fulladdress postaladdress mailingaddress addressline addressline1 address1 homeaddress "
    "anschrift adresse adres direccion indirizzo endereco",
    "street": "street streetname streetaddress strasse str rue straat straatnaam calle via rua",
    "house_number": "housenumber houseno housenr hausnummer hausnr huisnummer huisnr streetnumber streetno numerocivico "
    "numero numerodevoie",
    "city": "city town place locality ort stadt wohnort ville stad woonplaats plaats ciudad citta cidade suburb",
    "region": "region state province county bundesland provincie provincia estado departement stateprovince",
    "postcode": "postcode postalcode zip zipcode plz postleitzahl codepostal cp codigopostal cap cep pincode eircode",
    "country": "country countrycode countryiso land landescode pays pais paese nation landcode",
    "national_id": "nationalid nationalidnumber ssn socialsecuritynumber nationalinsurancenumber nino bsn taxid "
    "taxnumber steuernummer steuerid dni nie nif codicefiscale cpf personnummer idnumber passport "
    "passportnumber insee socsecid",
    "account": "account accountid accountnumber accountno accountnr customerid customernumber customerno customernr "
    "custid clientid clientnumber kundennummer kundennr klantnummer numeroclient numerocliente "
    "membernumber memberid loyaltyid loyaltynumber contractnumber contractid vertragsnummer policynumber "
    "iban kontonummer rekeningnummer",
    "device": "device deviceid devices idfa idfv gaid advertisingid imei",
    "ip": "ip ipaddress lastip clientip loginip",
    "cookie": "cookie cookieid anonymousid visitorid visitor webid gaclientid",
    "social": "social socialhandle socialmedia handle",
    "social_twitter": "twitter twitterhandle x",
    "social_instagram": "instagram instagramhandle insta",
    "social_facebook": "facebook facebookid",
    "social_linkedin": "linkedin linkedinurl",
    "carrier": "carrier operator mobileoperator netzbetreiber provider",
    "line_type": "linetype phonetype numbertype",
    "language": "language lang locale preferredlanguage sprache langue taal idioma lingua",
    "tier": "tier customertier segment customersegment loyaltytier viplevel vip statuslevel",
    "note": "note notes comment comments remarks remark bemerkung bemerkungen notiz notizen opmerking opmerkingen "
    "remarque nota notas",
    "first_seen": "firstseen firstseenat created createdat creationdate datecreated customersince membersince "
    "signupdate registrationdate registeredat kundeseit angelegtam",
    "last_seen": "lastseen lastseenat lastactive lastactivity lastcontact lastcontactat lastlogin lastpurchase "
    "lastorderdate lastupdated updatedat lastmodified modifiedat letzterkontakt",
    "verified_at": "verifiedat verified lastverified verificationdate kycdate identityverifiedat",
    "sim_changed_at": "simchangedat simchanged simchange lastsimchange simswapdate simswappedat",
}

SYNONYMS: Final[dict[str, str]] = {
    **{bare(name): name for name in FIELDS if name != "record_id"},
    **{spelling: field for field, spellings in _SPELLINGS.items() for spelling in spellings.split()},
}
"""Bare column name -> field (or social_NETWORK)."""
