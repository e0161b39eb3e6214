"""`docs/cli.md`, from the commands themselves: `python -m govern.cli.docs > docs/cli.md`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from govern.cli import govern

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# The command line

Written from the commands themselves; `python -m govern.cli.docs > docs/cli.md` writes it anew.
"""


def render() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *_prose(govern), *_commands(govern, "govern")]).rstrip() + "\n"


def _commands(group: click.Group, path: str) -> Iterator[str]:
    for name in sorted(group.commands):
        command, own = group.commands[name], f"{path} {name}"
        if isinstance(command, click.Group):
            yield from _commands(command, own)
            continue
        context = click.Context(command, info_name=own)
        yield f"## {own}\n"
        yield f"    {' '.join([own, *command.collect_usage_pieces(context)])}\n"
        yield from _prose(command)
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is not None and record[1]:
                yield f"- `{record[0]}`: {' '.join(record[1].split())}"
        yield ""


def _prose(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        line = " ".join(paragraph.split())
        example = line.removeprefix("Example: ")
        yield f"{line}\n" if example == line else f"Example:\n\n    {example}\n"


if __name__ == "__main__":
    click.echo(render(), nl=False)
