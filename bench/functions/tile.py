import numpy as np

import fused


@fused.udf
def udf(x: int = 1, y: int = 1):
    a, b = np.mgrid[0:256, 0:256]
    return np.stack([(a + x) & 255, (b + y) & 255, (a * b) >> 8 & 255], -1).astype("uint8")
