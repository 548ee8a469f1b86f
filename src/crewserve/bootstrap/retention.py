"""Forgetting what the settings do not keep."""

from crewserve.bootstrap.duties import keep
from crewserve.bootstrap.ground import WritingGround, now
from crewserve.storage.files import LocalFiles
from crewserve.worker.archive import Archive, Records
from crewserve.worker.retention import Keeping, Retention


def open_retention(ground: WritingGround) -> None:
    """Until the stack ends; nothing at all, by default."""
    settings = ground.settings
    keeping = Keeping(age=settings.retention_age, count=settings.retention_count)
    if not keeping:
        return
    archive = None
    if settings.retention_archive is not None:
        records = Records(reader=ground.reader, events=ground.events, output=ground.output)
        archive = Archive(settings.retention_archive, records)
    retention = Retention(
        keeping=keeping,
        store=ground.retention,
        files=LocalFiles(ground.folder("executions")),
        archive=archive,
        clock=now,
    )
    keep(ground.stack, "retention", retention.keep())
