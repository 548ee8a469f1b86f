"""Whom children become, where flows have users of their own."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Users:
    """A range of them, for all children of a host, whichever template forks them."""

    first: int
    count: int
    _next: int = 0
    _taken: Counter[int] = field(default_factory=Counter)

    def take(self) -> int:
        """Whom no child is and none was for longest; when all are taken, whom the fewest are."""
        turns = (self.first + (self._next + turn) % self.count for turn in range(self.count))
        user = next((one for one in turns if one not in self._taken), None)
        if user is None:
            user = min(self._taken, key=self._taken.__getitem__)
        self._next = user + 1 - self.first
        self._taken[user] += 1
        return user

    def give_back(self, user: int) -> None:
        """Nothing of a child runs any more."""
        self._taken[user] -= 1
        if not self._taken[user]:
            del self._taken[user]
