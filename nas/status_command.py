"""The command ``status``. Heavy modules are imported inside, when it runs."""

from __future__ import annotations

import argparse
import json


def status(options: argparse.Namespace) -> int:
    """Show how a run stands, also while another process runs it; an unknown run raises with the nearest name."""
    from nas.after.kinds import module_of
    from nas.report.terminal import resume_command, say, show_status
    from nas.run.snapshot import ENDED
    from nas.runs import folder_of
    from nas.stand import look

    folder = folder_of(options.results_dir, options.name)
    module = module_of(folder)
    facts = look(folder).facts() if module is None else module.status(folder)
    if facts["state"] not in ("running", *ENDED):
        facts["resume"] = resume_command(folder)
    if options.json:
        say(json.dumps(facts, indent=2))
    else:
        show_status(facts)
    return 0
