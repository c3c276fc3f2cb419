"""Values → bytes, one module a family of values; ``fused._worker.encode`` chooses among them."""
