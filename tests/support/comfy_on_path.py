"""Importing this puts ComfyUI into this process, on its CPU."""

import sys

from host_tree import find_tree

sys.path.append(str(find_tree()))

import comfy.options

comfy.options.args_parsing = False

from comfy.cli_args import args  # noqa: E402

args.cpu = True

import comfy  # noqa: E402
import comfy.conds  # noqa: E402
import comfy.context_windows  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
