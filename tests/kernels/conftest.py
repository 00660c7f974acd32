import os

collect_ignore = ["test_numba_faults.py"] if os.environ.get("VECPROD_TEST_REAL_GPU") == "1" else []
