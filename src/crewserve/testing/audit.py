"""What every store promises about the audit log."""

from typing import Any

from crewserve.domain.audit import Action, AuditEntry, AuditQuery
from crewserve.domain.ids import Tenant
from crewserve.testing.builders import NOW, a_new_audit_id
from crewserve.testing.stores import Store, done


def an_audit_entry(**changes: Any) -> AuditEntry:
    """Somebody paused a queue; *changes* replace single fields."""
    fields: dict[str, Any] = {
        "id": a_new_audit_id(),
        "at": NOW,
        "tenant": Tenant("default"),
        "actor": "ann",
        "action": Action.QUEUE_PAUSED,
        "target": "poem_flow",
        "details": {"why": ["ü", None]},
    }
    return AuditEntry(**{**fields, **changes})


class AuditContract:
    """Adding and finding."""

    async def test_what_was_noted_is_found_the_newest_first_page_by_page(
        self, store: Store
    ) -> None:
        entries = [an_audit_entry() for _ in range(3)]
        for entry in entries:
            await done(store.add_audit_entry(entry))
        first = await store.audit_entries(AuditQuery(limit=2))
        assert first == entries[:0:-1]
        assert await store.audit_entries(AuditQuery(after=first[-1].id)) == entries[:1]

    async def test_an_entry_is_never_changed(self, store: Store) -> None:
        """The answer to the first may have been lost."""
        entry = an_audit_entry()
        await done(store.add_audit_entry(entry))
        await done(store.add_audit_entry(an_audit_entry(id=entry.id, actor="bob")))
        assert await store.audit_entries(AuditQuery()) == [entry]

    async def test_filters_combine_with_each_other(self, store: Store) -> None:
        wanted = an_audit_entry(actor="bob", target="x", tenant=Tenant("acme"))
        others = [
            an_audit_entry(actor="bob", target="x"),
            an_audit_entry(actor="bob", tenant=Tenant("acme")),
            an_audit_entry(target="x", tenant=Tenant("acme")),
            an_audit_entry(
                actor="bob", target="x", tenant=Tenant("acme"), action=Action.KEY_CREATED
            ),
        ]
        for entry in (wanted, *others):
            await done(store.add_audit_entry(entry))
        query = AuditQuery(
            actor="bob", target="x", tenant=Tenant("acme"), action=Action.QUEUE_PAUSED
        )
        assert await store.audit_entries(query) == [wanted]
