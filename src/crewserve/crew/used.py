"""What a child says was used, with its price."""

from crewserve.crew.wire import Message
from crewserve.domain.pricing import Prices, price_of
from crewserve.domain.usage import Usage, Use


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
