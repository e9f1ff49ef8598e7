from tests.ledger.conftest import path, postgres, pytest_generate_tests, where

__all__ = ["path", "postgres", "pytest_generate_tests", "where"]
