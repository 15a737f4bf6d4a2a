"""Who asks for what, on whose behalf, in which trace and until when."""

from dataclasses import dataclass, field
from typing import Literal

from tule.kernel.randomness import RandomSource

DEFAULT_ACCOUNT = "000000000000"
"""The account of every access key that names none (LocalStack's choice, so that its users' scripts keep working)."""

DEFAULT_REGION = "us-east-1"


# TraceContext and RequestContext are made for every request. Frozen dataclasses set each field through
# object.__setattr__, which made a request two microseconds dearer; nobody assigns to their fields all the same.


@dataclass(slots=True, unsafe_hash=True)
class TraceContext:
    """The X-Amzn-Trace-Id header in parts: one `root` for a request and all that it causes.

    `span` is the identity of the hop at hand (16 hexadecimal digits) and the parent of whatever that hop starts;
    `parent` is the hop that started this one, or "". `lineage` counts passes through the same function, for the
    recursion guard, in the header's own notation.
    """

    root: str
    span: str
    parent: str = ""
    sampled: bool = True
    lineage: str = ""

    def header(self) -> str:
        """As a value of X-Amzn-Trace-Id (and AWSTraceHeader, and _X_AMZN_TRACE_ID) for what this hop starts."""
        tail = f";Lineage={self.lineage}" if self.lineage else ""
        return f"Root={self.root};Parent={self.span};Sampled={int(self.sampled)}{tail}"

    def child(self, random: RandomSource) -> "TraceContext":
        """The context of a hop that this one starts."""
        return TraceContext(self.root, random.token_hex(8), self.span, self.sampled, self.lineage)


def new_trace(random: RandomSource, epoch_s: int) -> TraceContext:
    """A trace that begins here; its root carries the time as X-Ray's identifiers do."""
    digits = random.token_hex(20)
    return TraceContext(f"1-{epoch_s:08x}-{digits[:24]}", digits[24:])


def trace_from_header(header: str, random: RandomSource, epoch_s: int) -> TraceContext:
    """The hop that a caller's trace header starts; a header that makes no sense starts a trace of its own."""
    fields = dict(part.strip().partition("=")[::2] for part in header.split(";"))
    root = fields.get("Root", "")
    if not (len(root) == 35 and root.startswith("1-")):
        return new_trace(random, epoch_s)
    sampled = fields.get("Sampled", "1") != "0"
    return TraceContext(root, random.token_hex(8), fields.get("Parent", ""), sampled, fields.get("Lineage", ""))


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed: `arn` as STS GetCallerIdentity gives it, `user_id` as IAM does, `known` if Tule minted the key."""

    kind: Literal["root", "user", "role", "service"]
    arn: str
    user_id: str
    access_key_id: str = ""
    known: bool = False


@dataclass(slots=True, unsafe_hash=True)
class RequestContext:
    """One call, from outside or from inside, as every layer above the wire sees it. Immutable by agreement."""

    request_id: str
    service: str
    operation: str
    account: str
    region: str
    principal: Principal
    trace: TraceContext
    base_url: str
    """Scheme, host and port by which the caller reached Tule; URLs in answers are made from it."""
    partition: str = "aws"
    deadline_s: float | None = None
    """Machine time (`MachineClock.monotonic_s`) after which nobody waits for the answer any more."""
    source_ip: str = "127.0.0.1"
    user_agent: str = ""
    usage: dict[str, int] = field(default_factory=dict, compare=False)
    """What this call has used so far, by meter: what its span says it costs. Written by `tule.observe.metering`."""

    def arn(self, service: str, resource: str) -> str:
        """An ARN in this call's partition, region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def root_principal(account: str, access_key_id: str = "", *, known: bool = False) -> Principal:
    """The account itself: what every key stands for that Tule did not mint for a user or role."""
    return Principal("root", f"arn:aws:iam::{account}:root", account, access_key_id, known)
