"""A `Dict`, after a child was made by setting the child's attribute."""

from addict import Dict


def make():
    settings = Dict()
    settings.database.host = "localhost"
    return settings
