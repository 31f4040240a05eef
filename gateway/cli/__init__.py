"""`tocsin`: every command. Errors go to standard error in one line; exit 1 for a refusal, 2 for wrong usage."""

from __future__ import annotations

import os

import click

from gateway import __version__
from gateway.cli.acts import ack, assign, note, reopen, resolve
from gateway.cli.database import database
from gateway.cli.file import check, explain
from gateway.cli.gateway import channels, deliveries, events, incidents, redeliver, replay, send
from gateway.cli.oncall import oncall, override
from gateway.cli.serve import serve
from gateway.cli.silences import silence
from gateway.errors import TocsinError


class Told(click.Group):
    """A group whose commands may raise TocsinError: its sentence is the error."""

    def invoke(self, ctx: click.Context) -> object:
        if os.environ.get("NO_COLOR"):  # no-color.org; click does not know it
            ctx.color = False
        try:
            return super().invoke(ctx)
        except TocsinError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Told, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tocsin")
def main() -> None:
    """Webhooks in, the right people told, nothing lost.

    \b
    Example:
      tocsin serve --config routing.yaml
    """


for command in (
    *(serve, check, explain, send),
    *(incidents, ack, resolve, reopen, note, assign, silence),
    *(oncall, override),
    *(events, replay, deliveries, redeliver, channels, database),
):
    main.add_command(command)
