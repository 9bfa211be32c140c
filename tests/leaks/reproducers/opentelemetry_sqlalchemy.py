"""A database engine made while SQLAlchemy is instrumented, after its disposal."""

import sqlalchemy
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

SQLAlchemyInstrumentor().instrument()


def make():
    engine = sqlalchemy.create_engine("sqlite://")
    engine.dispose()
    return engine
