"""Expressions as trees, still with their placeholders, and the tokens they are read from."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.reserved import RESERVED

MAX_EXPRESSION_BYTES: Final = 4096
MAX_OPERATORS: Final = 300
MAX_NESTING: Final = 100
"""Parentheses and calls within each other (ours; AWS stops at 300 operators)."""

UPDATE: Final = "UpdateExpression"
PROJECTION: Final = "ProjectionExpression"


@dataclass(frozen=True, slots=True)
class Path:
    """A document path: attribute names or #placeholders, and list positions."""

    parts: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A :value."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function's call, as an operand or as a condition."""

    function: str
    arguments: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left + right` or `left - right` in a SET."""

    operator: str
    left: "Operand"
    right: "Operand"


Operand = Path | Placeholder | Call | Arithmetic


@dataclass(frozen=True, slots=True)
class Comparison:
    """=, <>, <, <=, >, >=, BETWEEN or IN over its operands."""

    operator: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """AND, OR or NOT over its conditions."""

    operator: str
    conditions: tuple["Condition", ...]


Condition = Comparison | Logic | Call


@dataclass(frozen=True, slots=True)
class Action:
    """One action of an update: SET path = operand, ADD/DELETE path :value, REMOVE path."""

    clause: str
    path: Path
    operand: Operand | None


class Token(NamedTuple):
    kind: str
    """name, placeholder (#x), value (:x), number, symbol, junk or end."""
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<placeholder>#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)"
    r"|(?P<number>[0-9]+)|(?P<symbol><=|>=|<>|[=<>()\[\].,+\-])|(?P<junk>.)",
    re.DOTALL,
)


def _tokens(text: str) -> list[Token]:
    found = [
        Token(match.lastgroup or "junk", match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "space"
    ]
    found.append(Token("end", "<EOF>", len(text), len(text)))
    return found


class Reader:
    """What all grammars share: tokens, paths, operands, and mistakes that are told only once the syntax is right."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        size = len(text.encode())
        if size > MAX_EXPRESSION_BYTES:
            tail = "size;" if kind == UPDATE else f"size; expression size: {size}"
            self.refuse(f"Expression size has exceeded the maximum allowed {tail}")
        self.tokens = _tokens(text)
        if len(self.tokens) == 1:
            self.refuse("The expression can not be empty;")
        self.at = 0
        self.nesting = 0
        self.operators = 0
        self.redundant = False
        self.functions: list[str] = []
        """Complaints about functions, in the order of the text; unknown names come before misplaced ones."""
        self.unknown: list[str] = []
        self.reserved: list[str] = []

    def refuse(self, message: str) -> NoReturn:
        raise Refusal(f"Invalid {self.kind}: {message}")

    def wrong(self, at: int | None = None) -> NoReturn:
        """A syntax error at a token, the current one by default, shown with its neighbours."""
        at = self.at if at is None else at
        token = self.tokens[at]
        first = self.tokens[max(at - 1, 0)]
        last = self.tokens[min(at + 1, len(self.tokens) - 1)]
        near = self.text[first.start : last.end].rstrip()
        self.refuse(f'Syntax error; token: "{token.text}", near: "{near}"')

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def takes(self, symbol: str) -> bool:
        """Whether the current token is this symbol; then it is read."""
        token = self.tokens[self.at]
        if token.kind == "symbol" and token.text == symbol:
            self.at += 1
            return True
        return False

    def expect(self, symbol: str) -> None:
        if not self.takes(symbol):
            self.wrong()

    def is_word(self, word: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == "name" and token.text.upper() == word

    def takes_word(self, word: str) -> bool:
        if self.is_word(word):
            self.at += 1
            return True
        return False

    def deeper(self) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.too_many()

    def operator(self) -> None:
        self.operators += 1

    def too_many(self) -> NoReturn:
        count = max(self.operators, MAX_OPERATORS + 1)
        self.refuse(f"The expression contains too many operators and functions; operator count: {count}")

    def finish(self) -> None:
        """The end of the text, and what is wrong beyond syntax."""
        if self.token.kind != "end":
            self.wrong()
        if self.redundant:
            self.refuse("The expression has redundant parentheses;")
        if self.operators > MAX_OPERATORS:
            self.too_many()
        for complaint in (*self.unknown, *self.functions):
            self.refuse(complaint)
        if self.reserved:
            self.refuse(f"Attribute name is a reserved keyword; reserved keyword: {self.reserved[0]}")

    def path(self) -> Path:
        parts: list[str | int] = [self._name()]
        while True:
            if self.takes("."):
                parts.append(self._name())
            elif self.takes("["):
                if self.token.kind != "number":
                    self.wrong()
                parts.append(int(self.token.text[:10]))
                self.at += 1
                self.expect("]")
            else:
                return Path(tuple(parts))

    def _name(self) -> str:
        token = self.token
        if token.kind == "name":
            if token.text.upper() in RESERVED:
                self.reserved.append(token.text)
        elif token.kind != "placeholder":
            self.wrong()
        self.at += 1
        return token.text

    def operand(self) -> Operand:
        """A path, a :value or a function of operands, in parentheses or not."""
        token = self.token
        if token.kind == "value":
            self.at += 1
            return Placeholder(token.text)
        if token.kind == "symbol" and token.text == "(":
            return self._parenthesised()
        if token.kind == "name" and self.tokens[self.at + 1].text == "(":
            call = self.call()
            self.check_operand_call(call.function)
            return call
        return self.path()

    def _parenthesised(self) -> Operand:
        self.deeper()
        self.at += 1
        self.redundant = self.redundant or self.token.text == "("
        inside = self.operand()
        self.expect(")")
        self.nesting -= 1
        return inside

    def call(self) -> Call:
        """name(operand, ...); the current token is the name."""
        self.deeper()
        self.operator()
        name = self.token.text
        self.at += 2
        arguments = [self.operand()]
        while self.takes(","):
            arguments.append(self.operand())
        self.expect(")")
        self.nesting -= 1
        return Call(name, tuple(arguments))

    def check_operand_call(self, function: str) -> None:
        """Note what is wrong with this function standing where a value is wanted."""
        raise NotImplementedError
