"""Scores pairs of raw 16-bit files by PESQ (ITU-T P.862): reads lines "RATE CLEAN HEARD", writes one score per line."""

import sys

import numpy
from pesq import pesq

for line in sys.stdin:
    rate, clean, heard = line.split()
    said, got = (numpy.fromfile(name, dtype="<i2") for name in (clean, heard))
    print(f"{pesq(int(rate), said, got, 'nb' if rate == '8000' else 'wb'):.3f}", flush=True)
