#include "cache/entry_lock.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <vector>

#include "cache/process_tables.hpp"

namespace fused {

// The locks of this process whose files are open.
struct LockTable {
  std::vector<EntryLock*> open;

  static LockTable& instance() {
    static LockTable table;
    return table;
  }
  // Shares its files with the parent: unless it closes its copies, locks would outlive their holder.
  void leave_to_parent() {
    for (EntryLock* lock : open) {
      ::close(lock->file_);
      lock->file_ = -1;
      lock->held_ = false;
    }
    open.clear();
  }
};

namespace {

std::mutex& plain_mutex() {
  static std::mutex mutex;
  return mutex;
}

flock on_byte(short type, std::uint64_t byte) {
  flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  return lock;
}

int set_lock(int file, int command, short type, std::uint64_t byte) {
  flock lock = on_byte(type, byte);
  if (::fcntl(file, command, &lock) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}

int open_locks(const std::string& path) {
  return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

}  // namespace

std::mutex& process_tables_mutex() {
  static const int registered = ::pthread_atfork([] { plain_mutex().lock(); }, [] { plain_mutex().unlock(); },
                                                 [] {
                                                   LockTable::instance().leave_to_parent();
                                                   plain_mutex().unlock();
                                                 });
  (void)registered;
  return plain_mutex();
}

EntryLock::EntryLock(std::string path, std::uint64_t byte) : path_(std::move(path)), byte_(byte) {}
EntryLock::~EntryLock() { release(); }

int EntryLock::try_acquire() {
  if (file_ < 0) {
    // A fork between the opening and the entry in the table would leave a copy that nobody closes.
    const std::lock_guard lock(process_tables_mutex());
    file_ = open_locks(path_);
    if (file_ < 0) return errno;
    LockTable::instance().open.push_back(this);
  }
  const int error = set_lock(file_, F_OFD_SETLK, F_WRLCK, byte_);
  held_ = held_ || error == 0;
  return error;
}

int EntryLock::share() { return held_ ? set_lock(file_, F_OFD_SETLK, F_RDLCK, byte_) : EBADF; }

void EntryLock::release() {
  if (file_ < 0) return;
  // Closing frees it only once no child has a copy: one that was forked just now has not closed its own yet.
  if (held_) (void)set_lock(file_, F_OFD_SETLK, F_UNLCK, byte_);
  const std::lock_guard lock(process_tables_mutex());
  std::erase(LockTable::instance().open, this);
  ::close(file_);
  file_ = -1;
  held_ = false;
}

std::expected<std::unique_ptr<LockWait>, int> LockWait::begin(const std::string& path, std::uint64_t byte) {
  std::unique_ptr<LockWait> wait(new LockWait);
  wait->byte_ = byte;
  wait->process_ = ::getpid();
  wait->file_.reset(open_locks(path));
  if (!wait->file_) return std::unexpected(errno);
  wait->event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wait->event_) return std::unexpected(errno);
  // Signals are for the threads that were there before.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&wait->thread_, nullptr, &LockWait::run, wait.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return std::unexpected(error);
  wait->runs_ = true;
  return wait;
}

// Shared locks are granted to all who wait in the moment when the holder lets go, and given back at once.
void* LockWait::run(void* self) {
  auto* wait = static_cast<LockWait*>(self);
  flock lock = on_byte(F_RDLCK, wait->byte_);
  while (::fcntl(wait->file_.get(), F_OFD_SETLKW, &lock) != 0 && errno == EINTR) {  // the one place to cancel it
  }
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  (void)set_lock(wait->file_.get(), F_OFD_SETLK, F_UNLCK, wait->byte_);
  const int event = wait->event_.get();
  ::eventfd_write(event, 1);  // and `wait` may be gone
  return nullptr;
}

LockWait::~LockWait() {
  if (!runs_ || process_ != ::getpid()) return;  // a forked child has no such thread
  if (event_is_set()) {                          // who was woken does not wait for the thread's own end as well
    ::pthread_detach(thread_);
    return;
  }
  ::pthread_cancel(thread_);
  ::pthread_join(thread_, nullptr);
}

bool LockWait::event_is_set() const { return wait_ms(0) == Outcome::over; }

LockWait::Outcome LockWait::wait_ms(int at_most) const {
  pollfd waiting{event_.get(), POLLIN, 0};
  const int found = ::poll(&waiting, 1, at_most);
  if (found > 0) return Outcome::over;
  return found < 0 && errno == EINTR ? Outcome::interrupted : Outcome::timed_out;
}

}  // namespace fused
