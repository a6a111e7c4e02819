"""The program that a worker forks its runs from: the fork server, whose runs write to the scheduler's own ledger."""

import sys

from headway.scheduler.execution.fork_server import serve
from headway.scheduler.store.runs.run_writer import open_run_ledger

if __name__ == "__main__":
    serve(int(sys.argv[1]), open_run_ledger)
