"""A file that a logger has printed to."""

import os

import structlog


def make():
    with open(os.devnull, "w") as file:
        structlog.PrintLogger(file).info("hello")
    return file
