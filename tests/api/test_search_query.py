import pytest
from pydantic import ValidationError

from core.api.recommend_schemas import RecommendBody


@pytest.mark.parametrize("name", ["query", "query_text"])
def test_a_request_may_ask_in_words(name: str) -> None:
    body = RecommendBody.model_validate({name: "  slow-burn space survival "})
    assert body.query("ann", 0.0).text == "slow-burn space survival"


def test_a_request_without_words_asks_for_none() -> None:
    assert RecommendBody.model_validate({}).query("ann", 0.0).text is None


@pytest.mark.parametrize("text", ["", "   ", "a\x00b", "x" * 501, 7, ["two", "words"]])
def test_words_that_are_none_are_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        RecommendBody.model_validate({"query": text})
