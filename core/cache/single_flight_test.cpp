#include "cache/single_flight.hpp"

#include <gtest/gtest.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace fused {
namespace {

namespace asio = boost::asio;
using Flights = SingleFlight<std::string>;

class SingleFlightTest : public ::testing::Test {
 protected:
  // One caller; its work waits a moment and gives what `results` says for the n-th work of all.
  std::shared_ptr<Flights::Seat> call(const std::string& name, const std::string& inside = "") {
    auto seat = std::make_shared<Flights::Seat>();
    Flights::Caller caller;
    caller.name = name;
    caller.inside = inside;
    caller.abandon = [this] { ++abandoned; };
    caller.work = [this]() { return work(); };
    asio::co_spawn(
        io,
        [this, name, caller, seat]() -> asio::awaitable<void> {
          const auto landing = co_await flights.fly(digest_of("key"), caller, seat);
          landed.emplace_back(name, landing.value + (landing.led ? " led" : ""));
        },
        asio::detached);
    return seat;
  }
  asio::awaitable<std::string> work() {
    const auto number = static_cast<std::size_t>(works++);
    asio::steady_timer pause(io, std::chrono::milliseconds(5));
    co_await pause.async_wait(asio::use_awaitable);
    co_return results.at(number);
  }

  using Landed = std::vector<std::pair<std::string, std::string>>;
  asio::io_context io;
  Flights flights{io, [](const std::string& value) { return value == "crash"; }};
  std::vector<std::string> results{"one", "two", "three"};
  int works = 0, abandoned = 0;
  Landed landed;
};

TEST_F(SingleFlightTest, AllCallersOfAKeyWaitForOneRun) {
  for (const char* name : {"a", "b", "c"}) call(name);
  io.run();
  EXPECT_EQ(landed, (Landed{{"a", "one led"}, {"b", "one"}, {"c", "one"}}));
  EXPECT_EQ(works, 1);
  EXPECT_EQ(flights.size(), 0u);
  EXPECT_TRUE(flights.waits().empty());
}

TEST_F(SingleFlightTest, AfterItHasLandedTheNextBeginsAnew) {
  call("a");
  io.run();
  io.restart();
  call("b");
  io.run();
  EXPECT_EQ(landed, (Landed{{"a", "one led"}, {"b", "two led"}}));
}

TEST_F(SingleFlightTest, AfterACrashOneOfTheOthersTriesOnceMore) {
  results = {"crash", "two"};
  for (const char* name : {"a", "b", "c"}) call(name);
  io.run();
  EXPECT_EQ(landed, (Landed{{"a", "crash led"}, {"b", "two led"}, {"c", "two"}}));
}

TEST_F(SingleFlightTest, TwoCrashesAreEverybodys) {
  results = {"crash", "crash"};
  for (const char* name : {"a", "b", "c"}) call(name);
  io.run();
  EXPECT_EQ(landed, (Landed{{"a", "crash led"}, {"b", "crash led"}, {"c", "crash"}}));
  EXPECT_EQ(works, 2);
}

TEST_F(SingleFlightTest, WhoLeavesDoesNotEndItAndTheLastOneDoes) {
  const auto first = call("a"), second = call("b");
  io.poll();
  first->leave("left");
  io.poll();
  EXPECT_EQ(landed, (Landed{{"a", "left"}}));
  EXPECT_EQ(abandoned, 0);
  second->leave("left");
  EXPECT_EQ(abandoned, 1);
  EXPECT_FALSE(flights.is_flying(digest_of("key"))) << "who comes now is not told to wait for it";
  io.run();
  EXPECT_EQ(landed.size(), 2u);
}

TEST_F(SingleFlightTest, ARunMayNotWaitForAFlightThatWaitsForIt) {
  const Digest key = digest_of("key");
  call("a");
  io.poll();
  EXPECT_FALSE(flights.may_join(key, "a")) << "its own";
  EXPECT_TRUE(flights.may_join(key, "x"));
  flights.waits().begin("a", "b");  // a asked for b, which runs outside of flights and asks for c
  flights.waits().begin("b", "c");
  EXPECT_FALSE(flights.may_join(key, "c"));
  flights.waits().end("a", "b");
  EXPECT_TRUE(flights.may_join(key, "c"));
  EXPECT_TRUE(flights.may_join(key, "")) << "nobody waits for a caller from outside";
  io.run();
}

}  // namespace
}  // namespace fused
