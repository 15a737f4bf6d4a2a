"""Timestamps between the wire's formats and seconds since the epoch."""

from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch of ISO 8601, RFC 822 or a number. Raises ValueError."""
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        if seconds - seconds != 0:
            raise ValueError(f"{text} is no moment")
        return seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, IndexError) as error:
            raise ValueError(f"{text} is no moment") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def iso8601(seconds: float) -> str:
    """2023-01-31T12:34:56Z, with milliseconds when there are any."""
    text = iso8601_milliseconds(seconds)
    return f"{text[:-5]}Z" if text.endswith(".000Z") else text


def iso8601_milliseconds(seconds: float) -> str:
    """2023-01-31T12:34:56.000Z, as S3 writes it."""
    moment = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def rfc822(seconds: float) -> str:
    """Tue, 31 Jan 2023 12:34:56 GMT."""
    return formatdate(int(seconds), usegmt=True)


def epoch(seconds: float) -> str:
    """1675168496, or with a fraction."""
    return str(int(seconds)) if seconds == int(seconds) else repr(round(seconds, 3))


FORMATTERS = {"iso8601": iso8601, "rfc822": rfc822, "unixTimestamp": epoch}
"""By the model's `timestampFormat`."""
