"""``fused.run``: what is asked (``arguments``), where it runs (``local``, ``remote``), what comes back (``decode``)."""
