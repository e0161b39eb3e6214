"""`python -m govern.example` loads the example world once and shows its accounts.

`python -m govern.example code EMAIL` prints an account's current one-time code.
"""

from __future__ import annotations

import json
import sys

from govern import config, db, errors, example


def main(arguments: list[str]) -> int:
    """Load and show, or print a code; 0 done, 1 refused, 2 usage."""
    settings = config.from_environment()
    try:
        if arguments[:1] == ["code"] and len(arguments) == 2:  # noqa: PLR2004 - code EMAIL
            print(example.code(settings, arguments[1]))
            return 0
        if arguments:
            print(__doc__, file=sys.stderr)
            return 2
        database = db.Database(settings)
        example.load(database)
        if settings.example_accounts.exists():
            _show(settings)
    except errors.GovernError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _show(settings: config.Settings) -> None:
    accounts = json.loads(config.secret(settings.example_accounts))
    print(f"\nThis is an example world. Open {settings.public_url} and sign in as one of:\n")
    print(f"  {'role':<12}{'e-mail':<30}password")
    for account in accounts:
        print(f"  {account['role']:<12}{account['email']:<30}{account['password']}")
    print("\nThe one-time code of an account, now:\n")
    print(f"  {sys.executable} -m govern.example code {accounts[0]['email']}")
    integration = json.loads(config.secret(settings.data_dir / "example-integration.json"))
    print("\nAsk for a decision as the example's labelling tool:\n")
    print(f"  curl -u {integration['client_id']}:{integration['client_secret']} \\")
    print("    -H 'Content-Type: application/json' \\")
    print(
        '    -d \'{"subject":{"type":"user","id":"P00001"},"action":{"name":"read"},'
        '"resource":{"type":"project","id":"Kingfisher"}}\' \\'
    )
    print(f"    {settings.public_url}/access/v1/evaluation\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
