"""A prompt session."""

from prompt_toolkit import PromptSession
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput


def make():
    return PromptSession(input=DummyInput(), output=DummyOutput())
