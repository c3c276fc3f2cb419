// For tests: makes the n-th fsync or fdatasync of this process fail, as a dying disk does. failing_sync_test.cpp stands in
// front of libc's functions, for our calls and for SQLite's alike.
#pragma once

namespace fused {

void fail_sync_at(int nth, int error_number);  // 1: the next one; later ones succeed again
void let_syncs_pass();
int syncs_seen();                              // since the last call of either

}  // namespace fused
