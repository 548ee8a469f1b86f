"""What a child says was used, with its price, and what it may use."""

from dataclasses import asdict
from decimal import Decimal

from crewserve.crew.wire import Message
from crewserve.domain.budget import NO_BUDGET, to_fields
from crewserve.domain.execution import Execution
from crewserve.domain.pricing import Price, Prices, price_of
from crewserve.domain.usage import NOTHING, Usage, Use


def to_use(told: Message, prices: Prices) -> Use:
    """*told* is what `uses.use_of` makes."""
    amounts = dict(told)
    agent, model = amounts.pop("agent"), amounts.pop("model")
    if amounts.pop("untold", False):
        return Use(agent, model, Usage(cost=None))
    usage, price = Usage(**amounts), price_of(model, prices)
    if price is not None:
        cost: int | None = price.cost(usage)
    else:
        cost = None if usage.total_tokens else 0
    return Use(agent, model, Usage(**amounts, cost=cost))


def metering(execution: Execution, prices: Prices) -> Message | None:
    """What the child needs to keep within the budget, if there is one."""
    budget = execution.policy.budget
    if budget == NO_BUDGET:
        return None
    return {
        "budget": to_fields(budget),
        "used": asdict(execution.usage or NOTHING),
        "prices": {} if budget.usd is None else _dump_prices(prices),
    }


def _dump_prices(prices: Prices) -> Message:
    return {model: [str(part) for part in _parts(price)] for model, price in prices.items()}


def load_prices(sent: Message) -> Prices:
    """As `metering` has them."""
    return {
        model: Price(prompt=Decimal(prompt), completion=Decimal(completion), cached=Decimal(cached))
        for model, (prompt, completion, cached) in sent.items()
    }


def _parts(price: Price) -> tuple[Decimal, Decimal, Decimal]:
    return price.prompt, price.completion, price.prompt if price.cached is None else price.cached
