"""`python -m dashboard`: serve the dashboard on 127.0.0.1:HEADWAY_DASHBOARD_PORT."""

import logging

from headway.dashboard.server import serve
from headway.scheduler.installation.exit_with_parent import end_with_parent


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
    end_with_parent()
    serve()


if __name__ == "__main__":
    main()
