"""A model, after a value was given to one of its fields."""

from jsonmodels.fields import StringField
from jsonmodels.models import Base


class User(Base):
    name = StringField()


def make():
    return User(name="Ann")
