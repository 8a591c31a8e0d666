"""youki doctor: make a tiny container of each kind, and say what works, what does not, why, and what mends it."""

from __future__ import annotations

from youki.output import write, write_json
from youki.probes import ABSENT, FAILS, WORKS, Finding, examine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from youki.parser import Arguments

MARKS = {WORKS: "works ", FAILS: "FAILS ", ABSENT: "absent"}


def run(args: Arguments, _settings: Arguments) -> int:
    findings = []
    for finding in examine(args.probe):
        findings.append(finding)
        if not args.json:
            write(lines(finding))  # at once: a probe may take seconds
    healthy = all(finding.status != FAILS for finding in findings)
    if args.json:
        write_json({"healthy": healthy, "findings": [finding.as_dict() for finding in findings]}, indent=4)
    return 0 if healthy else 1


def lines(finding: Finding) -> str:
    """Return a finding as a person reads it: one line, and one each for the reason and the remedy."""
    text = f"{MARKS[finding.status]}  {finding.name}: {finding.about}\n"
    for label, value in (("because", finding.reason), ("try", finding.remedy)):
        if value:
            text += f"        {label}: {value}\n"
    return text
