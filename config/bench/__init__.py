"""Measuring and torturing whole installations from outside: servers as real processes, load over real sockets.

Used by ``manage.py bench_ocpp`` and by the tests; the product itself never imports it.
"""
