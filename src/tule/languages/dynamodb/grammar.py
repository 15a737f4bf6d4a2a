"""The grammars: conditions (also filters and key conditions), updates and projections."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from tule.languages.dynamodb.syntax import (
    PROJECTION,
    UPDATE,
    Action,
    Arithmetic,
    Call,
    Comparison,
    Condition,
    Logic,
    Operand,
    Path,
    Reader,
)

CONDITION_FUNCTIONS: Final = frozenset(
    {"attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"}
)
UPDATE_FUNCTIONS: Final = frozenset({"if_not_exists", "list_append"})
COMPARATORS: Final = frozenset({"=", "<>", "<", "<=", ">", ">="})
CLAUSES: Final = ("SET", "REMOVE", "ADD", "DELETE")
MISPLACED: Final = "The function is not allowed to be used this way in an expression; function: "


class _ConditionReader(Reader):
    def check_operand_call(self, function: str) -> None:
        if function in UPDATE_FUNCTIONS:
            self.functions.append(f"The function is not allowed in a condition expression; function: {function}")
        elif function in CONDITION_FUNCTIONS:
            self.functions.append(MISPLACED + function)
        elif function != "size":
            self.unknown.append(f"Invalid function name; function: {function}")

    def disjunction(self) -> Condition:
        return self._joined("OR", lambda: self._joined("AND", self._negation))

    def _joined(self, word: str, part: Callable[[], Condition]) -> Condition:
        conditions = [part()]
        while self.takes_word(word):
            self.operator()
            conditions.append(part())
        return conditions[0] if len(conditions) == 1 else Logic(word, tuple(conditions))

    def _negation(self) -> Condition:
        times = 0
        while self.is_word("NOT"):
            self.at += 1
            self.operator()
            times += 1
        condition = self._primary()
        return Logic("NOT", (condition,)) if times % 2 else condition

    def _primary(self) -> Condition:
        if self.token.text == "(" and self.token.kind == "symbol" and self._holds_condition():
            return self._group()
        if self.token.kind == "name" and self.tokens[self.at + 1].text == "(":
            call = self.call()
            if self._comparator() is None:
                return self._as_condition(call)
            self.check_operand_call(call.function)
            return self._comparison(call)
        return self._comparison(self.operand())

    def _as_condition(self, call: Call) -> Condition:
        name = call.function
        if name in UPDATE_FUNCTIONS:
            self.functions.append(f"The function is not allowed in a condition expression; function: {name}")
        elif name == "size":
            self.functions.append(MISPLACED + name)
        elif name not in CONDITION_FUNCTIONS:
            self.unknown.append(f"Invalid function name; function: {name}")
        return call

    def _group(self) -> Condition:
        self.deeper()
        self.at += 1
        doubled = self.token.text == "(" and self.token.kind == "symbol" and self._holds_condition()
        closes = self._closing(self.at) if doubled else -1
        inside = self.disjunction()
        self.redundant = self.redundant or (doubled and self.at == closes + 1)
        self.expect(")")
        self.nesting -= 1
        return inside

    def _closing(self, opening: int) -> int:
        """The position of the parenthesis that closes the one at `opening`, or -1."""
        depth = 0
        for at in range(opening, len(self.tokens)):
            text = self.tokens[at].text
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return at
        return -1

    def _holds_condition(self) -> bool:
        """Whether the parenthesis ahead is around a condition, and not around the operand of a comparison."""
        closing = self._closing(self.at)
        if closing < 0:
            return True
        after = self.tokens[closing + 1]
        return not (after.text in COMPARATORS or after.text.upper() in ("BETWEEN", "IN"))

    def _comparator(self) -> str | None:
        token = self.token
        if token.kind == "symbol" and token.text in COMPARATORS:
            return token.text
        return token.text.upper() if token.kind == "name" and token.text.upper() in ("BETWEEN", "IN") else None

    def _comparison(self, left: Operand) -> Condition:
        operator = self._comparator()
        if operator is None:
            self.wrong()
        self.at += 1
        self.operator()
        if operator == "BETWEEN":
            low = self.operand()
            if not self.takes_word("AND"):
                self.wrong()
            return Comparison(operator, (left, low, self.operand()))
        if operator == "IN":
            self.expect("(")
            options = [self.operand()]
            while self.takes(","):
                options.append(self.operand())
            self.expect(")")
            return Comparison(operator, (left, *options))
        return Comparison(operator, (left, self.operand()))


class _UpdateReader(Reader):
    def check_operand_call(self, function: str) -> None:
        if function in CONDITION_FUNCTIONS or function == "size":
            self.functions.append(f"The function is not allowed in an update expression; function: {function}")
        elif function not in UPDATE_FUNCTIONS:
            self.unknown.append(f"Invalid function name; function: {function}")

    def actions(self) -> list[Action]:
        actions: list[Action] = []
        sections: list[str] = []
        repeated = ""
        while self.token.kind != "end":
            clause = self.token.text.upper()
            if self.token.kind != "name" or clause not in CLAUSES:
                self.wrong()
            if clause in sections:
                repeated = repeated or clause
            sections.append(clause)
            self.at += 1
            actions.append(self._action(clause))
            while self.takes(","):
                actions.append(self._action(clause))
        if repeated:
            self.refuse(f'The "{repeated}" section can only be used once in an update expression;')
        return actions

    def _action(self, clause: str) -> Action:
        path = self.path()
        if clause == "REMOVE":
            return Action(clause, path, None)
        self.operator()
        if clause == "SET":
            self.expect("=")
            return Action(clause, path, self._sum())
        if self.token.kind != "value":
            self.wrong()
        return Action(clause, path, self.operand())

    def _sum(self) -> Operand:
        if self.token.text == "(" and self._sum_inside():
            self.deeper()
            self.at += 1
            self.redundant = self.redundant or (self.token.text == "(" and self._sum_inside())
            inside = self._sum()
            self.expect(")")
            self.nesting -= 1
            return inside
        left = self.operand()
        for sign in ("+", "-"):
            if self.takes(sign):
                self.operator()
                return Arithmetic(sign, left, self.operand())
        return left

    def _sum_inside(self) -> bool:
        """Whether the parenthesis ahead encloses all of the value: nothing is added to it."""
        depth = 0
        for at in range(self.at, len(self.tokens)):
            text = self.tokens[at].text
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return self.tokens[at + 1].text not in ("+", "-")
        return self.wrong(len(self.tokens) - 1)


class _ProjectionReader(Reader):
    def check_operand_call(self, function: str) -> None:
        raise AssertionError(function)


@lru_cache(maxsize=1024)
def parse_condition(kind: str, text: str) -> Condition:
    """The tree of a ConditionExpression, FilterExpression or KeyConditionExpression (`kind` is its name)."""
    reader = _ConditionReader(kind, text)
    tree = reader.disjunction()
    reader.finish()
    return tree


@lru_cache(maxsize=1024)
def parse_update(text: str) -> tuple[Action, ...]:
    """The actions of an UpdateExpression in the order they are written."""
    reader = _UpdateReader(UPDATE, text)
    actions = reader.actions()
    reader.finish()
    return tuple(actions)


@lru_cache(maxsize=1024)
def parse_projection(text: str) -> tuple[Path, ...]:
    """The paths of a ProjectionExpression."""
    reader = _ProjectionReader(PROJECTION, text)
    paths = [reader.path()]
    while reader.takes(","):
        paths.append(reader.path())
    reader.finish()
    return tuple(paths)
