"""`python -m dashboard`: serve the dashboard on 127.0.0.1:HEADWAY_DASHBOARD_PORT."""

import logging

from dashboard.server import serve


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve()


if __name__ == "__main__":
    main()
