from tests.ledger.conftest import postgres

__all__ = ["postgres"]
