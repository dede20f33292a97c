"""attn-export deploy: a bundle into what other machines and servers take. One command a file."""

from __future__ import annotations

import click
from attn_runtime.cli.options import NearestGroup

from .deploy_jetson import jetson
from .deploy_triton import triton


@click.group("deploy", cls=NearestGroup)
def deploy() -> None:
    """Make what another machine or server takes from a bundle."""


deploy.add_command(jetson)
deploy.add_command(triton)
