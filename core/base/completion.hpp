// A value that one coroutine waits for and somebody else on the same thread provides, once.
#pragma once
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <optional>
#include <utility>

namespace fused {

template <class T>
class Completion {
 public:
  bool is_set() const { return value_.has_value(); }

  // The first value counts; later ones are ignored. The waiter resumes from the event loop, never inside this call.
  void set(T value) {
    if (value_) return;
    value_ = std::move(value);
    if (waiter_) std::exchange(waiter_, nullptr)();
  }

  // At most one waiter. The object must outlive the wait.
  boost::asio::awaitable<T> wait() {
    if (!value_) {
      auto executor = co_await boost::asio::this_coro::executor;
      // Named: g++ 12 destroys a closure's captures twice when the closure is a temporary of a co_await expression.
      auto initiate = [this, &executor](auto handler) {
        waiter_ = [executor, handler = std::move(handler)]() mutable {
          boost::asio::post(executor, std::move(handler));
        };
      };
      co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void()>(initiate,
                                                                                          boost::asio::use_awaitable);
    }
    co_return std::move(*value_);
  }

 private:
  std::optional<T> value_;
  std::move_only_function<void()> waiter_;
};

}  // namespace fused
