"""Actions by e-mail: one submission to the mail server that the settings name.

Each mail can be ended by one click (RFC 8058), says that a program wrote it (RFC 3834), and has the delivery's id as its
Message-ID, so that a mail sent twice is one in most mailboxes.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, Literal

from firstring.channels.outbound.port import Message
from firstring.errors import BadInput, Retryable
from firstring.store.database import Tenant

SEND_S: Final = 30.0
_POLICY: Final = SMTP.clone(max_line_length=998)
"""An address in angle brackets must not be folded or encoded (RFC 2369, 2); lines may have 998 characters (RFC 5322)."""
Security = Literal["starttls", "tls", "none"]


class MailOutbound:
    """One submission server. security: how the connection is made safe; without it no password is sent."""

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        *,
        user: str = "",
        password: str = "",
        security: Security = "starttls",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """sender: "Shop <news@shop.example>". Raises BadInput mail_sender_invalid."""
        self._host, self._port = host, port
        self._user, self._password = user, password
        self._security: Security = security
        self._tls = tls or ssl.create_default_context()
        name, _, address = sender.strip().rpartition("<")
        try:
            self._from = Address(name.strip().strip('"'), addr_spec=address.rstrip(">").strip())
        except (ValueError, IndexError) as error:
            raise BadInput(
                "mail_sender_invalid", "The sender of mails is no address.", where={"setting": "FIRSTRING_OUTBOUND_FROM"},
                hint="Write Shop <news@shop.example>.",
            ) from error  # fmt: skip

    async def send(self, tenant: Tenant, message: Message, now: datetime) -> None:
        """Raises BadInput mail_refused (this receiver, or this mail), Retryable mail_server_unavailable."""
        mail = self.composed(message, now)
        try:
            async with asyncio.timeout(SEND_S + 1.0):
                await asyncio.to_thread(self._submit, mail)
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()))[0]
            raise _answered(code) from error
        except smtplib.SMTPResponseException as error:
            if isinstance(error, smtplib.SMTPAuthenticationError):
                raise Retryable("mail_server_refuses_login", "The mail server refuses the log-in.") from error
            raise _answered(error.smtp_code) from error
        except (OSError, smtplib.SMTPException) as error:
            name = type(error).__name__
            raise Retryable("mail_server_unavailable", f"The mail server cannot be used ({name}).") from error

    def composed(self, message: Message, now: datetime) -> EmailMessage:
        """The mail. Raises BadInput mail_address_invalid."""
        mail = EmailMessage(policy=_POLICY)
        delivery = message.delivery
        try:
            mail["To"] = Address(addr_spec=message.to[0])
        except (ValueError, IndexError) as error:
            raise BadInput("mail_address_invalid", "The customer's e-mail address cannot be written to.") from error
        mail["From"] = self._from
        mail["Subject"] = " ".join((message.text("subject") or message.text("title")).split())[:200]
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{delivery.delivery_id}@{self._from.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if message.unsubscribe is not None:
            mail["List-Unsubscribe"] = f"<{message.unsubscribe}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        parts = [message.text("text")]
        if message.url is not None:
            parts.append(f"{message.text('accept')}: {message.url}".removeprefix(": "))
        if message.unsubscribe is not None:
            parts.append(f"{message.text('unsubscribe') or 'Unsubscribe'}: {message.unsubscribe}")
        mail.set_content("\n\n".join(part for part in parts if part) + "\n")
        return mail

    def _submit(self, mail: EmailMessage) -> None:
        server: smtplib.SMTP
        if self._security == "tls":
            server = smtplib.SMTP_SSL(self._host, self._port, timeout=SEND_S, context=self._tls)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=SEND_S)
        with server:
            if self._security == "starttls":
                server.starttls(context=self._tls)
            if self._user and self._security != "none":
                server.login(self._user, self._password)
            server.send_message(mail)


def _answered(code: int) -> BadInput | Retryable:
    """4xx: later; 5xx: never (RFC 5321, 4.2.1)."""
    if code >= 500:
        return BadInput("mail_refused", f"The mail server refuses this mail ({code}).")
    return Retryable("mail_server_unavailable", f"The mail server cannot take this mail now ({code}).")
