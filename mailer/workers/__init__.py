"""One campaign, many machines: Celery starts shares of it on workers, the ledger's claims decide who gets
mail.
"""
