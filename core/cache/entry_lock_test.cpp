#include "cache/entry_lock.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "storage/test_folder.hpp"

namespace fused {
namespace {

constexpr int kLong = 20'000;  // ms; nothing here takes as long

class EntryLockTest : public ::testing::Test {
 protected:
  // A child that takes the lock, says so and does what it is told.
  pid_t hold_in_child(const std::function<void(EntryLock&)>& then) {
    int said[2];
    EXPECT_EQ(::pipe(said), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      EntryLock lock(path, 7);
      const char ok = lock.try_acquire() == 0 ? 'y' : 'n';
      (void)!::write(said[1], &ok, 1);
      then(lock);
      ::_exit(0);
    }
    char ok = 0;
    EXPECT_EQ(::read(said[0], &ok, 1), 1);
    EXPECT_EQ(ok, 'y');
    ::close(said[0]);
    ::close(said[1]);
    return child;
  }
  static std::size_t threads() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task")) ++count;
    return count;
  }

  TestFolder folder;
  std::string path = (folder / ".locks").string();
};

TEST_F(EntryLockTest, OneHasItAndAnotherByteIsAnotherLock) {
  EntryLock one(path, 7), two(path, 7), other(path, 8);
  EXPECT_EQ(one.try_acquire(), 0);
  EXPECT_EQ(one.try_acquire(), 0) << "it is ours already";
  EXPECT_EQ(two.try_acquire(), EAGAIN);
  EXPECT_EQ(other.try_acquire(), 0);
  one.release();
  EXPECT_EQ(two.try_acquire(), 0);
  EXPECT_FALSE(one.is_held());
}

TEST_F(EntryLockTest, WhereThereIsNoFolderItSaysWhy) {
  EntryLock lock((folder / "missing" / ".locks").string(), 7);
  EXPECT_EQ(lock.try_acquire(), ENOENT);
  EXPECT_EQ(LockWait::begin((folder / "missing" / ".locks").string(), 7).error(), ENOENT);
}

TEST_F(EntryLockTest, AllWhoWaitAreWokenWhenItIsReleased) {
  EntryLock holder(path, 7);
  ASSERT_EQ(holder.try_acquire(), 0);
  std::vector<std::unique_ptr<LockWait>> waits;
  for (int i = 0; i < 20; ++i) waits.push_back(*LockWait::begin(path, 7));
  EXPECT_EQ(waits[0]->wait_ms(30), LockWait::Outcome::timed_out);
  holder.release();
  for (const auto& wait : waits) EXPECT_EQ(wait->wait_ms(kLong), LockWait::Outcome::over);
  EntryLock next(path, 7);
  EXPECT_EQ(next.try_acquire(), 0) << "none of them keeps it";
}

TEST_F(EntryLockTest, AKilledHolderFreesIt) {
  const pid_t child = hold_in_child([](EntryLock&) { ::pause(); });
  const auto wait = *LockWait::begin(path, 7);
  EXPECT_EQ(wait->wait_ms(10), LockWait::Outcome::timed_out);
  ::kill(child, SIGKILL);
  EXPECT_EQ(wait->wait_ms(kLong), LockWait::Outcome::over);
  EntryLock next(path, 7);
  EXPECT_EQ(next.try_acquire(), 0);
  ::waitpid(child, nullptr, 0);
}

TEST_F(EntryLockTest, AForkedChildDoesNotKeepItsParentsLock) {
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  auto holder = std::make_unique<EntryLock>(path, 7);
  ASSERT_EQ(holder->try_acquire(), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte;
    const bool left = !holder->is_held();
    (void)!::read(go[0], &byte, 1);
    ::_exit(left ? 0 : 1);
  }
  EntryLock next(path, 7);
  EXPECT_EQ(next.try_acquire(), EAGAIN) << "the child's closing did not free it";
  holder.reset();
  EXPECT_EQ(next.try_acquire(), 0) << "while the child lives";
  (void)!::write(go[1], "x", 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(EntryLockTest, SharedItWakesThoseWhoWaitAndNobodyElseCanTakeIt) {
  EntryLock holder(path, 7), other(path, 7);
  ASSERT_EQ(holder.try_acquire(), 0);
  const auto wait = *LockWait::begin(path, 7);
  EXPECT_EQ(holder.share(), 0);
  EXPECT_EQ(wait->wait_ms(kLong), LockWait::Outcome::over);
  EXPECT_EQ(other.try_acquire(), EAGAIN);
  holder.release();
  EXPECT_EQ(other.try_acquire(), 0);
}

TEST_F(EntryLockTest, AWaitThatIsGivenUpLeavesNoThreadAndNoLock) {
  EntryLock holder(path, 7);
  ASSERT_EQ(holder.try_acquire(), 0);
  const std::size_t before = threads();
  for (int i = 0; i < 50; ++i) {
    const auto wait = *LockWait::begin(path, 7);
    EXPECT_EQ(wait->wait_ms(i % 3), LockWait::Outcome::timed_out);
  }
  EXPECT_EQ(threads(), before);
  holder.release();
  EntryLock next(path, 7);
  EXPECT_EQ(next.try_acquire(), 0);
}

TEST_F(EntryLockTest, ASignalInterruptsTheWaitOfItsThread) {
  EntryLock holder(path, 7);
  ASSERT_EQ(holder.try_acquire(), 0);
  struct sigaction act{}, before{};
  act.sa_handler = [](int) {};
  act.sa_flags = SA_RESTART;
  ASSERT_EQ(::sigaction(SIGUSR1, &act, &before), 0);
  const auto wait = *LockWait::begin(path, 7);
  const pthread_t self = ::pthread_self();
  std::atomic<bool> interrupted = false;
  std::thread sender([&] {
    while (!interrupted) {
      ::pthread_kill(self, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_EQ(wait->wait_ms(kLong), LockWait::Outcome::interrupted);
  interrupted = true;
  sender.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(EntryLockTest, WhoWaitsUsesNoProcessor) {
  EntryLock holder(path, 7);
  ASSERT_EQ(holder.try_acquire(), 0);
  const auto used = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
  };
  const auto wait = *LockWait::begin(path, 7);
  wait->wait_ms(20);
  const auto before = used();
  wait->wait_ms(300);
  EXPECT_LE(used() - before, 5) << "switches of threads";
}

}  // namespace
}  // namespace fused
