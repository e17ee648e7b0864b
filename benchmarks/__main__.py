"""All questions at once: a report, or a comparison of the work tree with another commit.

`make bench` and `make bench-compare REV=…` call it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.harness.command import all_questions, parser_of, size_of
from benchmarks.harness.question import BENCHMARKS


def main() -> None:
    parser = parser_of("Asks all questions, or those that are named.")
    parser.add_argument("names", nargs="*", metavar="QUESTION")
    parser.add_argument("--against", metavar="REV", help="compare distio with that of a commit")
    parser.add_argument("--to", type=Path, default=BENCHMARKS, help="where the report goes")
    options = parser.parse_args()
    size = size_of(options)
    questions = all_questions(options.names, size)
    if options.against:
        from benchmarks.harness.against import compare

        for part in compare(questions, size, options.against):
            print(part, flush=True)
        return
    from benchmarks.harness.report import write_report

    scripts = size == "full" and not options.names
    write_report(questions, size, options.to, scripts=scripts, peers=not options.no_peers)
    print(options.to / "report.md", file=sys.stderr)


if __name__ == "__main__":
    main()
