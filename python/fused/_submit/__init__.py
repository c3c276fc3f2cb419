"""``fused.submit``: many calls of one function, and the ``JobPool`` that holds them."""
