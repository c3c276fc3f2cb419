#include "storage/state_thread.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <thread>
#include <vector>

namespace fused {
namespace {

TEST(StateThread, runs_work_elsewhere_in_order_and_resumes_where_it_was_awaited) {
  boost::asio::io_context io;
  StateThread state;
  std::vector<int> order;
  int resumed_here = 0;
  const auto here = std::this_thread::get_id();
  for (int i = 0; i < 50; ++i)
    boost::asio::co_spawn(
        io,
        [&, i]() -> boost::asio::awaitable<void> {
          const auto there = co_await state.run([&, i] {
            order.push_back(i);
            return std::make_unique<std::thread::id>(std::this_thread::get_id());
          });
          EXPECT_NE(*there, here);
          if (std::this_thread::get_id() == here) ++resumed_here;
        },
        boost::asio::detached);
  io.run();
  EXPECT_EQ(resumed_here, 50);
  ASSERT_EQ(order.size(), 50u);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

}  // namespace
}  // namespace fused
