"""Jobs: what goes on when its caller has left (docs/decisions/0010-jobs.md)."""
