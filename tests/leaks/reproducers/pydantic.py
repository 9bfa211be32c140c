"""A model that refers to itself."""

from pydantic import BaseModel


def make():
    class Node(BaseModel):
        children: "list[Node]" = []

    return Node
