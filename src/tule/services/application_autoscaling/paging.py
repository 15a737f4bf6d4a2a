"""Pages of lists, by position: the lists are short."""

from typing import Any

from tule.kernel.errors import AwsError
from tule.store.layers.documents import InvalidTokenError, page_token, read_page_token

PAGE_MAX = 50


def page(member: str, items: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """The page that MaxResults and NextToken ask for."""
    size = min(max(request.get("MaxResults") or PAGE_MAX, 1), PAGE_MAX)
    start = 0
    if request.get("NextToken"):
        try:
            (start,) = (int(part) for part in read_page_token(request["NextToken"], member))
        except (InvalidTokenError, ValueError) as error:
            raise AwsError("The specified token is not valid.", code="InvalidNextTokenException") from error
    result: dict[str, Any] = {member: items[start : start + size]}
    if len(items) > start + size:
        result["NextToken"] = page_token(member, start + size)
    return result
