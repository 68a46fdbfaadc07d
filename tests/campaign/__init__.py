"""A campaign against the program: what it promises is attacked many times with fixed seeds, and counted.

``make campaign`` runs all parts and writes a table; ``tests/campaign/test_cut.py`` runs a cut of it.
"""
