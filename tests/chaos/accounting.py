"""The final account: what was done, and everything that should not have happened."""

from __future__ import annotations

from django_executors.conf import settings
from openstack_simulator.client import SimulatorClient
from tests.chaos import checks
from tests.chaos.checks import Finding
from tests.chaos.faults import Faults
from tests.chaos.form import LIMITS, Form
from tests.chaos.load import Load
from tests.chaos.schedule import ALONE, CLOUD_FAULTS, WORLD_FAULTS
from tests.chaos.table import Report
from tests.chaos.takeovers import percentile, pickups, takeovers
from tests.chaos.watching import Watcher
from tests.chaos.workers import Workers

__all__ = ["account"]


def account(
    report: Report,
    form: Form,
    load: Load,
    faults: Faults,
    watcher: Watcher,
    cloud: SimulatorClient,
    workers: Workers,
) -> None:
    """Fill the report: work and faults with their minimum, and what has to be 0."""
    _account_of_work(report, form, load, faults, workers)
    report.need("looks of the consistency check", watcher.looks, 10)
    report.need("longest line for slots", watcher.longest_line, 1)
    _account_of_wrongs(report, load, faults, watcher, cloud)
    _account_of_takeovers(report, form, faults)


def _account_of_work(report: Report, form: Form, load: Load, faults: Faults, workers: Workers) -> None:
    _, _, ends = checks.check_ends(load.executed)
    for group, wanted in (("instance", form.instances), ("small", form.small)):
        report.need(f"{group} operations opened", load.count(group), wanted)
        good = sum(count for (kind, state), count in ends.items() if kind.startswith(group) and state == "succeeded")
        part = {"instance": 0.5, "small": 0.95}[group]
        report.need(f"{group} operations succeeded", good, int(load.count(group) * part))
    for (kind, state), count in sorted(ends.items()):
        report.add(f"  {kind}: {state}", count)
    for kind in (*WORLD_FAULTS, *CLOUD_FAULTS):
        report.need(f"fault: {kind}", faults.counts[kind], form.each_kind)
    report.add("connections through the proxy", faults.proxy.counts()["opened"])
    report.add("opened again after a broken commit", load.reopened)
    report.add("refused since the resource was held", load.conflicts)
    log = workers.log.read_text(errors="replace")
    refused = log.count("is no longer held by") + log.count("ended while this worker was silent")
    report.need("stale writers refused", refused, 1)
    report.add("commits tried again", log.count("trying the commit again"))
    report.add("workers killed since SIGTERM did not end them", workers.overdue)


def _account_of_wrongs(report: Report, load: Load, faults: Faults, watcher: Watcher, cloud: SimulatorClient) -> None:
    lost, stuck, _ = checks.check_ends(load.executed)
    doubled, nameless, left, disagreeing = checks.check_cloud(
        cloud.objects("servers", "volumes", "ports", "floating_ips")
    )
    breaches = Finding("throttle breaches")
    peaks = cloud.counts()["peak_building"]
    for kind, limit in (("server", LIMITS["instance"]), ("volume", LIMITS["volume"])):
        report.add(f"most {kind}s built at once (limit {limit})", peaks.get(kind, 0))
        if peaks.get(kind, 0) > limit:
            breaches.offenders.append(f"{peaks[kind]} {kind}s were built at once, the limit is {limit}")
    stale = Finding("stale writes", offenders=watcher.backwards)
    violations = Finding(
        "consistency violations", offenders=[f"{at} {text}" for text, at in watcher.violations.items()]
    )
    trouble = Finding("trouble of the test itself", offenders=faults.errors + watcher.errors)
    for finding in (
        lost,
        stuck,
        doubled,
        nameless,
        disagreeing,
        checks.check_rows(),
        checks.check_marks(),
        stale,
        breaches,
        violations,
        trouble,
    ):
        report.zero(finding)
    report.add("left in the cloud by failed operations", len(left.notes))
    report.notes += [
        *left.notes,
        *disagreeing.notes,
        *(f"warning {at} {text}" for text, at in watcher.warnings.items()),
    ]


def _account_of_takeovers(report: Report, form: Form, faults: Faults) -> None:
    limit = settings.LEASE_SECONDS + 1
    measured = takeovers(faults.kills, faults.outages)
    alone = [taken for taken in measured if taken.kill.how in ALONE]
    report.need("takeovers after a kill alone", len(alone), form.each_kind)
    for what, chosen in (
        ("after a kill alone", alone),
        ("with database and broker up", [taken for taken in measured if not taken.outage]),
        ("all", measured),
    ):
        seconds = [taken.seconds for taken in chosen]
        text = " / ".join(f"{percentile(seconds, part):.2f}" for part in (0.5, 0.99, 1.0))
        report.add(f"takeover s, p50 / p99 / max, {what} ({len(chosen)})", text)
    picked = pickups()
    text = " / ".join(f"{percentile(picked, part):.2f}" for part in (0.5, 0.99, 1.0))
    report.add(f"from opening to first claim s, p50 / p99 / max ({len(picked)})", text)
    slowest = sorted(measured, key=lambda taken: -taken.seconds)[:3]
    report.notes += [f"slow: {taken.tell(faults.history)}" for taken in slowest if taken.seconds > limit]
    slow = Finding(f"takeovers after a kill alone, p99 above {limit:g} s")
    if percentile([taken.seconds for taken in alone], 0.99) > limit:
        slow.offenders = [taken.tell(faults.history) for taken in alone if taken.seconds > limit]
    report.zero(slow)
