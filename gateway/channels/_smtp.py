"""What an SMTP conversation that broke off means, once for all commands.

The first digit of a reply decides: 4 later, 5 never. RFC 5321 §4.2.1
"""

from __future__ import annotations

import re
import ssl
from typing import Final

import aiosmtplib

from gateway.model import Receipt, Rejected, Retry, Unknown

OUT_OF_STEP: Final = 503
"""Bad sequence of commands: said of the connection, not of the letter. RFC 5321 §4.2.2"""
_STATUS: Final = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")


def trouble(error: aiosmtplib.SMTPException | OSError, handed_over: bool) -> Receipt:
    """What an interrupted conversation means. The server's own words may hold addresses: only codes are kept."""
    match error:
        case aiosmtplib.SMTPAuthenticationError() if error.code // 100 == 5:
            return Rejected(f"{_reply(error)}: the server refuses the login; check username and password")
        case aiosmtplib.SMTPResponseException() if error.code == OUT_OF_STEP:
            return Retry(f"{_reply(error)}: the server lost track of the conversation")
        case aiosmtplib.SMTPResponseException() if error.code // 100 == 5:
            return Rejected(f"{_reply(error)}: {_command(error)}")
        case aiosmtplib.SMTPResponseException() if error.code // 100 == 4 or not handed_over:
            return Retry(f"{_reply(error)}: {_command(error)}")
        case ssl.SSLCertVerificationError():
            return Retry("the server's certificate cannot be trusted")
        case _ if handed_over:
            return Unknown(f"no answer after the letter was handed over ({type(error).__name__})")
        case OSError():
            cause = error.__cause__
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Retry("the server's certificate cannot be trusted")
            return Retry(f"no conversation with the mail server ({type(cause or error).__name__})")
        case _:
            return Rejected("the server offers no STARTTLS or no login, which the settings demand")


def _reply(error: aiosmtplib.SMTPResponseException) -> str:
    status = _STATUS.search(error.message)
    return f"SMTP {error.code} {status[0]}" if status else f"SMTP {error.code}"


def _command(error: aiosmtplib.SMTPResponseException) -> str:
    match error:
        case aiosmtplib.SMTPSenderRefused():
            return "the server refuses the sender"
        case aiosmtplib.SMTPDataError():
            return "the server refuses the letter"
        case _:
            return "the server refuses us"
