import pandas as pd

import fused


@fused.udf
def udf(x: int = 1):
    return pd.DataFrame({"x": [x], "y": [x * 2]})
