"""A schema, after one `load`."""

from marshmallow import Schema


class UserSchema(Schema):
    pass


def make():
    schema = UserSchema()
    schema.load({})
    return schema
