"""A style guide manager, after it looked up the style guide of a file."""

import argparse

from flake8.formatting.default import Default
from flake8.style_guide import StyleGuideManager


def make():
    options = argparse.Namespace(
        color="never", disable_noqa=False, extended_default_ignore=[], extended_default_select=[],
        extended_ignore=[], extend_ignore=[], extend_select=[], format="default", ignore=[],
        max_line_length=79, output_file=None, per_file_ignores=[], select=[], show_source=False,
        enable_extensions=[], ignored_explicitly=[], tee=False,
    )  # fmt: skip
    manager = StyleGuideManager(options, Default(options))
    manager.style_guide_for("module.py")
    return manager
